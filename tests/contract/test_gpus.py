"""A real embedded cluster whose nodes have a GPU each, which a stand-in for NVML describes: who is shown which one."""

import os
from pathlib import Path

import pytest

from fixtures.clusters.local.provider import LocalProvider
from fixtures.measure.failures import explain
from fixtures.measure.jobs import FinishedJob, JobsClient
from tests.unit.nvml import FIRST, SECOND, Device, install

SHOWN = "import os; print('shown', os.environ.get('CUDA_VISIBLE_DEVICES'))"


@pytest.mark.ray
def test_each_node_shows_its_own_gpu_and_the_head_none(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Device(), Device(uuid=SECOND))
    provider = LocalProvider(2, 1, dict(os.environ), gpus=1, places=[Path("/tmp")])
    cluster = provider.up(lambda line: None)
    try:
        with JobsClient(cluster.dashboard, cluster.token) as jobs:

            def run(*command: str, reserved: int = 0) -> FinishedJob:
                job = jobs.submit([cluster.python, *command], cpus=reserved, gpus=reserved)
                return jobs.follow(job, print, deadline_seconds=150)

            baseline, driver = run("-c", SHOWN, reserved=1), run("-c", SHOWN)
            workers = run("-m", "trainer", "--workers", "2", "--gpus", "1", "--data", cluster.data)
    finally:
        provider.down()

    assert baseline.log.splitlines()[-1] in (f"shown {FIRST}", f"shown {SECOND}")
    assert driver.log.splitlines()[-1] == "shown "
    refusal = explain("2 workers", workers, "")
    assert "UnusableGpuError: " in refusal.cause, "both workers were given a GPU, and found that it is none"
    assert refusal.remedy.endswith("(see TROUBLESHOOTING: gpu-unusable)")
