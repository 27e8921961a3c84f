"""The section "Does it pay?": what it says, what it draws, and what it leaves out."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace

import pytest

from fixtures.analysis.measurement import Measurement, Run
from fixtures.analysis.summary import Summary, summarise
from fixtures.report.pays import describe_pays, format_money, tabulate_pays
from fixtures.report.pays_chart import draw_pays
from fixtures.report.sentences import make_headline
from fixtures.report.terminal import comparison_block
from tests.unit.trials import SCALING, SETTINGS, SPREAD, run, timing_round


def starting_later(trials: Sequence[Measurement], seconds: float) -> tuple[Measurement, ...]:
    """The round, but the workers' job takes so much longer outside training."""
    return tuple(replace(trial, ended_at=trial.ended_at + seconds) if trial.spec.workers else trial for trial in trials)


def timed(
    *times: tuple[float, float], later: float = 9.0, all_cores: float | None = None
) -> list[Sequence[Measurement]]:
    """Rounds of the baseline and two workers, whose job is longer by nine seconds and a bit in each."""
    return [
        starting_later(timing_round(number, alone, many, 10.4, all_cores=all_cores), later + number / 10)
        for number, (alone, many) in enumerate(times, 1)
    ]


FASTER = ((10.0, 5.5), (10.1, 5.5), (9.9, 5.6))
LATE = run(*timed(*FASTER, all_cores=5.0), all_cores=(2,), usable_cores=2)
UNSURE = run(*timed((10.0, 5.0), (10.0, 11.0), (10.0, 12.0)))
SLOWER = run(*timed((10.0, 15.0), (10.0, 15.1), (10.0, 14.9)))
SOON = run(*timed(*FASTER, later=0.5))


def summary(measured: Run) -> Summary:
    return summarise(measured, SPREAD, SCALING)


def said(measured: Run) -> str:
    return " ".join(sentence for sentences in describe_pays(summary(measured)).values() for sentence in sentences)


@pytest.mark.parametrize(
    ("measured", "half"),
    [
        pytest.param(
            LATE, "; a job of 1 epoch is not faster: it pays from 2.06 epochs on (1.86 to 2.29).", id="too short"
        ),
        pytest.param(SOON, "; a whole job pays from 0.16 epochs on (0.10 to 0.23).", id="long enough"),
        pytest.param(
            UNSURE, "; a job of 1 epoch is not faster: it may never pay on this machine, and not", id="unsure"
        ),
        pytest.param(SLOWER, "; a job of 1 epoch is not faster: it never pays on this machine.", id="never"),
        pytest.param(
            run(*timed((10.0, 5.5))), "; a job of 1 epoch is not faster: it pays from 2.02 epochs on.", id="one"
        ),
    ],
)
def test_the_first_sentence_says_from_which_length_on_a_whole_job_pays(measured: Run, half: str) -> None:
    assert half in make_headline(summary(measured)).sentence


@pytest.mark.parametrize(
    "sentence",
    [
        "With Ray up, a job pays from 2.06 epochs on (1.86 to 2.29), which take the baseline 20.6 s to train.",
        "With the cluster's start of 3.0 s, it pays from 2.73 epochs on (2.48 to 3.03), which take the baseline 27.3 s",
        "With Ray up and against one process on both cores, it never pays on this machine.",
        "A job of 1 epoch costs these core-seconds: 41.5 with 2 workers, 16.0 with one process on one core, 22.0 with "
        "one process on both cores. The workers cost 2.59x what the baseline costs, and 1.11x for a long training.",
        "Many configurations of 1 epoch are trained faster 2 at a time, alone: 2 at a time takes 8.2 s for each, one "
        "after the other with 2 workers 20.7 s.",
        "With a core for each that shares nothing: 4 workers 3.98x, pays from 1.23 epochs on; 8 workers",
        "Their jobs are taken to last as long outside training as those of 2 workers.",
    ],
)
def test_the_section_says(sentence: str) -> None:
    assert sentence in said(LATE)


