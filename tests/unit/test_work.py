"""The proof of the same work, proven: every way to cheat is refused, by name."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from fixtures.analysis.plan import TrialSpec
from fixtures.analysis.work import prove_alone, prove_same_work, require_accuracy
from fixtures.errors import MissingResultError, UnequalWorkError
from fixtures.system.text import count
from tests.unit.trials import (
    BATCH,
    EPOCHS,
    MEANS,
    SPREAD,
    coverage,
    probe,
    result,
    scaled,
    spec,
    with_all_epochs,
    with_all_ranks,
    with_epoch,
    with_rank,
)
from trainer import schedule
from trainer.result import Probe, TrialResult
from trainer.workloads.facts import CNN_MNIST

TWO = spec(2)
BASELINE, HONEST = result(spec(0)), result(TWO)
FIRST_LOSSES = HONEST.ranks[0].epochs[0].first_losses


def unequal(cause: str, parallel: TrialResult = HONEST, baseline: TrialResult = BASELINE, of: TrialSpec = TWO) -> None:
    """The trials are refused for this cause."""
    with pytest.raises(UnequalWorkError, match=cause):
        prove_same_work(of, baseline, parallel, SPREAD)


def missing(cause: str, parallel: TrialResult = HONEST, baseline: TrialResult = BASELINE) -> None:
    """The trials lack a figure."""
    with pytest.raises(MissingResultError, match=cause):
        prove_same_work(TWO, baseline, parallel, SPREAD)


# Other data


def test_every_rank_that_trains_on_all_data_with_an_n_times_larger_batch_is_not_the_same_work() -> None:
    hidden = with_all_epochs(HONEST, samples=60_000, updates=10, coverage=coverage(1, 0, 0, 1))

    unequal("trained on 120,000 samples in epoch 1, the baseline saw 60,000", hidden)
    unequal("Global batch size: 12000 on rank 0, 6000 in the baseline", with_all_ranks(HONEST, batch_size=2 * BATCH))
    unequal("Rank 0 did 5 updates in epoch 1, not 10", with_all_epochs(HONEST, updates=5))


def test_fewer_or_more_epochs_are_not_the_same_work() -> None:
    longer, short = result(spec(0, epochs=3)).ranks[0].epochs, spec(2, epochs=1)

    for epochs in (0, 1):
        fewer = with_all_ranks(HONEST, epochs=HONEST.ranks[0].epochs[:epochs])
        unequal(f"Rank 0 trained {count(epochs, 'epoch')}, not 2", fewer)
    for epochs in (1, 3):
        other = with_rank(BASELINE, 0, epochs=longer[:epochs])
        unequal(f"The baseline trained {count(epochs, 'epoch')}, not 2", baseline=other)
    unequal("The baseline trained 1 epoch, not 2", result(short), result(spec(0, epochs=1)))


def test_early_stopping_inside_an_epoch_on_one_side_is_not_the_same_work() -> None:
    stopped = with_all_epochs(HONEST, epoch=1, updates=8, samples=24_000)
    unequal("The ranks trained on 48,000 samples in epoch 2, the baseline saw 60,000", stopped)

    stopped = with_epoch(BASELINE, 0, epoch=1, updates=8, samples=48_000)
    unequal("The ranks trained on 60,000 samples in epoch 2, the baseline saw 48,000", baseline=stopped)


def test_ranks_that_do_the_same_half_or_each_others_share_are_not_the_same_work() -> None:
    lazy = with_epoch(HONEST, 1, samples=0, coverage=f"{0:032x}")
    lazy = with_epoch(lazy, 0, samples=60_000, coverage=coverage(1, 0, 0, 1))
    same_half = with_epoch(HONEST, 1, coverage=coverage(1, 0, 0, 2))  # though the counters are right

    unequal("Rank 0 trained on 60,000 samples in epoch 1, its share is 30,000", lazy)
    unequal("ranks together did not train on the samples of epoch 1, each in its place", same_half)


def test_a_sample_that_is_trained_on_twice_and_another_not_at_all_is_not_the_same_work() -> None:
    batches = [list(batch) for batch in schedule.global_batches(1, 1, BATCH)]
    batches[3][7] = batches[3][8]
    twice = with_epoch(BASELINE, 0, epoch=1, coverage=schedule.coverage(batches))

    unequal("The baseline did not train on the samples of epoch 2, each in its place", baseline=twice)


def test_the_same_samples_every_epoch_are_not_the_same_work_even_when_both_sides_do_it() -> None:
    parallel = with_all_epochs(HONEST, epoch=1, coverage=coverage(1, 0, 0, 2))
    baseline = with_epoch(BASELINE, 0, epoch=1, coverage=coverage(1, 0, 0, 1))

    unequal("The baseline did not train on the samples of epoch 2", parallel, baseline)


@pytest.mark.parametrize("damaged", ["", "not a hash"])
def test_a_hash_that_is_none_is_a_missing_figure(damaged: str) -> None:
    missing("hash of the samples that were trained on is damaged", with_epoch(HONEST, 1, coverage=damaged))


# Other ranks


def test_a_rank_that_is_absent_is_a_missing_figure_and_one_that_is_there_twice_is_not_the_same_work() -> None:
    missing("1 of 2 ranks reported their work", replace(HONEST, ranks=HONEST.ranks[:1]))
    missing("0 of 1 baseline", baseline=replace(BASELINE, ranks=()))
    unequal(r"Ranks \[0, 0\] trained, expected 0 to 1", replace(HONEST, ranks=(HONEST.ranks[0], HONEST.ranks[0])))
    unequal("Rank 1 trained in a world of 1, not 2", with_rank(HONEST, 1, world_size=1))
    unequal("The baseline trained in a world of 2, not 1", baseline=with_rank(BASELINE, 0, world_size=2))


# Other settings and other resources


def test_another_seed_is_not_the_same_work() -> None:
    unequal("Seed: 7 on rank 1, 1 in the baseline", with_rank(HONEST, 1, seed=7))
    unequal("Both sides trained with seed 1, this trial's is 9", of=replace(TWO, seed=9))


@pytest.mark.parametrize("rate", [0.002, 0.0, math.nan])
def test_another_learning_rate_on_one_side_is_not_the_same_work(rate: float) -> None:
    unequal(f"Learning rate: {rate} on rank 0, 0.001 in the baseline", with_all_ranks(HONEST, learning_rate=rate))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"intra_threads": 2}, "Threads inside an operation: 1 on rank 0, 2 in the baseline"),
        ({"inter_threads": 2}, "Threads across operations: 1 on rank 0, 2 in the baseline"),
        ({"cores": 2}, "Cores to run on: 1 on rank 0, 2 in the baseline"),
        ({"quota": 2.0}, "CPU quota: None on rank 0, 2.0 in the baseline"),
        ({"niceness": 15}, "Niceness: 0 on rank 0, 15 in the baseline"),
        ({"onednn": "0"}, "OneDNN setting: default on rank 0, 0 in the baseline"),
    ],
)
def test_a_baseline_with_other_resources_is_not_the_same_work(change: dict[str, object], named: str) -> None:
    unequal(named, baseline=with_rank(BASELINE, 0, means=replace(MEANS, **change)))  # type: ignore[arg-type]


def test_one_rank_with_more_cores_than_the_others_is_not_the_same_work() -> None:
    unequal("Cores to run on: 2 on rank 1, 1 in the baseline", with_rank(HONEST, 1, means=replace(MEANS, cores=2)))


# Other gradients, though every counter is right


def test_gradients_that_are_not_synchronised_show_in_the_weights_and_weights_are_owed_by_everyone() -> None:
    other = with_epoch(HONEST, 1, epoch=1, weights="f" * 64)

    unequal("After epoch 2 rank 1 has different weights from rank 0: gradients were not", other)
    missing("Rank 0 reported no checksum of its weights after epoch 1", with_all_epochs(HONEST, weights=""))


@pytest.mark.parametrize(
    ("first", "later", "cause"),
    [
        pytest.param(
            1, 1.004, "2 .* the baseline's .* gradients that were not added", id="weights broadcast at the end"
        ),
        pytest.param(1, 1.0004, "2 ", id="a learning rate that is hardly another"),
        pytest.param(1, 0.99, r"2 .*\(another learning rate, or gradients", id="a learning rate hidden from the probe"),
        pytest.param(1.01, 1, r"1 .*\(another start, or other samples or dropout masks", id="other initial weights"),
    ],
)
def test_what_is_hidden_shows_in_the_losses_of_the_first_updates(first: float, later: float, cause: str) -> None:
    losses = (FIRST_LOSSES[0] * first, *(loss * later for loss in FIRST_LOSSES[1:]))

    unequal(f"The loss of update {cause}", with_all_epochs(HONEST, first_losses=losses))


def drifted(*off: float) -> TrialResult:
    """The honest trial, but the losses of its first updates are so far off, relative to the baseline's."""
    return with_all_epochs(HONEST, first_losses=tuple(x * (1 + y) for x, y in zip(FIRST_LOSSES, off, strict=True)))


