"""Reports of real nights: what the gate said of them, and the pages, Markdown and summaries as wholes."""

from pathlib import Path

import pytest

from fixtures.analysis.measurement import Run
from fixtures.analysis.scaling import Scaling
from fixtures.analysis.spread import Spread
from fixtures.analysis.summary import Summary, summarise
from fixtures.analysis.verdict import Outcome
from fixtures.history.regression import FOLDER, RunHistory
from fixtures.history.store import History
from fixtures.report.__main__ import main
from tests.report.golden import assert_golden, structure
from tests.unit.recorded import put_recorded

Say = pytest.CaptureFixture[str]


def judged(reports: Path) -> Summary:
    """A night beside the history that its folder has."""
    run = Run.from_json((reports / "results" / "measurements.json").read_text(encoding="utf-8"))
    made = summarise(run, Spread.load(), Scaling.load().host)
    return RunHistory(History(reports / FOLDER), None, asked=True).judged(made)


def test_a_run_like_the_twelve_before_raises_no_alarm(tmp_path: Path) -> None:
    sample = judged(put_recorded(tmp_path, "equal"))

    assert sample.judgement is not None
    assert sample.judgement.comparable == 12
    assert sample.judgement.alarms == ()
    assert sample.verdict.outcome is Outcome.PASS


def test_a_run_whose_workers_were_delayed_is_a_regression_and_says_that_they_were(tmp_path: Path) -> None:
    sample = judged(put_recorded(tmp_path, "slowed"))

    assert sample.judgement is not None
    assert ("speedup", "drop") in {(each.metric.name, each.kind) for each in sample.judgement.findings}
    assert sample.verdict.outcome is Outcome.REGRESSION
    assert sample.settings.inject_slowdown == 0.15
    assert sample.run.rerun_from is not None, "it was seen again in a rerun of the same night"


def test_the_page_and_the_markdown_of_a_run_with_its_history(tmp_path: Path, capsys: Say) -> None:
    reports = put_recorded(tmp_path, "slowed")

    assert main([str(reports)]) == 0

    assert "REGRESSION" in capsys.readouterr().out
    made = structure((reports / "report.html").read_text(encoding="utf-8"))
    assert_golden("history.html", made[made.index('<section id="history-section"') :])
    assert_golden("history.md", (reports / "summary.md").read_text(encoding="utf-8"))


def test_the_page_and_the_markdown_of_a_comparison(tmp_path: Path, capsys: Say) -> None:
    runs = [str(put_recorded(tmp_path / name, name)) for name in ("equal", "slowed")]

    assert main(["compare", *runs, "--output", str(tmp_path)]) == 1

    assert "REGRESSION" in capsys.readouterr().out
    assert_golden("compare.html", structure((tmp_path / "compare.html").read_text(encoding="utf-8")))
    assert_golden("compare.md", (tmp_path / "compare.md").read_text(encoding="utf-8"))
