"""A trial that ASHA stops frees its CPUs (https://github.com/ray-project/ray/issues/54305)."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from fixtures.clusters.local.provider import LocalProvider
from fixtures.measure.jobs import JobsClient
from trainer.datasets import check, read, save
from trainer.result import decode_as
from trainer.sweep_result import Configuration, SweepResult

RATES = (1e-2, 1e-7, 2e-7, 3e-7)
"""One that learns, and three that ASHA stops as soon as it has seen the first; the later two wait for their CPUs."""
EPOCHS = 3


@pytest.mark.ray
def test_the_trainings_after_a_stopped_one_get_its_cpus(tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    save(check(read("digits")), data)
    provider = LocalProvider(2, 1, dict(os.environ), places=[Path("/tmp")])
    configurations = [asdict(Configuration(128, seed=1, learning_rate=rate)) for rate in RATES]
    cluster = provider.up(lambda line: None)
    try:
        command = [cluster.python, "-m", "trainer.sweep", "--side", "asha", "--concurrent", "2"]
        command += ["--configurations", json.dumps(configurations), "--epochs", str(EPOCHS)]
        command += ["--workload", "mlp-digits", "--data", str(data)]
        with JobsClient(cluster.dashboard, cluster.token) as jobs:
            finished = jobs.follow(jobs.submit(command), lambda line: None, deadline_seconds=500)
    finally:
        provider.down()

    assert finished.status == "SUCCEEDED", finished.log[-2000:]
    trained = [trial.epochs for trial in decode_as(SweepResult, finished.log).trials]
    assert trained[0] == EPOCHS
    assert max(trained[2:]) < EPOCHS