def test_what_was_not_measured_is_left_out_or_said_and_is_no_zero() -> None:
    alone = run(timing_round(1, 10.0, 5.5))
    adopted = replace(alone, cluster=replace(alone.cluster, adopted=True))

    assert "One round has no interval." in said(alone)
    assert "Against one process on 2 cores it was not measured: an older version" in said(alone)
    assert "cluster's start" not in said(adopted)
    assert "configurations" not in said(adopted)
    assert describe_pays(summary(run())) == {}
    assert describe_pays(summary(run(*timed(*FASTER), usable_cores=1))) == {}, "beside NOT APPLICABLE"


def test_a_job_that_pays_at_once_needs_no_seconds_of_the_baseline() -> None:
    early = run(*timed((10.0, 5.5), later=-0.1))

    assert "With Ray up, a job pays from the first epoch on. With" in said(early)


def test_a_sweep_whose_workers_are_faster_one_after_the_other_is_said_to_be_so() -> None:
    crowded = [timing_round(number, 10.0, 5.0, 40.0) for number in (1, 2, 3)]

    assert "faster one after the other, with 2 workers each: 2 at a time takes 23.0 s for each" in said(run(*crowded))
    assert "Side by side is 0.48x (0.48 to 0.48) as fast, and 0.25x for long trainings." in said(run(*crowded))


def test_a_price_is_shown_in_money() -> None:
    priced = replace(LATE, settings=replace(SETTINGS, price=36.0))

    assert "At 36 a core-hour that is 0.415 with 2 workers, 0.160 with one process on one core" in said(priced)
    assert "core-hour" not in said(LATE)
    assert [format_money(amount) for amount in (0.0000234, 1.5, 123_456.0)] == ["0.0000234", "1.50", "123000"]


def test_the_table_has_each_worker_count() -> None:
    rounds = [
        (*starting_later(timing_round(n, 10.0, 5.5), 9.0), *timing_round(n, 10.0, 12.0, workers=4)[1:]) for n in (1, 2)
    ]
    table = tabulate_pays(summary(run(*rounds, counts=(2, 4))))

    assert [row[:3] for row in table.rows] == [
        ("2 workers", "from 2.00 epochs on", "2.00 to 2.00"),
        ("4 workers", "never", ""),
    ]
    assert table.columns[-1] == "cost of 1 epoch"
    assert not any("all cores" in column for column in table.columns)


def test_the_plot_has_a_line_for_each_comparison_and_says_where_it_crosses() -> None:
    chart = draw_pays(summary(LATE))
    root = ET.fromstring(chart.svg)
    texts = {text.text for text in root.iter("text")}

    assert {"2 workers, Ray up", "2 workers, with the cluster's start", "2 workers, against all cores"} <= texts
    assert len([group for group in root.iter("g") if group.get("class") == "data-job"]) == 3
    assert "2 workers, Ray up, a job pays from 2.06 epochs on (1.86 to 2.29);" in (next(root.iter("desc")).text or "")


def test_several_worker_counts_have_a_line_each_and_nothing_timed_has_a_sentence() -> None:
    rounds = [(*timing_round(n, 10.0, 5.5), *timing_round(n, 10.0, 3.0, workers=4)[1:]) for n in (1, 2)]
    texts = {text.text for text in ET.fromstring(draw_pays(summary(run(*rounds, counts=(2, 4)))).svg).iter("text")}

    assert {"2 workers, Ray up", "4 workers, Ray up"} <= texts
    assert "2 workers, with the cluster's start" not in texts
    assert draw_pays(summary(run())).svg == ""
    assert draw_pays(summary(run())).text.startswith("No clean round")


def test_a_verbose_block_has_the_sentences() -> None:
    verbose, plain = (re.sub(r"\s+", " ", comparison_block(summary(LATE), verbose=v)) for v in (True, False))

    assert "2 workers: With the cluster's start of 3.0 s, it pays from 2.73 epochs on" in verbose
    assert "cluster's start" not in plain