CHAOTIC = (0, 6e-8, 2e-6, 3e-6, 2e-5, 7e-5, 3e-4, 7e-4, 1.1e-3, 2e-3)
"""As a ResNet with BatchNorm differed from itself on two ranks: rounding, that grew with each update."""


def test_rounding_may_grow_with_each_update_of_an_unstable_training() -> None:
    prove_same_work(TWO, BASELINE, drifted(*CHAOTIC), SPREAD)


@pytest.mark.parametrize(
    ("off", "update"),
    [
        pytest.param((0, 6e-8, 2e-6, 2e-4, *CHAOTIC[4:]), 4, id="in the first updates"),
        pytest.param((*CHAOTIC[:6], 1.1e-3, *CHAOTIC[7:]), 7, id="faster than rounding grows"),
        pytest.param((*CHAOTIC[:7], 4e-3, *CHAOTIC[8:]), 8, id="more than tenfold"),
    ],
)
def test_a_difference_that_is_no_growing_rounding_is_found(off: Sequence[float], update: int) -> None:
    unequal(f"The loss of update {update} ", drifted(*off))


def test_weights_broadcast_at_the_end_do_not_hide_the_gradient_of_one_half() -> None:
    own = tuple(tuple(value / 2 + 0.001 * (-1) ** at for at, value in enumerate(row)) for row in probe(1).gradient)
    hidden = with_rank(HONEST, 1, probe=replace(probe(1), gradient=own))

    unequal(r"On rank 1, the reduced gradient .* gradients of other ranks are missing", hidden)


