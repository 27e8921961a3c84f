"""A rank whose node is taken away in mid-training, on real Ray: it goes on from checkpoints that outlive the node."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fixtures.clusters.contract import Cluster
from fixtures.clusters.local.provider import LocalProvider
from fixtures.measure.jobs import JobsClient
from trainer.datasets import check, read, save
from trainer.progress import LOSE_NODE, parse
from trainer.result import TrialResult, decode

EVERY, KILL = 4, 9


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two nodes to train on, and one in the place of what is lost."""
    provider = LocalProvider(3, 1, dict(os.environ), places=[Path("/tmp")])
    try:
        yield provider.up(lambda line: None)
    finally:
        provider.down()


def take_away(node: str) -> None:
    """End every process of a node of this cluster, its raylet among them."""
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get("RAY_TRAIN_E2E_NODE") == node:
            os.kill(process.pid, signal.SIGKILL)


def train(jobs: JobsClient, cluster: Cluster, data: Path, hear: Callable[[str], None], *options: str) -> TrialResult:
    command = [cluster.python, "-m", "trainer", "--workers", "2", "--epochs", "2", "--checkpoint-every", str(EVERY)]
    command += ["--workload", "mlp-digits", "--data", str(data), "--lose-node", *options]
    finished = jobs.follow(jobs.submit(command), hear, deadline_seconds=400)
    assert finished.status == "SUCCEEDED", finished.log[-3000:]
    return decode(finished.log)


@pytest.mark.ray
def test_a_training_that_lost_a_node_ends_with_the_undisturbed_ones_weights(cluster: Cluster, tmp_path: Path) -> None:
    data, lost = tmp_path / "data.npz", []
    save(check(read("digits")), data)

    def hear(line: str) -> None:
        if LOSE_NODE in (parse(line) or {}):
            (rank,) = re.findall(r"pid=(\d+)", line)
            lost.append(psutil.Process(int(rank)).environ()["RAY_TRAIN_E2E_NODE"])
            take_away(lost[-1])

    with JobsClient(cluster.dashboard, cluster.token) as jobs:
        undisturbed = train(jobs, cluster, data, hear)
        recovered = train(jobs, cluster, data, hear, "--kill", f"1:{KILL}")

    assert len(lost) == 1
    for rank, twin in zip(recovered.ranks, undisturbed.ranks, strict=True):
        assert [epoch.weights for epoch in rank.epochs] == [epoch.weights for epoch in twin.epochs]
        assert [epoch.coverage for epoch in rank.epochs] == [epoch.coverage for epoch in twin.epochs]
        assert rank.second_life is not None
        assert rank.second_life.update == KILL
        assert rank.second_life.restored <= KILL
        assert rank.node != lost[0]
