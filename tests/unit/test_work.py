"""The proof of the same work, proven: every way to cheat is refused, by name."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from fixtures.analysis.plan import TrialSpec
from fixtures.analysis.work import TENSORS, prove_copies, prove_same_work, require_accuracy
from fixtures.errors import MissingResultError, UnequalWorkError
from tests.unit.trials import (
    BATCH,
    EPOCHS,
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

TWO = spec(2)
BASELINE, HONEST = result(spec(0)), result(TWO)


def prove(parallel: TrialResult = HONEST, baseline: TrialResult = BASELINE, of: TrialSpec = TWO) -> tuple[str, ...]:
    return prove_same_work(of, baseline, parallel, SPREAD)


# Other data


def test_every_rank_that_trains_on_all_data_with_an_n_times_larger_batch_is_not_the_same_work() -> None:
    reported = with_all_ranks(HONEST, batch_size=2 * BATCH)
    hidden = with_all_epochs(HONEST, samples=60_000, updates=10, coverage=coverage(1, 0, 0, 1))

    with pytest.raises(UnequalWorkError, match="Global batch size: 12000 on rank 0, 6000 in the baseline"):
        prove(reported)
    with pytest.raises(UnequalWorkError, match="trained on 120,000 samples in epoch 1, the baseline saw 60,000"):
        prove(hidden)


def test_half_the_updates_with_twice_the_batch_are_not_the_same_work() -> None:
    with pytest.raises(UnequalWorkError, match="Rank 0 did 5 updates in epoch 1, not 10"):
        prove(with_all_epochs(HONEST, updates=5))


@pytest.mark.parametrize(("epochs", "side"), [(1, "ranks"), (1, "baseline"), (0, "ranks"), (3, "baseline")])
def test_fewer_or_more_epochs_on_one_side_are_not_the_same_work(epochs: int, side: str) -> None:
    longer = result(spec(0, epochs=3))
    if side == "ranks":
        with pytest.raises(UnequalWorkError, match=f"Rank 0 trained {epochs} epochs, not 2"):
            prove(with_all_ranks(HONEST, epochs=HONEST.ranks[0].epochs[:epochs]))
    else:
        with pytest.raises(UnequalWorkError, match=f"The baseline trained {epochs} epochs, not 2"):
            prove(baseline=with_rank(BASELINE, 0, epochs=longer.ranks[0].epochs[:epochs]))


def test_epochs_that_are_fewer_on_both_sides_than_asked_for_are_refused() -> None:
    short = spec(2, epochs=1)

    with pytest.raises(UnequalWorkError, match="The baseline trained 1 epochs, not 2"):
        prove(result(short), result(spec(0, epochs=1)))


def test_early_stopping_inside_an_epoch_on_one_side_is_not_the_same_work() -> None:
    with pytest.raises(
        UnequalWorkError, match="The ranks trained on 48,000 samples in epoch 2, the baseline saw 60,000"
    ):
        prove(with_all_epochs(HONEST, epoch=1, updates=8, samples=24_000))
    with pytest.raises(
        UnequalWorkError, match="The ranks trained on 60,000 samples in epoch 2, the baseline saw 48,000"
    ):
        prove(baseline=with_epoch(BASELINE, 0, epoch=1, updates=8, samples=48_000))


def test_a_rank_that_lets_the_other_do_its_share_is_not_the_same_work() -> None:
    lazy = with_epoch(HONEST, 1, samples=0, coverage=f"{0:032x}")
    lazy = with_epoch(lazy, 0, samples=60_000, coverage=coverage(1, 0, 0, 1))

    with pytest.raises(UnequalWorkError, match="Rank 0 trained on 60,000 samples in epoch 1, its share is 30,000"):
        prove(lazy)


def test_two_ranks_that_train_on_the_same_half_are_not_the_same_work_though_the_counters_are_right() -> None:
    with pytest.raises(
        UnequalWorkError, match="ranks together did not train on the samples of epoch 1, each in its place"
    ):
        prove(with_epoch(HONEST, 1, coverage=coverage(1, 0, 0, 2)))


def test_a_sample_that_is_trained_on_twice_and_another_not_at_all_is_not_the_same_work() -> None:
    batches = [list(batch) for batch in schedule.global_batches(1, 1, BATCH)]
    batches[3][7] = batches[3][8]

    with pytest.raises(
        UnequalWorkError, match="The baseline did not train on the samples of epoch 2, each in its place"
    ):
        prove(baseline=with_epoch(BASELINE, 0, epoch=1, coverage=schedule.coverage(batches)))


def test_the_same_samples_every_epoch_are_not_the_same_work_even_when_both_sides_do_it() -> None:
    with pytest.raises(UnequalWorkError, match="The baseline did not train on the samples of epoch 2"):
        prove(
            with_all_epochs(HONEST, epoch=1, coverage=coverage(1, 0, 0, 2)),
            with_epoch(BASELINE, 0, epoch=1, coverage=coverage(1, 0, 0, 1)),
        )


@pytest.mark.parametrize("damaged", ["", "not a hash"])
def test_a_hash_that_is_none_is_a_missing_figure(damaged: str) -> None:
    with pytest.raises(MissingResultError, match="hash of the samples that were trained on is damaged"):
        prove(with_epoch(HONEST, 1, coverage=damaged))


# Other ranks


def test_a_rank_that_hands_nothing_over_is_a_missing_figure() -> None:
    with pytest.raises(MissingResultError, match="1 of 2 ranks handed over what they did"):
        prove(replace(HONEST, ranks=HONEST.ranks[:1]))
    with pytest.raises(MissingResultError, match="0 of 1 baseline"):
        prove(baseline=replace(BASELINE, ranks=()))


def test_a_rank_that_is_there_twice_is_not_the_same_work() -> None:
    with pytest.raises(UnequalWorkError, match=r"Ranks \[0, 0\] trained, expected 0 to 1"):
        prove(replace(HONEST, ranks=(HONEST.ranks[0], HONEST.ranks[0])))


def test_a_rank_that_trained_in_a_smaller_world_is_not_the_same_work() -> None:
    with pytest.raises(UnequalWorkError, match="Rank 1 trained in a world of 1, not 2"):
        prove(with_rank(HONEST, 1, world_size=1))


def test_a_baseline_that_trained_with_others_is_none() -> None:
    with pytest.raises(UnequalWorkError, match="The baseline trained in a world of 2, not 1"):
        prove(baseline=with_rank(BASELINE, 0, world_size=2))


# Other settings and other means


def test_one_rank_that_reports_another_seed_is_not_the_same_work() -> None:
    with pytest.raises(UnequalWorkError, match="Seed: 7 on rank 1, 1 in the baseline"):
        prove(with_rank(HONEST, 1, seed=7))


def test_a_seed_that_is_equal_on_both_sides_and_not_this_trials_is_refused() -> None:
    with pytest.raises(UnequalWorkError, match="Both sides trained with seed 1, this trial's is 9"):
        prove(of=replace(TWO, seed=9))


@pytest.mark.parametrize("rate", [0.002, 0.0, math.nan])
def test_another_learning_rate_on_one_side_is_not_the_same_work(rate: float) -> None:
    with pytest.raises(UnequalWorkError, match=f"Learning rate: {rate} on rank 0, 0.001 in the baseline"):
        prove(with_all_ranks(HONEST, learning_rate=rate))


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
def test_a_baseline_with_other_means_is_not_the_same_work(change: dict[str, object], named: str) -> None:
    means = replace(BASELINE.ranks[0].means, **change)  # type: ignore[arg-type]

    with pytest.raises(UnequalWorkError, match=named):
        prove(baseline=with_rank(BASELINE, 0, means=means))


def test_one_rank_with_more_cores_than_the_others_is_not_the_same_work() -> None:
    with pytest.raises(UnequalWorkError, match="Cores to run on: 2 on rank 1, 1 in the baseline"):
        prove(with_rank(HONEST, 1, means=replace(HONEST.ranks[1].means, cores=2)))


# Other gradients, though every counter is right


def test_gradients_that_are_not_synchronised_show_in_the_weights() -> None:
    with pytest.raises(
        UnequalWorkError, match="After epoch 2 rank 1 has different weights from rank 0: gradients were not"
    ):
        prove(with_epoch(HONEST, 1, epoch=1, weights="f" * 64))


def test_ranks_without_checksums_have_proven_nothing() -> None:
    with pytest.raises(MissingResultError, match="Rank 0 handed over no checksum of its weights after epoch 1"):
        prove(with_all_epochs(HONEST, weights=""))


def test_weights_broadcast_at_the_end_to_hide_it_do_not_hide_the_losses_on_the_way() -> None:
    alone = tuple(each * (1.004 if update else 1) for update, each in enumerate(HONEST.ranks[0].epochs[0].first_losses))

    with pytest.raises(
        UnequalWorkError, match=r"The loss of update 2 is .* the baseline's .* gradients that were not added"
    ):
        prove(with_all_epochs(HONEST, first_losses=alone))


def test_weights_broadcast_at_the_end_do_not_hide_the_gradient_of_one_half() -> None:
    own = tuple(tuple(each / 2 + 0.001 * (-1) ** at for at, each in enumerate(row)) for row in probe(1).gradient)

    with pytest.raises(
        UnequalWorkError, match=r"On rank 1, the reduced gradient .* gradients of other ranks are missing"
    ):
        prove(with_rank(HONEST, 1, probe=replace(probe(1), gradient=own)))


@pytest.mark.parametrize("workers", [2, 4])
def test_gradients_that_are_summed_instead_of_averaged_are_called_so(workers: int) -> None:
    summed = with_all_ranks(result(spec(workers)), probe=scaled(probe(1), gradient=workers, weights=workers))

    with pytest.raises(
        UnequalWorkError, match=rf"{workers}\.00 times as large on average: gradients are summed, not aver"
    ):
        prove(summed, of=spec(workers))


def test_gradients_that_are_averaged_twice_are_called_scaled() -> None:
    with pytest.raises(UnequalWorkError, match=r"0\.50 times as large on average: gradients are scaled"):
        prove(with_all_ranks(HONEST, probe=scaled(probe(1), gradient=0.5)))


@pytest.mark.parametrize("factor", [2.0, 1.1, 1.0000001, -1.0])
def test_a_learning_rate_that_is_hidden_shows_in_the_weights_of_the_probe(factor: float) -> None:
    with pytest.raises(UnequalWorkError, match=r"change of the weights .* another learning rate, or later gradients"):
        prove(with_all_ranks(HONEST, probe=scaled(probe(1), weights=factor)))


def test_a_learning_rate_that_is_hidden_from_the_probe_shows_in_the_losses() -> None:
    losses = HONEST.ranks[0].epochs[0].first_losses
    faster = (losses[0], *(each * 0.99 for each in losses[1:]))

    with pytest.raises(UnequalWorkError, match=r"The loss of update 2 .*\(another learning rate, or gradients"):
        prove(with_all_epochs(HONEST, first_losses=faster))


def test_other_initial_weights_or_masks_show_in_the_first_loss() -> None:
    losses = HONEST.ranks[0].epochs[0].first_losses

    with pytest.raises(
        UnequalWorkError, match=r"The loss of update 1 .*\(another start, or other samples or dropout masks"
    ):
        prove(with_all_epochs(HONEST, first_losses=(losses[0] * 1.01, *losses[1:])))


def test_a_path_that_parts_after_the_first_updates_shows_in_the_loss_of_its_epoch_in_timing_rounds_too() -> None:
    of = spec(2, "timing")
    late = with_all_epochs(result(of), loss=0.40)

    with pytest.raises(
        UnequalWorkError, match=r"training loss of epoch 1 is 0.4000, the baseline's 0.3000: further apart"
    ):
        prove(late, result(spec(0, "timing")), of)


def test_an_accuracy_further_away_than_equal_runs_are_is_not_the_same_work() -> None:
    with pytest.raises(
        UnequalWorkError, match=r"test accuracy is 0.9700, the baseline's 0.9860: further apart than 0.0085"
    ):
        prove(with_epoch(HONEST, 0, epoch=1, accuracy=0.97))


# Figures that are absent are never 0.0


@pytest.mark.parametrize("accuracy", [None, math.nan, -0.1, 1.5, math.inf])
def test_an_accuracy_that_is_missing_from_the_result_is_an_error_on_either_side(accuracy: float | None) -> None:
    with pytest.raises(MissingResultError, match=rf"Rank 0 handed over no test accuracy \(got {accuracy}\)"):
        prove(with_epoch(HONEST, 0, epoch=1, accuracy=accuracy))
    with pytest.raises(MissingResultError, match=rf"The baseline handed over no test accuracy \(got {accuracy}\)"):
        prove(baseline=with_epoch(BASELINE, 0, epoch=1, accuracy=accuracy))


def test_an_accuracy_of_an_earlier_epoch_is_not_that_of_the_last() -> None:
    rank = with_epoch(HONEST, 0, epoch=1, accuracy=None).ranks[0]

    assert rank.epochs[0].accuracy is not None
    with pytest.raises(MissingResultError):
        require_accuracy(rank)


@pytest.mark.parametrize("side", ["The baseline", "Rank 1"])
def test_a_probe_that_was_asked_for_and_is_absent_or_incomplete_is_a_missing_figure(side: str) -> None:
    def without(given: Probe | None) -> tuple[str, ...]:
        if side == "Rank 1":
            return prove(with_rank(HONEST, 1, probe=given))
        return prove(baseline=with_rank(BASELINE, 0, probe=given))

    with pytest.raises(MissingResultError, match=f"{side} lacks the equivalence probe"):
        without(None)
    with pytest.raises(MissingResultError, match=f"{side} handed over 0 of 8 tensors of the equivalence probe"):
        without(Probe((), ()))
    with pytest.raises(MissingResultError, match=f"{side} handed over 7 of 8 tensors"):
        without(replace(probe(1), weights=probe(1).weights[1:]))


def test_a_probe_with_fewer_projections_is_a_missing_figure_and_one_without_any_proves_nothing() -> None:
    short = replace(probe(1), gradient=tuple(row[:3] for row in probe(1).gradient))
    nothing = Probe(*(tuple(() for _ in TENSORS) for _ in range(2)))

    with pytest.raises(MissingResultError, match="Rank 1 handed over 3 of 6 projections of conv1"):
        prove(with_rank(HONEST, 1, probe=short))
    with pytest.raises(UnequalWorkError):
        prove(with_all_ranks(HONEST, probe=nothing), with_all_ranks(BASELINE, probe=nothing))


@pytest.mark.parametrize("side", ["The baseline", "Rank 1"])
def test_the_losses_of_the_first_updates_are_owed_by_everyone(side: str) -> None:
    parallel = with_epoch(HONEST, 1, first_losses=()) if side == "Rank 1" else HONEST
    baseline = with_epoch(BASELINE, 0, first_losses=()) if side == "The baseline" else BASELINE

    with pytest.raises(MissingResultError, match=f"{side} lacks the loss of update 1"):
        prove(parallel, baseline)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_an_epoch_that_took_no_time_is_a_missing_figure(seconds: float) -> None:
    with pytest.raises(MissingResultError, match="Rank 1 handed over no training time of epoch 2"):
        prove(with_epoch(HONEST, 1, epoch=1, seconds=seconds))


@pytest.mark.parametrize("figure", [math.nan, math.inf, -math.inf, 0.0])
@pytest.mark.parametrize("both", [False, True])
def test_a_figure_that_is_no_number_passes_no_comparison_even_when_both_sides_have_it(
    figure: float, *, both: bool
) -> None:
    losses = (figure,) * 10
    row = (figure,) * 6
    broken = Probe((row,) * 8, (row,) * 8)
    for parallel, baseline in (
        (with_all_epochs(HONEST, first_losses=losses), with_all_epochs(BASELINE, first_losses=losses)),
        (with_all_ranks(HONEST, probe=broken), with_all_ranks(BASELINE, probe=broken)),
    ):
        with pytest.raises(UnequalWorkError):
            prove(parallel, baseline if both else BASELINE)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_not_the_same_work_even_on_both_sides(loss: float) -> None:
    for epoch in range(EPOCHS):
        broken = with_all_epochs(HONEST, epoch=epoch, loss=loss)
        with pytest.raises(UnequalWorkError, match=f"training loss of epoch {epoch + 1} is {loss}"):
            prove(broken, with_all_epochs(BASELINE, epoch=epoch, loss=loss))


# The copies of a ceiling


def test_copies_that_did_what_the_baseline_did_are_a_ceiling() -> None:
    of = spec(0, "ceiling", copies=2)

    prove_copies(of, result(spec(0, "timing")), result(of), SPREAD)


def test_a_copy_that_did_less_or_had_more_or_is_absent_is_no_ceiling() -> None:
    of = spec(0, "ceiling", copies=2)
    baseline, copies = result(spec(0, "timing")), result(of)
    rich = replace(copies.ranks[1].means, cores=2)

    with pytest.raises(UnequalWorkError, match="Copy 1 of 2: The ranks trained on 54,000"):
        prove_copies(of, baseline, with_epoch(copies, 1, updates=9, samples=54_000), SPREAD)
    with pytest.raises(UnequalWorkError, match="Copy 1 of 2: Cores to run on: 2"):
        prove_copies(of, baseline, with_rank(copies, 1, means=rich), SPREAD)
    with pytest.raises(MissingResultError, match="1 of 2 copies handed over what they did"):
        prove_copies(of, baseline, replace(copies, ranks=copies.ranks[:1]), SPREAD)
