"""Real trainer processes that cheat, against the proof of the same work; TensorFlow, but no Ray."""

from dataclasses import replace

import pytest

from fixtures.analysis.plan import TrialSpec
from fixtures.analysis.spread import Spread
from fixtures.analysis.work import prove_same_work
from fixtures.errors import UnequalWorkError
from tests.training.ranks import finish, start
from trainer import schedule
from trainer.__main__ import MNIST
from trainer.result import TrialResult
from trainer.work import Work

pytestmark = pytest.mark.training

SEED = 52_001  # no other test's: what the schedule should be is remembered by seed
BATCH, UPDATES = 128, 25
TIMING = TrialSpec("timing", workers=2, copies=1, epochs=1, seed=SEED, probe=True)


def work(collective: str) -> Work:
    return Work(SEED, 1, BATCH, 1, str(MNIST), collective, probe=True, evaluate=False, updates=UPDATES)


def train(world_size: int, collective: str = "auto", cheat: str = "") -> TrialResult:
    return finish(start(world_size, work(collective), cheat))


@pytest.fixture(scope="module")
def baselines() -> tuple[TrialResult, TrialResult]:
    """An honest one, and one with another learning rate; at the same time, since nothing is timed here."""
    both = start(1, work("auto")), start(1, work("auto"), "trains twice as fast")
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
    drawn = schedule.global_batches
    monkeypatch.setattr(schedule, "updates_per_epoch", lambda *key: UPDATES)
    monkeypatch.setattr(schedule, "global_batches", lambda *key: drawn(*key)[:UPDATES])


def prove(baseline: TrialResult, parallel: TrialResult, *, probe: bool = True) -> tuple[str, ...]:
    return prove_same_work(replace(TIMING, probe=probe), baseline, parallel, Spread.load())


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
        prove(baseline, replace(alone_together, ranks=tuple(hidden)), probe=False)
    with pytest.raises(UnequalWorkError, match=r"the reduced gradient .* gradients of other ranks are missing"):
        prove(baseline, replace(alone_together, ranks=tuple(following)))


def test_gradients_that_are_summed_instead_of_averaged_are_found_though_adam_hides_them(baseline: TrialResult) -> None:
    with pytest.raises(UnequalWorkError, match="gradients are summed, not averaged"):
        prove(baseline, train(2, cheat="takes the sum twice"))


def test_a_rate_that_grows_with_the_batch_is_followed_by_both_sides_and_a_side_that_keeps_its_own_is_found() -> None:
    grown = replace(work("auto"), rate_factor=4.0, warm_up=4)
    sides = start(1, grown), start(2, grown), start(2, grown, "keeps its learning rate")
    baseline, honest, cheat = map(finish, sides)

    proof = prove(baseline, honest)
    assert proof[0].startswith(f"seed {SEED}, Adam at 0.001, 4 times that rate after 4 updates of warm-up")
    with pytest.raises(UnequalWorkError, match=r"The loss of update \d+ .*another learning rate"):
        prove(baseline, cheat)


def test_data_in_another_order_on_a_rank_that_says_nothing_of_it_are_found_by_the_losses(baseline: TrialResult) -> None:
    with pytest.raises(UnequalWorkError, match=r"The loss of update \d+ is .*other samples or dropout"):
        prove(baseline, train(2, cheat="has its data in another order"), probe=False)


def test_a_learning_rate_that_is_not_reported_is_found_by_the_losses(
    baselines: tuple[TrialResult, TrialResult],
) -> None:
    baseline, faster = baselines
    hidden = replace(faster, ranks=(replace(faster.ranks[0], learning_rate=baseline.ranks[0].learning_rate),))

    with pytest.raises(UnequalWorkError, match=r"Learning rate: 0\.002 on rank 0, 0\.001 in the baseline"):
        prove_same_work(replace(TIMING, workers=1), baseline, faster, Spread.load())
    with pytest.raises(UnequalWorkError, match=r"The loss of update \d+ .*another learning rate"):
        prove_same_work(replace(TIMING, workers=1), baseline, hidden, Spread.load())
