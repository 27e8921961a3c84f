"""The time series in the report: drawn from the measurements alone, and absent where nobody watched."""

from dataclasses import replace

from fixtures.analysis.measurement import Run, TrialSeries
from fixtures.analysis.summary import Summary, summarise
from fixtures.report.page import Material, make_page
from fixtures.report.timeline import MOST_ROWS, draw_series
from tests.unit.trials import SCALING, SPREAD, run, timing_round

QUIET_RUN = run(*(timing_round(n, 10.0, 5.5 + n / 50, 10.4) for n in range(1, 4)))
ZERO = QUIET_RUN.measurements[0].submitted_at
SERIES = (
    TrialSeries(1, "baseline", "images_per_second", "rank 0", ((ZERO + 5, 5000.0), (ZERO + 10, 5200.0))),
    TrialSeries(1, "2 workers", "images_per_second", "rank 0", ((ZERO + 25, 4400.0),)),
    TrialSeries(1, "2 workers", "images_per_second", "rank 1", ((ZERO + 25, 4300.0),)),
    TrialSeries(1, "2 workers", "all_reduce_share", "rank 1", ((ZERO + 25, 0.25),)),
    TrialSeries(1, "2 workers", "pod_cpus", "e2e-head-x", ((ZERO + 25, 0.4),)),
    TrialSeries(1, "2 workers", "throttled", "rank 0", ()),
)
WATCHED = replace(QUIET_RUN, series=SERIES)


def summary(measured: Run) -> Summary:
    return summarise(measured, SPREAD, SCALING)


def test_a_run_that_nobody_watched_has_no_section() -> None:
    assert "series-section" not in make_page(Material(summary(QUIET_RUN)))
    assert draw_series(summary(QUIET_RUN)).svg == ""


def test_every_figure_with_points_has_a_panel_and_those_without_none() -> None:
    made = make_page(Material(summary(WATCHED)))
    chart = draw_series(summary(WATCHED))

    assert 'id="series-section"' in made
    for name in ("data-images_per_second", "data-all_reduce_share", "data-pod_cpus"):
        assert f'class="{name}"' in chart.svg
    assert "data-throttled" not in chart.svg
    assert {"Samples/s", "Share of all-reduce"} <= set(chart.svg.replace("<", ">").split(">"))


def test_the_table_has_the_mean_of_each_series_and_an_empty_cell_for_a_figure_that_there_is_not() -> None:
    table = draw_series(summary(WATCHED)).table

    assert table is not None
    assert table.columns == ("", "round", "samples/s", "share of all-reduce", "CPUs busy, by pod")
    assert table.rows[0] == ("baseline, rank 0", "1", "5,100", "", "")
    assert table.rows[2] == ("2 workers, rank 1", "1", "4,300", "25.0%", "")


def test_the_snapshot_is_part_of_the_measurements_and_comes_back_from_them() -> None:
    assert Run.from_json(WATCHED.to_json()) == WATCHED


def test_measurements_of_before_there_was_monitoring_have_no_series() -> None:
    text = QUIET_RUN.to_json().replace(',\n "series": []', "")

    assert '"series"' not in text
    assert Run.from_json(text).series == ()


def test_the_table_of_a_long_run_says_what_it_leaves_out() -> None:
    long = tuple(TrialSeries(n, "baseline", "loss", "rank 0", ((ZERO + n, 1.0),)) for n in range(MOST_ROWS + 10))
    table = draw_series(summary(replace(QUIET_RUN, series=long))).table

    assert table is not None
    assert len(table.rows) == MOST_ROWS
    assert f"the first {MOST_ROWS} of {MOST_ROWS + 10} rows" in table.caption
