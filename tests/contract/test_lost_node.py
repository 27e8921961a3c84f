"""A node that is lost in the middle of a training ends the trial; nothing is trained a second time in silence."""

import os
from pathlib import Path

import psutil
import pytest

from fixtures.clusters.local.provider import LocalProvider
from fixtures.measure.jobs import JobsClient


@pytest.mark.ray
def test_a_trial_that_loses_a_node_fails_and_is_not_begun_anew(tmp_path_factory: pytest.TempPathFactory) -> None:
    provider = LocalProvider(2, 1, dict(os.environ), places=[Path("/tmp")])
    killed: list[str] = []
    begun: list[str] = []

    def watch(line: str) -> None:
        if '"epoch": 1' in line:
            begun.append(line)
            if not killed:
                killed.append(kill_a_worker_node(provider))

    cluster = provider.up(lambda line: None)
    try:
        with JobsClient(cluster.dashboard, cluster.token) as jobs:
            command = [cluster.python, "-m", "trainer", "--workers", "2", "--epochs", "60", "--data", cluster.data]
            finished = jobs.follow(jobs.submit(command), watch, deadline_seconds=150)
        trouble = provider.trouble()
    finally:
        provider.down()

    assert killed[0], finished.log[-2000:]
    assert finished.status == "FAILED"
    assert len(begun) == 1
    assert trouble.startswith("Ray lost a process that it needs: the raylet of worker-2 (process ")


def kill_a_worker_node(provider: LocalProvider) -> str:
    for pid in provider.processes():
        process = psutil.Process(pid)
        command = process.cmdline()
        if process.name() == "raylet" and any("worker-2" in word for word in command):
            process.kill()
            return " ".join(command)
    return ""
