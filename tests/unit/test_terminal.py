"""The comparison block: verdict first, then every figure that a person needs, on one screen."""

import re
from dataclasses import replace
from typing import Any

import pytest

from fixtures.analysis.measurement import Failure, Run
from fixtures.analysis.summary import summarise
from fixtures.report.terminal import comparison_block
from tests.unit.trials import SCALING, SETTINGS, SPREAD, measurement, run, spec, timing_round, with_epoch

ROUNDS = [timing_round(1, 10.0, 5.5, 10.4), timing_round(2, 10.2, 5.6, 10.5), timing_round(3, 9.9, 5.4, 10.3)]
BOTH = [(*trials, *timing_round(n, 10.0, 3.0 + n / 100, 11.2, workers=4)[1:]) for n, trials in enumerate(ROUNDS, 1)]
NOISE = [timing_round(number, 10.0, 9.0) for number in range(4, 8)]
NOISY = dict.fromkeys("4567", "baseline: other programs kept 1.00 cores busy")


def block(measured: Run, **options: Any) -> str:
    return comparison_block(summarise(measured, SPREAD, SCALING), seconds=161.0, **options)


def said(measured: Run, **options: Any) -> str:
    """The block as one line of text, so that it does not matter where it is wrapped."""
    return re.sub(r"\s+", " ", block(measured, **options))


@pytest.mark.parametrize(
    "figure",
    [
        "2 Ray workers train 1.82x (1.80 to 1.84) as fast as one process on one core; a whole job pays from",
        "Same work proven. PASS at 1.50x. baseline 2 workers",
        "training time, trial of 2 epochs 30.0 s 16.0 s",
        "job, trial of 2 epochs 36.0 s 22.0 s",
        "test accuracy, trial of 2 epochs 0.9860 0.9860",
        "speedup, rounds of 1 epoch 1.00x 1.82x 95 % interval 1.80 to 1.84",
        "efficiency 91%",
        "the machine's ceiling 1.93x",
        "speedup of the job, rounds of 1 epoch 1.00x 1.39x",
        "Same work: 8 of 8 checks (-v lists them)",
        "fake cluster of 2 worker nodes, 8 usable cores; global batch 6000, seed 1",
        "time: cluster 3 s, accuracy 60 s, timing 90 s, in all 161 s",
    ],
)
def test_the_block_holds(figure: str) -> None:
    assert figure in said(run(*ROUNDS))


@pytest.mark.parametrize(
    "figure",
    [
        "time saved, trial of 2 epochs +14.0 s",
        "end to end, trial of 2 epochs 36.0 s 25.0 s",
        "asked for 1.5x",
        "serial fraction (Karp-Flatt) 0.096",
        "predicted speedup 1.93x",
        "speedup end to end, trial of 2 epochs 1.00x 1.44x",
        "same work, 2 workers: all ranks hold bit for bit the same weights after every epoch",
    ],
)
def test_a_verbose_block_holds_the_rest(figure: str) -> None:
    assert figure in said(run(*ROUNDS), verbose=True)
    assert figure not in said(run(*ROUNDS))


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "measured",
    [run(*ROUNDS), run(*BOTH, counts=(2, 4)), run(*BOTH, *NOISE, polluted=NOISY)],
    ids=["one count", "two counts", "disturbed"],
)
def test_verdict_and_figures_fit_a_screen_of_24_rows(measured: Run, width: int) -> None:
    verdict, *lines = block(measured, width=width).splitlines()

    assert verdict.startswith("PASS")
    assert len(lines) <= 20
    assert max(map(len, lines)) <= width


def test_it_ends_with_the_speedups_and_their_plus_minus() -> None:
    ends = "2 workers: 1.82 ± 0.02; 4 workers: 3.32 ± 0.14 times as fast as one process on one core "
    assert said(run(*BOTH, counts=(2, 4))).endswith(ends)


def test_an_interval_that_tells_nothing_is_shown_as_one() -> None:
    wild = run(timing_round(1, 10.0, 9.0, workers=1), timing_round(2, 10.0, 17.0, workers=1), counts=(1,))

    assert "1 Ray worker trains 0.81x (0.014 to 46: too few rounds) as fast" in said(wild)
    assert said(wild).endswith(
        "1 worker: 0.81 (too few rounds for a plus-minus) times as fast as one process on one core "
    )


def test_a_loss_of_nothing_has_no_sign_and_one_epoch_is_no_plural() -> None:
    settings = replace(run().settings, epochs=1)
    alike = [measurement(spec(count, epochs=1), seconds=16.0 + count / 1000) for count in (0, 2)]
    shown = said(run(accuracy=alike, settings=settings), verbose=True)

    assert "time saved, trial of 1 epoch +0.0 s" in shown
    assert "1 epochs" not in shown


