"""Every plot shows what it should, in words and figures as well; its bytes are the same each time."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from fixtures.analysis.measurement import Run
from fixtures.analysis.summary import Summary, summarise
from fixtures.report.accuracy_charts import draw_learning, draw_phases
from fixtures.report.chart import NAMES, Chart, count_legend_rows
from fixtures.report.run_tables import tabulate_rounds
from fixtures.report.speedup_chart import draw_speedup
from fixtures.report.timeline import draw_timeline
from fixtures.system.noise import Noise
from tests.unit.trials import QUIET, SCALING, SPREAD, measurement, run, spec, timing_round

STOLEN = replace(QUIET, steal=0.12, load=3.5)
ROUNDS = [
    (*timing_round(n, 10.0, 5.5 + n / 50, 10.4), *timing_round(n, 10.0, 3.0 + n / 50, 11.2, workers=4)[1:])
    for n in range(1, 6)
]
POLLUTED = {"2": "baseline: 12% of the CPU time stolen by other machines (limit 5%)"}
MEASURED = run(*ROUNDS, counts=(2, 4), polluted=POLLUTED)


def summary(measured: Run = MEASURED) -> Summary:
    return summarise(measured, SPREAD, SCALING)


@pytest.fixture(scope="module")
def speeds() -> Chart:
    return draw_speedup(summary(), SCALING)


def count(chart: Chart, name: str) -> int:
    """How many marks the parts of a plot with this class have."""
    groups = [each for each in ET.fromstring(chart.svg).iter("g") if each.get("class") == f"data-{name}"]
    return sum(len(list(each.iter("use"))) for each in groups)


def texts(chart: Chart) -> set[str]:
    return {each.text or "" for each in ET.fromstring(chart.svg).iter("text")}


def test_each_round_is_a_dot_and_each_round_set_aside_a_cross(speeds: Chart) -> None:
    assert count(speeds, "round") == 2 * 4
    assert count(speeds, "polluted") == 2 * 1


def test_the_speedups_stand_beside_all_that_they_are_measured_against(speeds: Chart) -> None:
    assert {
        "ideal: N times as fast",
        "fitted model, a core for each",
        "predicted for this machine",
        "asked for",
        "the machine's ceiling, 95 %",
        "measured, 95 %",
        "Parallel efficiency: speedup / N",
    } <= texts(speeds)
    assert count(speeds, "predicted") == 2


def test_one_process_on_all_cores_is_drawn_and_stands_in_the_tables() -> None:
    rounds = [timing_round(n, 10.0, 5.5 + n / 50, all_cores=5.0 + n / 50) for n in (1, 2, 3)]
    chart = draw_speedup(summary(run(*rounds, all_cores=(2,))), SCALING)

    assert "1 process on N workers' cores, 95 %" in texts(chart)
    assert chart.table is not None
    assert "over 1 process, all cores" in chart.table.columns
    assert tabulate_rounds(summary(run(*rounds, all_cores=(2,)))).rows[0][:4] == (
        "2 workers, 1",
        "10.00 s",
        "5.02 s",
        "5.52 s",
    )


def test_a_plot_has_a_title_a_description_with_its_figures_and_a_table(speeds: Chart) -> None:
    root = ET.fromstring(speeds.svg)

    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "speedup-title speedup-desc"
    assert [each.text for each in root.iter("title")] == ["Speedup and efficiency by worker count"]
    assert "2 workers: 1.80x; 4 workers: 3.26x." in (next(root.iter("desc")).text or "")
    assert speeds.table is not None
    assert [row[0] for row in speeds.table.rows] == ["2 workers", "4 workers"]


def test_a_plot_takes_its_colours_and_fonts_from_the_page_and_its_ids_are_its_own(speeds: Chart) -> None:
    styles = " ".join(re.findall(r'style="([^"]*)"', speeds.svg))

    assert set(re.findall(r"var\(--(\w+)\)", styles)) <= set(NAMES)
    assert re.findall(r"(?:fill|stroke):#", speeds.svg) == []
    assert "font-family" not in speeds.svg
    assert "<style" not in speeds.svg
    assert all(each.startswith("speedup-") for each in re.findall(r' id="([^"]+)"', speeds.svg))


def test_a_plot_is_the_same_to_the_byte_each_time(speeds: Chart) -> None:
    assert draw_speedup(summary(), SCALING).svg == speeds.svg
    assert not re.search(r"20\d\d-\d\d-\d\d|matplotlib", speeds.svg)


def test_without_a_ceiling_a_model_or_a_second_round_the_plot_shows_what_there_is() -> None:
    chart = draw_speedup(summarise(run(timing_round(1, 10.0, 5.5)), SPREAD), None)

    assert count(chart, "round") == 1
    assert not any("ceiling" in text for text in texts(chart))
    assert "measured" in texts(chart)
    assert "95 %" not in chart.svg
    assert "fitted model, a core for each" not in texts(chart)


def test_rounds_that_were_all_set_aside_are_crosses_without_a_mean() -> None:
    chart = draw_speedup(summary(run(timing_round(1, 10.0, 5.5), polluted={"1": "noise"})), SCALING)

    assert count(chart, "polluted") == 1
    assert not any(text.startswith("measured") for text in texts(chart))
    assert "Every round was set aside" in chart.text


def test_where_nothing_was_measured_a_sentence_takes_the_plots_place() -> None:
    nothing = summary(run(accuracy=[]))

    charts = [draw_speedup(nothing, SCALING), draw_phases(nothing), *draw_learning(nothing), draw_timeline(nothing)]

    assert [each.svg for each in charts] == [""] * 4
    assert all(each.text.startswith("No ") for each in charts)


def test_the_phases_add_up_to_the_end_to_end_time_and_only_workers_wait_for_the_cluster() -> None:
    chart = draw_phases(summary())

    assert chart.table is not None
    rows = {row[0]: row[1:] for row in chart.table.rows}
    assert rows["cluster"] == ("", "3.0 s", "3.0 s")
    assert rows["training"] == ("30.0 s", "16.0 s", "16.0 s")
    assert rows["in all"] == ("36.0 s", "25.0 s", "25.0 s")
    assert {"training", "cluster", "baseline", "36.0 s", "25.0 s"} <= texts(chart)


def test_the_parts_of_the_clusters_start_come_first_and_monitoring_which_nobody_waits_for_is_none() -> None:
    parts = {"cluster: minikube": 1.5, "cluster: image": 1.0, "cluster: monitoring": 30.0}
    whole = summary().run

    chart = draw_phases(summary(replace(whole, phases={**whole.phases, **parts})))

    assert chart.table is not None
    assert [(row[0], row[2]) for row in chart.table.rows[:3]] == [
        ("cluster: minikube", "1.5 s"), ("cluster: image", "1.0 s"), ("cluster", "0.5 s"),
    ]  # fmt: skip
    assert {row[0]: row[2] for row in chart.table.rows}["in all"] == "25.0 s"


def test_a_phase_that_nobody_foresaw_is_shown_as_well() -> None:
    trial = measurement(spec(0))
    rank = replace(trial.result.ranks[0], marks={**trial.result.ranks[0].marks, "image pull": 1002.5})
    odd = replace(trial, result=replace(trial.result, ranks=(rank,)))

    assert "image pull" in texts(draw_phases(summary(run(accuracy=[odd, measurement(spec(2))]))))


def test_loss_and_accuracy_are_drawn_for_each_configuration_by_epoch_and_by_second() -> None:
    by_epoch, by_second = draw_learning(summary())

    assert {"baseline", "2 workers", "4 workers", "98.0% asked for", "epoch"} <= texts(by_epoch)
    assert count(by_epoch, "loss") == count(by_epoch, "accuracy") == 3 * 2
    assert "training seconds" in texts(by_second)
    assert by_second.table is not None
    assert by_second.table.rows[0] == ("baseline", "1", "15.0 s", "30.0 s")
    assert "baseline after 15.0 s, 2 workers after 8.0 s, 4 workers after 8.0 s" in by_second.text


def test_an_accuracy_that_is_never_reached_is_said_to_be_so() -> None:
    run = summary().run
    strict = replace(summary(), run=replace(run, settings=replace(run.settings, min_accuracy=0.999)))

    assert "baseline never" in draw_learning(strict)[1].text


def test_where_no_accuracy_was_asked_for_none_is_drawn_and_no_time_to_it_told() -> None:
    run = summary().run
    free = replace(summary(), run=replace(run, settings=replace(run.settings, min_accuracy=0.0)))

    _, by_second = draw_learning(free)

    assert by_second.text == "No accuracy was asked for."
    assert by_second.table is not None
    assert by_second.table.columns == ("", "training time in all")
    assert "% asked for" not in by_second.svg


def test_the_timeline_has_every_trial_and_hatches_those_set_aside() -> None:
    disturbed = [replace(trial, noise=STOLEN) for trial in ROUNDS[1]]
    chart = draw_timeline(summary(run(ROUNDS[0], disturbed, counts=(2, 4), polluted=POLLUTED)))

    paths = {each.get("class"): each for each in ET.fromstring(chart.svg).iter("g") if each.get("class")}
    assert {"data-clean", "data-set-aside", "data-steal", "data-foreign"} <= set(paths)
    assert "<pattern" in chart.svg
    assert "13 trials" in chart.text
    assert "5 of them are hatched" in chart.text
    assert {"baseline", "2 copies", "4 workers", "CPU steal", "load average, 1 min"} <= texts(chart)
    assert chart.table is not None
    assert "12% of the CPU time stolen" in chart.table.rows[-1][-1]


def test_what_the_system_does_not_tell_is_said_and_not_drawn_as_nothing() -> None:
    silent = Noise(steal=None, throttled=None, foreign_cores=None, pressure=None)
    quiet = [replace(trial, noise=silent) for trial in timing_round(1, 10.0, 5.5)]
    chart = draw_timeline(summary(run(quiet, accuracy=[])))

    assert "CPU steal (this system does not tell)" in texts(chart)
    assert chart.table is not None
    assert chart.table.columns == ("", "kind", "round", "start", "job")


@pytest.mark.parametrize(("labels", "rows"), [(["a"], 1), (["a", "b", "c"], 1), (["a" * 30] * 4, 2), (["a" * 90], 1)])
def test_a_legend_takes_as_many_rows_as_it_needs(labels: list[str], rows: int) -> None:
    assert count_legend_rows(labels, 480) == rows
