"""Real trainer processes that cheat, against the proof of the same work; TensorFlow, but no Ray."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from fixtures.analysis.plan import TrialSpec
from fixtures.analysis.spread import Spread
from fixtures.analysis.work import prove_same_work
from fixtures.errors import UnequalWorkError
from fixtures.system.ports import free_addresses
from tests.training import one_rank
from trainer import schedule
from trainer.result import TrialResult, decode

pytestmark = pytest.mark.training

ROOT = Path(__file__).parents[2]
SEED = 52_001  # no other test's: what the schedule should be is remembered by seed
LIMIT = 60.0
TIMING = TrialSpec("timing", workers=2, copies=1, epochs=1, seed=SEED, probe=True)


def start(world_size: int, collective: str = "auto", cheat: str = "") -> list[subprocess.Popen[str]]:
    """The processes of a trial."""
    workers = free_addresses(world_size)
    started = []
    for rank in range(world_size):
        task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}}
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "image"),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            **({"TF_CONFIG": json.dumps(task)} if world_size > 1 else {}),
        }
        command = [sys.executable, one_rank.__file__, str(rank), str(world_size), collective, cheat, str(SEED)]
        started.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    return started


def finish(started: list[subprocess.Popen[str]]) -> TrialResult:
    """What all ranks of a trial hand over."""
    try:
        logs = [process.communicate(timeout=LIMIT) for process in started]
    finally:
        for process in started:
            process.kill()
    assert not any(process.returncode for process in started), "\n".join(log[1][-2000:] for log in logs)
    return decode(logs[0][0])


def train(world_size: int, collective: str = "auto", cheat: str = "") -> TrialResult:
    return finish(start(world_size, collective, cheat))


@pytest.fixture(scope="module")
def baselines() -> tuple[TrialResult, TrialResult]:
    """An honest one, and one with another learning rate; at the same time, since nothing is timed here."""
    both = start(1), start(1, cheat="trains twice as fast")
    return finish(both[0]), finish(both[1])


@pytest.fixture(scope="module")
def baseline(baselines: tuple[TrialResult, TrialResult]) -> TrialResult:
    return baselines[0]


@pytest.fixture(scope="module")
def alone_together() -> TrialResult:
    """Two ranks that count right, and never add their gradients."""
    return train(2, cheat="skips the all-reduce")


@pytest.fixture(autouse=True)
def _short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    shortened = partial(schedule.global_batches, samples=one_rank.SAMPLES)
    monkeypatch.setattr(schedule, "updates_per_epoch", lambda size, samples=one_rank.SAMPLES: samples // size)
    monkeypatch.setattr(schedule, "global_batches", shortened)


def prove(baseline: TrialResult, parallel: TrialResult) -> tuple[str, ...]:
    return prove_same_work(TIMING, baseline, parallel, Spread.load())


@pytest.mark.parametrize("collective", ["memory", "ring", "tensorflow"])
def test_honest_ranks_do_the_same_work_as_a_baseline_in_another_process(collective: str, baseline: TrialResult) -> None:
    parallel = train(2, collective)

    assert [rank.collective for rank in parallel.ranks] == [collective] * 2
    assert "all ranks hold bit for bit the same weights after every epoch" in prove(baseline, parallel)


def test_a_skipped_all_reduce_is_found_by_the_weights(baseline: TrialResult, alone_together: TrialResult) -> None:
    with pytest.raises(
        UnequalWorkError, match="rank 1 has different weights from rank 0: gradients were not synchronised"
    ):
        prove(baseline, alone_together)


def test_ranks_that_hide_it_by_equal_checksums_are_found_by_their_losses_and_by_their_gradient(
    baseline: TrialResult, alone_together: TrialResult
) -> None:
    first = alone_together.ranks[0].epochs
    hidden = [
        replace(rank, epochs=(replace(rank.epochs[0], weights=first[0].weights),)) for rank in alone_together.ranks
    ]
    own = baseline.ranks[0].epochs[0].first_losses
    following = [
        replace(rank, epochs=(replace(rank.epochs[0], first_losses=tuple(loss / 2 for loss in own)),))
        for rank in hidden
    ]

    with pytest.raises(UnequalWorkError, match=r"The loss of update 2 .* gradients that were not added up"):
        prove(baseline, replace(alone_together, ranks=tuple(hidden)))
    with pytest.raises(UnequalWorkError, match=r"the reduced gradient .* gradients of other ranks are missing"):
        prove(baseline, replace(alone_together, ranks=tuple(following)))


def test_gradients_that_are_summed_instead_of_averaged_are_found_though_adam_hides_them(baseline: TrialResult) -> None:
    with pytest.raises(UnequalWorkError, match="gradients are summed, not averaged"):
        prove(baseline, train(2, cheat="takes the sum twice"))


def test_a_learning_rate_that_is_not_reported_is_found_by_the_losses(
    baselines: tuple[TrialResult, TrialResult],
) -> None:
    baseline, faster = baselines
    hidden = replace(faster, ranks=(replace(faster.ranks[0], learning_rate=baseline.ranks[0].learning_rate),))

    with pytest.raises(UnequalWorkError, match=r"Learning rate: 0\.002 on rank 0, 0\.001 in the baseline"):
        prove_same_work(replace(TIMING, workers=1), baseline, faster, Spread.load())
    with pytest.raises(UnequalWorkError, match=r"The loss of update \d+ .*another learning rate"):
        prove_same_work(replace(TIMING, workers=1), baseline, hidden, Spread.load())
