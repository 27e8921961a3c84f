"""The comparison block: every figure that a person needs, on one screen."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fixtures.analysis.measurement import Failure, Run
from fixtures.analysis.summary import summarise
from fixtures.report.terminal import MOST_BARS, comparison_block
from tests.unit.trials import SCALING, SPREAD, measurement, run, spec, timing_round, with_epoch

ROUNDS = [timing_round(1, 10.0, 5.5, 10.4), timing_round(2, 10.2, 5.6, 10.5), timing_round(3, 9.9, 5.4, 10.3)]


def block(measured: Run, *, colour: bool = False, width: int = 120, seconds: float | None = 161.0) -> str:
    return comparison_block(summarise(measured, SPREAD, SCALING), width=width, colour=colour, seconds=seconds)


def said(measured: Run) -> str:
    """The block as one line of text, so that it does not matter where it is wrapped."""
    return re.sub(r"[\s│]+", " ", block(measured))


@pytest.mark.parametrize(
    "figure",
    [
        "training time, 2 epochs 30.0 s 16.0 s +14.0 s saved (+0.23 min)",
        "job, submitted to ended 36.0 s 22.0 s",
        "test accuracy 0.9860 0.9860 +0.0000",
        "speedup of the training loop 1.00x 1.82x 95 % interval 1.80 to 1.84 over 3 rounds; 1.5x is asked for",
        "parallel efficiency 91%",
        "(Karp-Flatt)",
        "predicted by the scaling model 1.93x measured 1.82x; cores share as the ceiling shows",
        "end to end 36.0 s 25.0 s 3.0 s of it for the cluster",
        "speedup of the whole job 1.00x 1.39x what a user waits for when Ray is up",
        "speedup end to end 1.00x 1.44x with the time for the cluster; one trial each, no interval",
        "the machine's ceiling 1.93x 95 % interval 1.90 to 1.96; 2 independent copies; 95% of it reached",
        "PASS: 2 workers are 1.82x as fast as the baseline",
        "same work: all ranks hold bit for bit the same weights after every epoch",
        "2 epochs, global batch 6000, seed 1, 1 CPU(s) per worker",
        "fake cluster of 2 worker nodes with 1 CPU(s) each, 8 usable cores",
        "time: cluster 3 s, accuracy 60 s, timing 90 s, in all 161 s",
    ],
)
def test_the_block_holds(figure: str) -> None:
    assert figure in said(run(*ROUNDS))


def test_bars_show_the_speedup_beside_what_it_is_measured_against() -> None:
    bars = {line.strip("│ ").split("█")[0].strip(): line for line in block(run(*ROUNDS)).splitlines() if "█" in line}

    assert list(bars) == ["baseline", "2 workers", "asked for", "ceiling"]
    lengths = {name: line.count("█") for name, line in bars.items()}
    assert lengths["baseline"] < lengths["asked for"] < lengths["2 workers"] < lengths["ceiling"]
    assert "1.82x" in bars["2 workers"]


def test_without_a_speedup_there_are_no_bars_and_of_many_counts_only_some() -> None:
    assert "█" not in block(run())
    one = summarise(run(*ROUNDS), SPREAD)
    many = replace(one, comparisons=tuple(replace(one.of(2), workers=count) for count in range(2, 14)))

    shown = [line for line in comparison_block(many).splitlines() if "█" in line and "workers" in line]

    assert len(shown) == MOST_BARS
    assert "13 workers" in shown[-1]


def test_the_verdict_and_its_reason_stand_in_the_title_and_below_the_figures() -> None:
    assert "REGRESSION baseline against Ray Train" in said(run(*[timing_round(n, 10.0, 8.0 + n / 50) for n in (1, 2)]))
    assert "NOT APPLICABLE: Speedup needs 2 cores, this cluster has 1." in said(run(usable_cores=1))


def test_a_run_that_ended_early_says_why_and_shows_what_there_is() -> None:
    failed = run(accuracy=[], failures=(Failure("run", "Infra", "Node worker-2 is gone.", "See the evidence."),))

    assert "INFRA: Node worker-2 is gone. See the evidence." in said(failed)
    assert "x as fast" not in said(failed)


def test_an_accuracy_that_is_missing_is_called_so() -> None:
    parallel = measurement(spec(2))
    parallel = replace(parallel, result=with_epoch(parallel.result, 0, epoch=1, accuracy=None))

    assert "test accuracy 0.9860 missing" in said(run(*ROUNDS, accuracy=[measurement(spec(0)), parallel]))


def test_a_cluster_whose_start_was_not_measured_leaves_no_end_to_end_figure() -> None:
    assert "end to end" not in said(replace(run(*ROUNDS), phases={"accuracy": 60.0}))


def test_one_round_shows_a_figure_without_an_interval() -> None:
    assert "1.82x no interval over 1 round; 1.5x is asked for" in said(run(ROUNDS[0]))


def test_a_prediction_without_a_ceiling_takes_none_into_account_and_none_stands_where_nothing_was_timed() -> None:
    assert "predicted by the scaling model 2.00x measured 1.82x speedup of the whole" in said(run(ROUNDS[0][:2]))
    assert "predicted" not in said(run())


def test_polluted_rounds_are_shown_with_and_without_and_with_their_reason() -> None:
    noisy = timing_round(4, 10.0, 9.0)
    shown = said(run(*ROUNDS, noisy, polluted={"4": "baseline: other programs kept 1.00 cores busy"}))

    assert "over 3 rounds; 1.5x" in shown
    assert "with the polluted rounds 1.61x over 4 rounds" in shown
    assert "round 4 set aside: baseline: other programs kept 1.00 cores busy" in shown


def test_a_run_that_its_time_budget_ended_says_so() -> None:
    assert "the time budget ended the run before its last look" in said(run(*ROUNDS, budget_ended=True))


def test_several_counts_stand_in_one_block() -> None:
    both = [(*ROUNDS[0], *timing_round(1, 10.0, 3.0, 12.0, workers=4)[1:])]

    shown = said(run(*both, counts=(2, 4)))

    assert "baseline 2 workers" in shown
    assert "baseline 4 workers" in shown


@pytest.mark.parametrize("width", [60, 80, 120, 300])
def test_no_line_is_wider_than_the_terminal_or_120_columns(width: int) -> None:
    assert max(map(len, block(run(*ROUNDS), width=width).splitlines())) <= min(width, 120)


def test_colours_are_for_terminals_only() -> None:
    assert "\x1b[" in block(run(*ROUNDS), colour=True)
    assert "\x1b[" not in block(run(*ROUNDS))
