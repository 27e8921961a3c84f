"""What honest trials prove, and what the report tells of it; how far equal runs may end apart."""

import json
from dataclasses import replace

import pytest

from fixtures.analysis.spread import RECORDED, Spread
from fixtures.analysis.work import prove_same_work
from fixtures.errors import UnequalWorkError
from tests.unit.trials import SPREAD, coverage, probe, result, scaled, spec, with_all_ranks, with_epoch
from trainer.result import TrialResult

TWO = spec(2)
BASELINE, HONEST = result(spec(0)), result(TWO)
SETTINGS = "seed 1, Adam at 0.001, global batch 6000 on both sides"
COUNT = (
    "2 epochs of 10 updates and 60,000 samples on both sides; "
    "the ranks' hashes add up to the same global batches (0 samples dropped)"
)
MEANS = "1 core(s) and 1 thread(s) for the baseline and for each worker, quota none, niceness 0, oneDNN default"
WEIGHTS = "all ranks hold bit for bit the same weights after every epoch"
TRACE = "the losses of the first 10 updates agree to 0e+00"
PROBE = "reduced gradient and weights after plain SGD updates agree with the baseline's to 0e+00"
LOSSES = "the loss of every epoch agrees as closely as equal runs do"
ACCURACY = "the test accuracies differ by 0.0000 (equal runs: within 0.0085)"


def test_honest_trials_pass_in_any_order_of_ranks_and_every_fact_that_was_checked_is_told() -> None:
    for parallel in (HONEST, replace(HONEST, ranks=HONEST.ranks[::-1])):
        proof = prove_same_work(TWO, BASELINE, parallel, SPREAD)
        assert proof == (SETTINGS, COUNT, MEANS, WEIGHTS, TRACE, PROBE, LOSSES, ACCURACY)


@pytest.mark.parametrize("workers", [1, 3, 4])
def test_any_number_of_honest_ranks_passes_and_one_has_nobody_to_agree_with_on_weights(workers: int) -> None:
    told = prove_same_work(spec(workers), BASELINE, result(spec(workers)), SPREAD)

    assert told[:3] == (SETTINGS, COUNT, MEANS)
    assert (WEIGHTS in told) is (workers > 1)
    assert told[-2:] == (LOSSES, ACCURACY)


def test_rounding_is_no_difference() -> None:
    losses = tuple(each * (1 + 1e-6) for each in HONEST.ranks[0].epochs[0].first_losses)
    rounded = with_epoch(HONEST, 0, first_losses=losses, accuracy=None)
    rounded = with_all_ranks(rounded, probe=scaled(probe(1), gradient=1 + 3e-15, weights=1 - 3e-15))

    told = prove_same_work(TWO, BASELINE, rounded, SPREAD)

    assert told[4:6] == (
        "the losses of the first 10 updates agree to 5e-07",
        "reduced gradient and weights after plain SGD updates agree with the baseline's to 3e-15",
    )


def test_a_tensor_whose_gradient_is_nothing_but_rounding_is_measured_by_the_whole_gradient() -> None:
    """As that of a bias before a BatchNorm, which is 0: no two processes round it alike."""

    def with_first(trial: TrialResult, number: float) -> TrialResult:
        own = probe(1)
        other = replace(own, gradient=((number,) * 6, *own.gradient[1:]), weights=((number,) * 6, *own.weights[1:]))
        return with_all_ranks(trial, probe=other)

    assert prove_same_work(TWO, with_first(BASELINE, 1e-18), with_first(HONEST, -2e-18), SPREAD)
    with pytest.raises(UnequalWorkError, match=r"the reduced gradient of the first update \(conv1\)"):
        prove_same_work(TWO, with_first(BASELINE, 1e-18), with_first(HONEST, 1e-13), SPREAD)


def test_a_timing_trial_needs_neither_probe_nor_accuracy() -> None:
    of = spec(2, "timing")

    told = prove_same_work(of, result(spec(0, "timing")), result(of), SPREAD)

    assert told == (SETTINGS, COUNT.replace("2 epochs", "1 epoch"), MEANS, WEIGHTS, TRACE, LOSSES)


def test_the_hash_of_what_was_trained_on_is_that_of_the_seeds_shuffle_and_of_no_other() -> None:
    # The sum of SHA-256("update/position/sample") by 32 hexadecimal digits, over random.Random("1/0").shuffle.
    assert coverage(1, 0, rank=0, world_size=1) == "9ef137736fca43e150cf5bc5f41b8075"


def test_a_tolerance_is_four_standard_deviations_of_a_difference_and_later_epochs_take_the_last() -> None:
    spread = Spread(loss=(0.02, 0.01), accuracy=(0.001,))

    assert spread.tolerance(spread.loss, 0) == pytest.approx(0.1131371)
    assert spread.tolerance(spread.loss, 1) == spread.tolerance(spread.loss, 99) == pytest.approx(0.0565685)


def test_the_recorded_spread_of_equal_runs_is_that_of_at_least_20_seeds_and_tightens_with_training() -> None:
    recorded, spread = json.loads(RECORDED.read_text()), Spread.load()

    assert all(len(epoch) >= 20 for epoch in (*recorded["loss"], *recorded["accuracy"]))
    assert 0 < spread.tolerance(spread.accuracy, 2) < 0.01
    assert spread.tolerance(spread.loss, 2) < spread.tolerance(spread.loss, 0) < 0.1
