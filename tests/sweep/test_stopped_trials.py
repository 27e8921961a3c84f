"""Trials that end early: stopped by ASHA (https://github.com/ray-project/ray/issues/54305), or diverged."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from fixtures.clusters.contract import Cluster
from fixtures.clusters.local.provider import LocalProvider
from fixtures.measure.jobs import JobsClient
from trainer.datasets import check, read, save
from trainer.result import decode_as
from trainer.sweep import SIDES
from trainer.sweep_result import Configuration, SweepResult

RATES = (1e-2, 1e-7, 2e-7, 3e-7)
"""One that learns, and three that ASHA stops as soon as it has seen the first; the later two wait for their CPUs."""
DIVERGING = (1e9, 1e-2)
STEEP = """
import numpy as np, tensorflow as tf
from trainer.workload import read

EPOCHS, BATCH_SIZE, TARGET = 3, 128, 0.0

def data(folder):
    return read("digits", folder)

def weights(seed):
    return {"w": np.zeros((64, 1), np.float32)}

def outputs(weights, x, seeds):
    return tf.reshape(x, (-1, 64)) @ weights["w"]

def loss(labels, outputs):
    return tf.math.cosh(outputs[:, 0] - tf.cast(labels, outputs.dtype))

def score(labels, outputs):
    return -loss(labels, outputs)
"""
"""A training whose loss is too large for a float as soon as a weight is."""
EPOCHS = 3

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    provider = LocalProvider(2, 1, dict(os.environ), places=[Path("/tmp")])
    try:
        yield provider.up(lambda line: None)
    finally:
        provider.down()


def train(cluster: Cluster, folder: Path, side: str, rates: Sequence[float], workload: str = "mlp-digits") -> list[int]:
    """Train with these learning rates in one of the four ways; return the epochs of each, 0 where it diverged."""
    save(check(read("digits")), folder / "data.npz")
    configurations = [asdict(Configuration(128, seed=1, learning_rate=rate)) for rate in rates]
    command = [cluster.python, "-m", "trainer.sweep", "--side", side, "--concurrent", "2"]
    command += ["--configurations", json.dumps(configurations), "--epochs", str(EPOCHS)]
    command += ["--workload", workload, "--data", str(folder / "data.npz")]
    with JobsClient(cluster.dashboard, cluster.token) as jobs:
        finished = jobs.follow(jobs.submit(command), lambda line: None, deadline_seconds=500)
    assert finished.status == "SUCCEEDED", finished.log[-2000:]
    return [trial.epochs if trial else 0 for trial in decode_as(SweepResult, finished.log).trials]


def test_the_trainings_after_a_stopped_one_get_its_cpus(cluster: Cluster, tmp_path: Path) -> None:
    trained = train(cluster, tmp_path, "asha", RATES)

    assert trained[0] == EPOCHS
    assert max(trained[2:]) < EPOCHS


@pytest.mark.parametrize("side", SIDES)
def test_a_training_that_diverges_does_not_end_the_others(cluster: Cluster, tmp_path: Path, side: str) -> None:
    (tmp_path / "steep.py").write_text(STEEP)

    assert train(cluster, tmp_path, side, DIVERGING, str(tmp_path / "steep.py")) == [0, EPOCHS]
