"""A run beside the earlier ones: only like runs, the gate's limit, and what it says, on the page and in Markdown."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.analysis.judgement import Finding, Judgement, Metric
from fixtures.analysis.measurement import Run
from fixtures.analysis.summary import Summary, summarise
from fixtures.analysis.verdict import Outcome
from fixtures.history.entry import Commit, Entry
from fixtures.history.gate import REFERENCE, judge, level
from fixtures.history.regression import RunHistory, with_history
from fixtures.history.store import History, HistoryView, read_commit, series
from fixtures.report.__main__ import main
from fixtures.report.history_chart import draw_history
from fixtures.report.history_table import describe_history, tabulate_history
from fixtures.report.markdown import make_markdown
from fixtures.report.sentences import make_headline
from tests.unit.samples import SPEEDUP, entry, equal_samples, sample
from tests.unit.trials import SETTINGS, SPREAD, run, slowed, timing_round

FAST = [timing_round(number, 10.0, 5.5 + number / 100, 10.4) for number in range(1, 7)]
ASKED = replace(SETTINGS, regression=True)
DROP = Finding(SPEEDUP, "drop", "The speedup of 2 workers is 9.0% below its reference.", -0.09, "bad42", "good41")


def summary_of(measured: Run = run(*FAST, settings=ASKED)) -> Summary:  # noqa: B008 - a value that nobody changes
    return summarise(measured, SPREAD)


def chronicle(entries: Sequence[Entry], levels: bool = False) -> HistoryView:
    """What a history of these entries says beside the last of them."""
    samples = [each.sample for each in entries]
    asked = samples[-1].measures if levels else ()
    found = {metric: each for metric in asked if (each := level(samples[:-1], samples[-1], metric))}
    return HistoryView(tuple(series(entries, entries[-1].like)), 3, 0, str(entries[-1].machine), found)


def test_the_runs_are_drawn_with_their_intervals_and_this_one_is_marked() -> None:
    chart = draw_history(chronicle([entry(number) for number in range(1, 6)]))

    assert chart.svg.count('class="data-here"') == 3
    assert "This run: 2 workers: 1.60x." in chart.svg
    assert ">05c0ffe<" in chart.svg  # the axis names this run, whichever others it leaves out


def test_all_that_the_gate_compares_is_drawn_and_the_table_has_its_figures_the_latest_first() -> None:
    chart = draw_history(chronicle([entry(number) for number in range(1, 6)]))

    for panel in ("Speedup of the training loop", "Training time of the baseline / calibration", "Job overhead of 2"):
        assert panel in chart.svg
    assert chart.table is not None
    assert len(chart.table.rows) == 5
    date, *others = chart.table.rows[0]
    assert date.split() == ["2026-12-05", "02:00"]
    assert others == ["05c0ffeec0ff", "PASS", "1.60x (1.50 to 1.70)", "40.00", "10.00", ""]


def test_a_regression_is_crossed_out_and_a_change_of_versions_is_a_line_through_all_panels() -> None:
    entries = [replace(entry(n), versions={"ray": "2.60.0" if n < 4 else "2.61.0"}) for n in range(1, 6)]
    entries[2] = replace(entries[2], compared=(replace(entries[2].compared[0], outcome="REGRESSION"),))

    chart = draw_history(chronicle(entries))

    assert chart.svg.count('class="data-regression"') == 1
    assert chart.svg.count('class="data-versions"') == 3
    assert ">versions changed<" in chart.svg
    assert "data-regression" not in draw_history(chronicle([entry(1), entry(2)])).svg


def test_a_run_with_an_injected_slowdown_is_named_in_the_plots_words_and_in_its_table() -> None:
    chart = draw_history(chronicle([entry(1), entry(2, injected_slowdown=0.15)]))

    assert "This run had an injected slowdown of 15.0% and is not in the history." in chart.text
    assert chart.table is not None
    assert chart.table.rows[0][2] == "PASS, injected slowdown of 15.0%"
    assert "injected" not in "".join(chart.table.rows[1])


def test_one_process_on_all_cores_has_a_column_and_a_panel_where_a_run_measured_it() -> None:
    entries = [entry(number) for number in (1, 2, 3)]
    measured = replace(entries[2].compared[0], against_all_cores=0.98, against_all_cores_interval=(0.95, 1.01))
    chart = draw_history(chronicle([*entries[:2], replace(entries[2], compared=(measured,))]))

    assert chart.table is not None
    column = chart.table.columns.index("2 workers over 1 process, all cores, 95 %")
    assert [row[column] for row in chart.table.rows] == ["0.98x (0.95 to 1.01)", "", ""]
    assert ">Speedup over 1 process on all cores<" in chart.svg
    assert chart.svg.count('class="data-here"') == 4
    assert "all cores" not in draw_history(chronicle(entries)).svg


def test_no_interval_is_named_where_no_run_has_one() -> None:
    entries = [entry(number) for number in (1, 2, 3)]
    chart = draw_history(
        chronicle([replace(each, compared=(replace(each.compared[0], interval=None),)) for each in entries])
    )

    assert "95 %" not in chart.svg
    assert chart.table is not None
    assert chart.table.columns[3] == "speedup of 2 workers"


def test_the_limit_of_the_gate_is_drawn_where_it_was_asked() -> None:
    entries = [entry(number) for number in range(1, REFERENCE + 2)]

    assert draw_history(chronicle(entries, levels=True)).svg.count('class="data-limit"') == 3
    assert 'class="data-limit"' not in draw_history(chronicle(entries)).svg


def test_the_limit_is_where_the_gate_raises_its_alarm() -> None:
    past, current = equal_samples(), sample(20, 1.6)
    found = level(past, current, SPEEDUP)

    assert found is not None
    assert found.reference == pytest.approx(1.6, rel=0.001)
    assert judge(past, sample(20, found.limit * 0.999, rerun=found.limit * 0.999)).alarms != ()
    assert judge(past, sample(20, found.limit * 1.001, rerun=found.limit * 1.001)).alarms == ()
    assert level(past[1:], current, SPEEDUP) is None
    assert level(past, current, Metric("speedup", 4)) is None


def test_where_nothing_compares_that_is_said_and_nothing_drawn() -> None:
    alone = chronicle([entry(1)])

    assert draw_history(alone).svg == ""
    assert (
        draw_history(alone).text
        == "No earlier run compares with this one. The history has 3 of other machines or settings."
    )
    assert describe_history(alone, None, asked=False)[0].startswith(
        "0 earlier runs of the same machine and settings: AMD EPYC"
    )


def test_a_version_that_changed_stands_beside_the_run_that_had_it_first() -> None:
    entries = [replace(entry(n), versions={"ray": "2.60.0" if n < 3 else "2.61.0"}) for n in (1, 2, 3, 4)]

    assert [row[-1] for row in tabulate_history(chronicle(entries)).rows] == ["", "ray 2.61.0", "", ""]


def test_what_the_gate_found_is_said_beside_the_plot_and_why_it_found_nothing() -> None:
    view, note = chronicle([entry(1), entry(2)]), "No comparable history yet: 3 of 12 nights."

    assert describe_history(view, Judgement(1, (DROP,), (note,)), asked=True)[-2:] == [DROP.why, note]
    assert describe_history(view, None, asked=False)[-1] == "The regression gate was not asked: --regression does."
    cut_off = describe_history(view, None, asked=True)[-1]
    assert cut_off == "The regression gate judges whole runs, and this one did not come to its end."


def test_a_figure_that_never_changes_is_drawn_on_an_axis_that_can_be_read() -> None:
    svg = draw_history(chronicle([entry(number) for number in range(1, 4)])).svg

    assert ">1e" not in svg
    assert {">40<", ">10.0<"} <= {f">{each}<" for each in re.findall(r">([\d.]+)<", svg)}


def test_a_verdict_that_earlier_runs_decided_opens_the_page_with_the_commits() -> None:
    judged = with_history(summary_of(), Judgement(12, (DROP,), ()))
    found = make_headline(judged)

    assert found.outcome is Outcome.REGRESSION
    assert found.sentence.endswith("REGRESSION against earlier runs.")
    assert found.why.startswith(DROP.why)
    assert found.next[0].startswith("First bad is bad42, last good good41: look at what changed")
    assert "python -m fixtures.history accept" in found.next[1]


def test_a_slowdown_that_was_asked_for_and_found_asks_nobody_to_mend_anything() -> None:
    asked = slowed(run(*FAST, settings=replace(ASKED, inject_slowdown=0.15)), 0.15)
    found = make_headline(with_history(summary_of(asked), Judgement(12, (DROP,), ())))

    assert found.outcome is Outcome.REGRESSION
    assert found.altered.startswith("INJECTED SLOWDOWN OF 15.0%")
    assert found.next == ("The injected slowdown was detected, as intended; nothing to fix.",)


def test_a_suspicion_that_no_rerun_confirmed_asks_for_another_run() -> None:
    found = make_headline(with_history(summary_of(), Judgement(12, (replace(DROP, kind="suspected"),), ())))

    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.next == (
        "A drop against earlier runs was not confirmed: run it again with --regression, on a quiet machine.",
    )


def test_a_verdict_that_the_run_earned_by_itself_is_told_as_before() -> None:
    slow = run(*(timing_round(n, 10.0, 8.0 + n / 100, 10.4) for n in (1, 2, 3)), settings=ASKED)
    found = make_headline(with_history(summary_of(slow), Judgement(12, (DROP,), ())))

    assert found.sentence.endswith("REGRESSION at 1.50x.")


def test_a_run_is_shown_beside_those_before_it_and_not_beside_itself(tmp_path: Path) -> None:
    history = History(tmp_path)
    summary = summary_of()
    past = RunHistory(history, read_commit(tmp_path), asked=False)
    history.add(entry(1), {})
    past.keep(summary, {})

    found = past.chronicle(summary)

    assert found is not None
    assert (len(found.rows), found.others) == (1, 0)
    assert found.rows[0].commit == "unversioned"
    assert past.chronicle(summary_of(run(accuracy=[]))) is None


def test_the_reports_that_are_made_again_know_the_history_and_the_commit_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fixtures.report.__main__.Spread.load", lambda: SPREAD)
    summary = summary_of()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "measurements.json").write_text(summary.run.to_json())
    History(tmp_path / "history").add(Entry.of(summary, Commit("feed1234beef5678"), "1"), {})

    assert main([str(tmp_path)]) == 0

    capsys.readouterr()
    made = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="history-section"' in made
    assert "No earlier run compares with this one." in made
    assert "No comparable history yet: 0 of 12 nights" in made
    assert "feed1234beef" in (tmp_path / "summary.md").read_text(encoding="utf-8")


def test_the_markdown_has_the_latest_runs_folded() -> None:
    made = make_markdown(summary_of(), chronicle([entry(number) for number in range(1, 20)]))

    assert "<details><summary>History</summary>" in made
    assert "19c0ffeec0ff" in made
    assert "09c0ffeec0ff" not in made
    assert "History" not in make_markdown(summary_of())
