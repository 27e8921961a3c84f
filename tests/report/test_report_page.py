"""The reports of recorded and made-up runs, as wholes; and the files in which they lie."""

import re
from pathlib import Path

import pytest

from fixtures.analysis.measurement import Failure
from fixtures.analysis.spread import Spread
from fixtures.analysis.summary import Summary, summarise
from fixtures.errors import MissingResultError
from fixtures.report.frame import CHARACTERS, LINES, frame, make_evidence_row, mark, replace_marked
from fixtures.report.markdown import make_markdown
from fixtures.report.page import Material, make_page
from fixtures.report.results import find_measurements, list_files_beside
from fixtures.report.terminal import comparison_block
from fixtures.report.write import write_reports
from tests.report.golden import assert_golden, structure
from tests.unit.recorded import recorded, recorded_text
from tests.unit.trials import SCALING, SPREAD, run, timing_round

BOTH = [
    (*timing_round(n, 10.0, 5.5 + n / 100, 10.4), *timing_round(n, 10.0, 3.0 + n / 100, 11.2, workers=4)[1:])
    for n in (1, 2, 3, 4)
]
POLLUTED = {"2": "baseline: other programs kept 0.60 cores busy (limit 0.25)"}


@pytest.fixture(scope="module")
def passed() -> Summary:
    return summarise(run(*BOTH, counts=(2, 4), polluted=POLLUTED), SPREAD, SCALING)


@pytest.fixture(scope="module")
def passed_page(passed: Summary) -> str:
    return make_page(Material(passed, SCALING, ("results/measurements.json", "evidence/raylet.out"), tests=True))


@pytest.fixture(scope="module")
def real() -> Summary:
    return summarise(recorded(), Spread.load(), SCALING)


def test_the_reports_of_a_run_that_passed(passed: Summary, passed_page: str) -> None:
    assert_golden("passed.md", make_markdown(passed))
    assert_golden("passed.html", structure(passed_page))
    assert_golden("passed.txt", comparison_block(passed, seconds=161.0))
    assert_golden("passed-verbose.txt", comparison_block(passed, seconds=161.0, verbose=True))


def test_the_reports_of_a_recorded_run(real: Summary) -> None:
    assert_golden("recorded.md", make_markdown(real))
    assert_golden("recorded.html", structure(make_page(Material(real, SCALING))))
    assert_golden("recorded.txt", comparison_block(real))


def test_what_a_run_says_cannot_break_the_page() -> None:
    failed = run(accuracy=[], failures=(Failure("run", "Infra", "<script>alert(1)</script> & more", ""),))
    summary = summarise(failed, SPREAD)

    assert "<script>" not in make_page(Material(summary))
    assert "<script>" not in make_markdown(summary)


def test_the_page_needs_nothing_from_the_network_and_no_script(passed_page: str) -> None:
    made = frame(passed_page, "")

    assert re.findall(r"(?:src|href)=\"(?:https?:)?//[^\"]+", made) == []
    assert "<script" not in made
    assert "url(http" not in made


def test_our_part_is_made_anew_in_a_page_of_the_same_measurements_and_in_no_other() -> None:
    kept = f"<table>{mark('old', 'measurements')}</table>"

    assert replace_marked(kept, "new", "measurements") == f"<table>{mark('new', 'measurements')}</table>"
    assert replace_marked(kept, "new", "of another run") is None
    assert replace_marked("<table></table>", "new", "measurements") is None


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of where a page lies, not of what it shows."""
    monkeypatch.setattr(
        "fixtures.report.write.make_page", lambda material: f"[{material.summary.verdict.outcome.name}]"
    )


@pytest.mark.usefixtures("undrawn")
def test_every_report_is_made_again_from_the_json_alone(tmp_path: Path, passed: Summary) -> None:
    made = {str(file.relative_to(tmp_path)) for file in write_reports("{}", passed, SCALING, tmp_path)}

    assert made == {
        "report.html",
        "summary.md",
        "results/comparison.json",
        "results/baseline_results.json",
        "results/ray_results_2workers.json",
        "results/ray_results_4workers.json",
    }
    assert "made from the measurements alone" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not list(tmp_path.rglob(".writing*"))


@pytest.mark.usefixtures("undrawn")
def test_pytests_table_of_tests_stays_when_its_run_is_made_again(tmp_path: Path, real: Summary) -> None:
    page_of_pytest = f"<html>{mark('old', recorded_text())}<table>tests</table></html>"
    (tmp_path / "report.html").write_text(page_of_pytest, encoding="utf-8")

    list(write_reports(recorded_text(), real, SCALING, tmp_path))

    made = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<table>tests</table></html>" in made
    assert "INCONCLUSIVE" in made


def test_measurements_are_found_in_a_folder_of_reports_or_named_themselves(tmp_path: Path) -> None:
    file = tmp_path / "results" / "measurements.json"
    file.parent.mkdir()
    file.write_text("{}")

    assert find_measurements(tmp_path) == find_measurements(file) == find_measurements(file.parent) == file
    with pytest.raises(MissingResultError, match=r"elsewhere: no measurements\.json there"):
        find_measurements(tmp_path / "elsewhere")


def test_only_files_that_exist_are_linked(tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "files.txt").write_text("raylet.out\nhead.out")
    (tmp_path / "junit.xml").write_text("<x/>")

    assert list_files_beside(tmp_path) == ("junit.xml", "evidence/raylet.out", "evidence/head.out")


def test_a_failing_row_shows_the_cause_the_rounds_and_the_ends_of_the_logs(passed: Summary) -> None:
    log = "\n".join(f"line {number}" for number in range(1000))

    row = make_evidence_row("Failed: <slow>", passed, passed.of(2), {"raylet.out": log})

    assert "Failed: &lt;slow&gt;" in row
    assert row.count("<tr>") == 1 + 4
    assert POLLUTED["2"] in row
    assert "line 999" in row
    assert "line 950" not in row
    assert row.count("line ") == LINES
    assert '<a href="evidence/raylet.out">raylet.out</a>' in row


def test_a_row_is_never_longer_than_a_page_can_carry() -> None:
    row = make_evidence_row("Infra: gone", None, None, {f"{n}.out": "x" * 200_000 for n in range(30)})

    assert len(row) < 9 * CHARACTERS
    assert row.count("<pre") == 8


def test_logs_that_another_row_shows_are_not_repeated() -> None:
    row = make_evidence_row("Infra: gone", None, None, {"raylet.out": "died"}, shown_in="test_first")

    assert "The logs are in the row of test_first." in row
    assert "died" not in row