def test_gradients_that_are_summed_or_averaged_twice_are_called_so() -> None:
    for workers in (2, 4):
        summed = with_all_ranks(result(spec(workers)), probe=scaled(probe(1), gradient=workers, weights=workers))
        unequal(rf"{workers}\.00 times as large on average: gradients are summed, not aver", summed, of=spec(workers))
    halved = with_all_ranks(HONEST, probe=scaled(probe(1), gradient=0.5))
    unequal(r"0\.50 times as large on average: gradients are scaled", halved)


@pytest.mark.parametrize("factor", [2.0, 1.1, 1.0000001, -1.0])
def test_a_learning_rate_that_is_hidden_shows_in_the_weights_of_the_probe(factor: float) -> None:
    hidden = with_all_ranks(HONEST, probe=scaled(probe(1), weights=factor))
    unequal(r"change of the weights .* another learning rate, or later gradients", hidden)


def test_a_path_that_parts_later_shows_in_the_loss_of_its_epoch_and_in_the_accuracy() -> None:
    of = spec(2, "timing")
    cause = r"training loss of epoch 1 is 0.4000, the baseline's 0.3000: further apart"
    unequal(cause, with_all_epochs(result(of), loss=0.40), result(spec(0, "timing")), of)

    cause = r"test accuracy is 0.9700, the baseline's 0.9860: further apart than 0.0085"
    unequal(cause, with_epoch(HONEST, 0, epoch=1, accuracy=0.97))


# Figures that are absent are never 0.0


@pytest.mark.parametrize("accuracy", [None, math.nan, -0.1, 1.5, math.inf])
def test_an_accuracy_that_is_missing_from_the_result_is_an_error_on_either_side(accuracy: float | None) -> None:
    cause = rf"reported no test accuracy \(got {accuracy}\)"

    missing(f"Rank 0 {cause}", with_epoch(HONEST, 0, epoch=1, accuracy=accuracy))
    missing(f"The baseline {cause}", baseline=with_epoch(BASELINE, 0, epoch=1, accuracy=accuracy))


def test_an_accuracy_of_an_earlier_epoch_is_not_that_of_the_last() -> None:
    rank = with_epoch(HONEST, 0, epoch=1, accuracy=None).ranks[0]

    assert rank.epochs[0].accuracy is not None
    with pytest.raises(MissingResultError):
        require_accuracy(rank)


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        (None, "lacks the equivalence probe"),
        (Probe((), ()), "reported 0 of 8 tensors of the equivalence probe"),
        (replace(probe(1), weights=probe(1).weights[1:]), "reported 7 of 8 tensors"),
    ],
)
def test_a_probe_that_is_absent_or_incomplete_is_a_missing_figure(given: Probe | None, cause: str) -> None:
    missing(f"Rank 1 {cause}", with_rank(HONEST, 1, probe=given))
    missing(f"The baseline {cause}", baseline=with_rank(BASELINE, 0, probe=given))