def test_counts_are_columns_of_one_table_and_of_many_as_many_as_fit() -> None:
    assert "baseline 2 workers 4 workers training time" in said(run(*BOTH, counts=(2, 4)))
    summary = summarise(run(*ROUNDS), SPREAD)
    many = replace(summary, comparisons=tuple(replace(summary.of(2), workers=count) for count in range(2, 14)))

    shown = next(line for line in comparison_block(many, width=80).splitlines() if "baseline  " in line)

    assert shown.split() == ["baseline", "2", "workers", "13", "workers"]


def test_one_process_on_all_cores_has_a_column_where_there_is_room() -> None:
    rounds = [timing_round(number, 10.0, 5.5 + number / 100, 10.4, all_cores=5.0) for number in (1, 2, 3)]
    shown = said(run(*rounds, all_cores=(2,), usable_cores=2), width=80)

    assert "1 process, baseline 2 cores 2 workers" in shown
    assert "speedup, rounds of 1 epoch 1.00x 2.00x 1.81x" in shown
    assert "speedup over one process on all cores 0.91x" in shown


def test_no_speedup_stands_beside_not_applicable() -> None:
    shown = said(run(*BOTH, counts=(2, 4), usable_cores=2))

    assert "4 workers: NOT APPLICABLE: Speedup needs 4 cores, this cluster has 2." in shown
    assert "3.3" not in shown
    assert "1.82x" in shown


def test_a_run_that_ended_early_says_why_and_shows_what_there_is() -> None:
    failed = run(accuracy=[], failures=(Failure("run", "Infra", "Node worker-2 is gone.", "See the evidence."),))

    assert said(failed).startswith("INFRA ")
    assert "Node worker-2 is gone. See the evidence." in said(failed)
    assert "x as fast" not in said(failed)


def test_an_accuracy_that_is_missing_is_called_so() -> None:
    parallel = measurement(spec(2))
    parallel = replace(parallel, result=with_epoch(parallel.result, 0, epoch=1, accuracy=None))

    assert "test accuracy, trial of 2 epochs 0.9860 missing" in said(
        run(*ROUNDS, accuracy=[measurement(spec(0)), parallel])
    )


def test_a_cluster_whose_start_was_not_measured_leaves_no_end_to_end_figure() -> None:
    measured = run(*ROUNDS)

    assert "end to end" not in said(replace(measured, phases={"accuracy": 60.0}), verbose=True)
    assert "end to end" not in said(replace(measured, cluster=replace(measured.cluster, adopted=True)), verbose=True)


def test_one_round_shows_a_figure_without_an_interval() -> None:
    assert "1.82x (one round, so no interval)" in said(run(ROUNDS[0]))


def test_a_prediction_without_a_ceiling_takes_none_into_account_and_none_stands_where_nothing_was_timed() -> None:
    assert "predicted speedup 2.00x" in said(run(ROUNDS[0][:2]), verbose=True)
    assert "predicted" not in said(run(), verbose=True)


def test_a_round_that_was_set_aside_is_named_with_its_reason_and_many_are_counted() -> None:
    shown = run(*ROUNDS, *NOISE, polluted=NOISY)

    assert "4 rounds set aside for noise (-v says which and why)" in said(shown)
    assert "round 7 set aside: baseline: other programs kept 1.00 cores busy" in said(shown, verbose=True)
    assert "round 2 set aside: noise" in said(run(*ROUNDS, polluted={"2": "noise"}))
    assert "with the rounds set aside 1.37x" in said(shown, verbose=True)


def test_a_run_that_its_time_budget_ended_says_so() -> None:
    assert "the time budget ended the run before its last look" in said(run(*ROUNDS, budget_ended=True))


def test_colours_are_for_terminals_only() -> None:
    assert "\x1b[" in block(run(*ROUNDS), colour=True)
    assert "\x1b[" not in block(run(*ROUNDS))


def test_the_round_of_a_quick_run_is_its_accuracy_trials_and_as_long() -> None:
    quick = run(timing_round(1, 30.0, 16.0, None), settings=replace(SETTINGS, quick=True, rounds=1))

    assert "speedup, rounds of 2 epochs" in said(quick)


def test_why_every_round_was_set_aside_is_said_once() -> None:
    why = "baseline: other programs kept 1.00 cores busy (limit 0.25)"

    shown = said(run(ROUNDS[0], polluted={"1": why}))

    assert "Every round was set aside" in shown
    assert shown.count(why) == 1
