"""What was trained is what was asked for: two sides that agree may both have done something else."""

from dataclasses import replace
from typing import Any

import pytest

from fixtures.analysis.plan import TrialSpec
from fixtures.analysis.summary import summarise
from fixtures.analysis.verdict import Outcome
from fixtures.analysis.work import prove_as_asked, prove_same_work
from fixtures.errors import UnequalWorkError
from tests.unit.trials import BATCH, SETTINGS, SPREAD, measurement, result, run, spec, timing_round, with_rank
from trainer import schedule
from trainer.result import TrialResult

TWO = spec(2)


def trained_with_256(of: TrialSpec) -> TrialResult:
    """A trial of one epoch, honest in every figure, whose global batch is 256."""
    honest = result(of)
    batches = schedule.global_batches(of.seed, 0, 256)
    for rank in range(len(honest.ranks)):
        own = schedule.share(rank, len(honest.ranks), 256)
        epoch = replace(
            honest.ranks[rank].epochs[0],
            updates=234,
            samples=59_904 // len(honest.ranks),
            coverage=schedule.coverage([batch[own] for batch in batches], own.start),
            first_losses=(1 / len(honest.ranks),) * 12,
        )
        honest = with_rank(honest, rank, batch_size=256, epochs=(epoch,))
    return replace(honest, batch_size=256)


def test_a_batch_of_256_on_both_sides_is_the_same_work_and_not_the_128_that_were_asked_for() -> None:
    one, two = spec(0, epochs=1), spec(2, epochs=1)
    cheat = [replace(measurement(of), result=trained_with_256(of)) for of in (one, two)]
    assert prove_same_work(two, cheat[0].result, cheat[1].result, SPREAD)

    summary = summarise(run(accuracy=cheat, settings=replace(SETTINGS, epochs=1, batch_size=128)), SPREAD)

    assert summary.verdict.outcome is Outcome.REGRESSION
    assert summary.verdict.why.startswith("baseline: asked for global batch size 128, trained with 256.")
    assert summary.of(2).proof == ()


def test_an_honest_trial_is_as_asked() -> None:
    for of in (spec(0), TWO, spec(4, "timing"), spec(0, "ceiling", copies=2)):
        prove_as_asked(of, BATCH, result(of))


OTHER_EPOCHS = result(TWO).ranks[1].epochs[:1]


@pytest.mark.parametrize(
    ("by_driver", "by_rank", "complaint"),
    [
        ({"workers": 1}, {}, "workers 2, trained with 1"),
        ({"copies": 2}, {}, "copies 1, trained with 2"),
        ({"epochs": 1}, {"epochs": OTHER_EPOCHS}, "epochs 2, trained with 1"),
        ({"seed": 7}, {"seed": 7}, "seed 1, trained with 7"),
        ({"batch_size": 256}, {"batch_size": 256}, "global batch size 6000, trained with 256"),
    ],
)
def test_a_driver_or_a_rank_that_tells_of_another_trial_is_refused(
    by_driver: dict[str, Any], by_rank: dict[str, Any], complaint: str
) -> None:
    for trial in (replace(result(TWO), **by_driver), *([with_rank(result(TWO), 1, **by_rank)] if by_rank else [])):
        with pytest.raises(UnequalWorkError, match=f"2 workers: asked for {complaint}"):
            prove_as_asked(TWO, BATCH, trial)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["baseline", "2 workers", "2 copies"])
def test_a_trial_of_a_timing_round_that_is_not_as_asked_is_a_regression(which: int) -> None:
    trials = list(timing_round(1, 10.0, 5.5, 10.4))
    trials[which] = replace(trials[which], result=replace(trials[which].result, batch_size=256))

    verdict = summarise(run(trials), SPREAD).verdict

    assert verdict.outcome is Outcome.REGRESSION
    assert verdict.why.startswith(f"{trials[which].spec.name}: asked for global batch size 6000, trained with 256.")


def test_a_worker_that_was_slower_on_purpose_than_asked_is_no_honest_trial_nor_is_a_slowed_baseline() -> None:
    for of, asked, did in ((TWO, 0.0, 0.15), (TWO, 0.15, 0.0), (TWO, 0.15, 0.3), (spec(0), 0.0, 0.15)):
        trial = replace(of, slowdown=asked)
        why = f"^{of.name}: asked for an injected slowdown of {asked}, trained with {did}"
        with pytest.raises(UnequalWorkError, match=why):
            prove_as_asked(trial, BATCH, with_rank(result(trial), -1 % max(of.workers, 1), slowdown=did))