def test_a_probe_with_fewer_projections_is_a_missing_figure_and_one_without_any_proves_nothing() -> None:
    short = replace(probe(1), gradient=tuple(row[:3] for row in probe(1).gradient))
    nothing = Probe(*(tuple(() for _ in CNN_MNIST.tensors) for _ in range(2)))

    missing("Rank 1 reported 3 of 6 projections of conv1", with_rank(HONEST, 1, probe=short))
    unequal(".", with_all_ranks(HONEST, probe=nothing), with_all_ranks(BASELINE, probe=nothing))


def test_the_losses_of_the_first_updates_are_owed_by_everyone() -> None:
    missing("Rank 1 lacks the loss of update 1", with_epoch(HONEST, 1, first_losses=()))
    missing("The baseline lacks the loss of update 1", baseline=with_epoch(BASELINE, 0, first_losses=()))


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_an_epoch_that_took_no_time_is_a_missing_figure(seconds: float) -> None:
    missing("Rank 1 reported no training time for epoch 2", with_epoch(HONEST, 1, epoch=1, seconds=seconds))


@pytest.mark.parametrize("figure", [math.nan, math.inf, -math.inf, 0.0])
def test_a_figure_that_is_no_number_passes_no_comparison_even_when_both_sides_have_it(figure: float) -> None:
    row = (figure,) * 6
    broken = Probe((row,) * 8, (row,) * 8)

    for changed, both in (
        (with_all_epochs(HONEST, first_losses=(figure,) * 10), with_all_epochs(BASELINE, first_losses=(figure,) * 10)),
        (with_all_ranks(HONEST, probe=broken), with_all_ranks(BASELINE, probe=broken)),
    ):
        unequal(".", changed)
        unequal(".", changed, both)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_not_the_same_work_even_on_both_sides(loss: float) -> None:
    for epoch in range(EPOCHS):
        parallel, baseline = (with_all_epochs(trial, epoch=epoch, loss=loss) for trial in (HONEST, BASELINE))
        unequal(f"training loss of epoch {epoch + 1} is {loss}", parallel, baseline)


# The copies of a ceiling


def test_copies_are_a_ceiling_unless_one_did_less_or_had_more_or_is_absent() -> None:
    of = spec(0, "ceiling", copies=2)
    baseline, copies = result(spec(0, "timing")), result(of)

    prove_alone(of, baseline, copies, SPREAD)
    with pytest.raises(UnequalWorkError, match="Copy 1 of 2: The ranks trained on 54,000"):
        prove_alone(of, baseline, with_epoch(copies, 1, updates=9, samples=54_000), SPREAD)
    with pytest.raises(UnequalWorkError, match="Copy 1 of 2: Cores to run on: 2"):
        prove_alone(of, baseline, with_rank(copies, 1, means=replace(MEANS, cores=2)), SPREAD)
    with pytest.raises(MissingResultError, match="1 of 2 copies reported their work"):
        prove_alone(of, baseline, replace(copies, ranks=copies.ranks[:1]), SPREAD)


def test_one_process_on_all_cores_has_as_many_threads_and_cpus_as_the_workers_together() -> None:
    of, baseline = spec(0, "all-cores", cpus=4), result(spec(0, "timing"))
    alone = result(of)
    means = alone.ranks[0].means

    prove_alone(of, baseline, alone, SPREAD)
    prove_alone(of, baseline, with_rank(alone, 0, means=replace(means, cores=16, quota=4.0)), SPREAD)
    for wrong, why in (
        (replace(means, intra_threads=2), "It computed with 2 threads inside an operation, not 4"),
        (replace(means, cores=2), "It could use 2 CPUs, not 4"),
        (replace(means, cores=16), "It could use 16 CPUs, not 4"),
        (replace(means, quota=2.5), "It could use 2.5 CPUs, not 4"),
        (replace(means, niceness=10), "Niceness: 10"),
    ):
        with pytest.raises(UnequalWorkError, match=f"1 process, 4 cores: {why}"):
            prove_alone(of, baseline, with_rank(alone, 0, means=wrong), SPREAD)


def test_where_nothing_holds_a_baseline_to_its_cpus_nothing_holds_one_process_on_all_cores() -> None:
    of, baseline = spec(0, "all-cores", cpus=4), result(spec(0, "timing"))
    free = replace(baseline.ranks[0].means, cores=10)

    prove_alone(
        of, with_rank(baseline, 0, means=free), with_rank(result(of), 0, means=replace(free, intra_threads=4)), SPREAD
    )
