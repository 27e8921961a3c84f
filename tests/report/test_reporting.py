"""What a run leaves: the exit code of its verdict, and files that are whole or not there."""

import html
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.analysis.measurement import Failure, Run
from fixtures.analysis.verdict import Outcome
from fixtures.plugin.reporting import BenchmarkWarning, TrialClock
from fixtures.report.page import SECTIONS
from tests.unit.trials import SETTINGS, measurement, run, slowed, spec, timing_round

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("undrawn")

E2E = Path(__file__).parents[1] / "e2e" / "test_e2e.py"
CONFTEST = """
import pathlib
import pytest
from fixtures.analysis.measurement import Run
from fixtures.plugin.suite import SUMMARY
from fixtures.analysis.summary import summarise
from tests.unit.trials import SPREAD

pytest_plugins = ["fixtures.plugin.options", "fixtures.plugin.reporting"]

@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info():
    return {}  # asking for the CPU's name starts a process, and what it says is not tested

RUN = Run.from_json(pathlib.Path(__file__).with_name("run.json").read_text())

def pytest_generate_tests(metafunc):
    if "workers" in metafunc.fixturenames:
        metafunc.parametrize("workers", RUN.counts, scope="session")

@pytest.fixture(scope="session")
def summary(pytestconfig):
    summary = pytestconfig.stash[SUMMARY] = summarise(RUN, SPREAD)
    return summary
"""
NO_START = CONFTEST.replace(
    "    summary = pytestconfig.stash[SUMMARY] = summarise(RUN, SPREAD)\n    return summary\n",
    """
    from fixtures.errors import InfraError
    from fixtures.clusters.evidence import write_evidence
    from fixtures.plugin.staging import evidence_of
    try:
        raise InfraError("The node timed out during startup: <raylet>.", "Its logs are in the evidence.")
    finally:
        write_evidence({"raylet.out": "first line\\nraylet & died"}, evidence_of(pytestconfig))
""",
)
"""A cluster that does not come up: each test is in error, and nothing is measured."""
FAST = [timing_round(number, 10.0, 5.5 + number / 100, 10.4) for number in (1, 2, 3)]
SLOW = [timing_round(number, 10.0, 8.0 + number / 100, 10.4) for number in (1, 2, 3)]
WILD = [timing_round(number, 10.0, 5.0 + number, 10.4) for number in (1, 2, 3)]
LOST = run(accuracy=[], failures=(Failure("run", "Infra", "Node worker-2 is gone.", "See the evidence."),))
NO_ACCURACY = run(accuracy=[measurement(spec(0))])
BASELINE = run(counts=(), accuracy=[measurement(spec(0), seconds=30.0)])
DRAWN = SECTIONS
SLOWED = slowed(run(*FAST, settings=replace(SETTINGS, inject_slowdown=0.15)), 0.15)
FILES = {
    "report.html",
    "summary.md",
    "junit.xml",
    "benchmark.json",
    "results/measurements.json",
    "results/baseline_results.json",
    "results/ray_results_2workers.json",
    "results/comparison.json",
    "history/0001_unversioned_19700101_001716.json",
}
UNUSED = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")  # the latter is a second of imports each time
HISTORY = {name for name in FILES if name.startswith("history/")}


def write_tests(pytester: pytest.Pytester, measured: Run, conftest: str) -> None:
    """Write the real end-to-end tests on measurements that were made up."""
    pytester.makeini("[pytest]\nmarkers =\n    e2e: replayed\n")
    pytester.makeconftest(conftest)
    pytester.makepyfile(test_e2e=E2E.read_text())
    (pytester.path / "run.json").write_text(measured.to_json())


def replay(pytester: pytest.Pytester, measured: Run, *options: str, conftest: str = CONFTEST) -> pytest.RunResult:
    """Run them."""
    write_tests(pytester, measured, conftest)
    return pytester.runpytest_inprocess("-m", "e2e", "--reports=out", *UNUSED, *options)


def left(pytester: pytest.Pytester) -> set[str]:
    out = pytester.path / "out"
    return {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file() and file.name != ".lock"}


@pytest.mark.parametrize(
    ("measured", "code", "strict"),
    [
        pytest.param(run(*FAST), 0, 0, id="PASS"),
        pytest.param(run(*SLOW), 1, 1, id="REGRESSION"),
        pytest.param(NO_ACCURACY, 1, 1, id="missing accuracy trial"),
        pytest.param(LOST, 11, 11, id="INFRA"),
        pytest.param(BASELINE, 0, 0, id="baseline alone"),
        pytest.param(run(*WILD), 0, 10, id="INCONCLUSIVE"),
        pytest.param(run(usable_cores=1), 0, 10, id="no count applicable"),
    ],
)
def test_the_exit_code_is_that_of_the_verdict(pytester: pytest.Pytester, measured: Run, code: int, strict: int) -> None:
    assert replay(pytester, measured).ret == code
    if strict != code:
        assert replay(pytester, measured, "--strict-verdict").ret == strict


def test_a_verdict_that_is_neither_good_nor_bad_is_a_visible_warning(pytester: pytest.Pytester) -> None:
    shown = replay(pytester, run(*WILD))

    assert shown.parseoutcomes()["passed"] == 2
    shown.stdout.fnmatch_lines([f"*{BenchmarkWarning.__name__}: INCONCLUSIVE: 2 workers are *x as fast*"])


@pytest.mark.parametrize(
    ("measured", "line"),
    [
        (run(*SLOW), "REGRESSION: 2 workers are *x as fast as the baseline *: below the 1.50x asked for."),
        (LOST, "INFRA: Node worker-2 is gone. See the evidence."),
    ],
    ids=["regression", "lost cluster"],
)
def test_a_failure_is_its_cause_and_remedy_and_no_traceback(
    pytester: pytest.Pytester, measured: Run, line: str
) -> None:
    shown = replay(pytester, measured)

    assert shown.parseoutcomes()["failed"] >= 1
    shown.stdout.fnmatch_lines([line])
    shown.stdout.no_fnmatch_line("*def judge*")


def test_a_run_leaves_its_comparison_on_the_screen_and_every_file_whole(pytester: pytest.Pytester) -> None:
    measured = run(*FAST)
    shown = replay(pytester, measured)

    shown.stdout.fnmatch_lines(
        [
            "Name (time in s) * Median * Rounds*",
            "Median: training seconds of a round, in brackets as a multiple of the least; Rounds: how many were timed.",
            "PASS baseline against Ray Train*",
            "speedup, rounds of 1 epoch*",
            "11 trials, 190 s: training 124 s, finish 22 s, submit 11 s, *",
            "reports: *",
        ]
    )
    shown.stdout.no_fnmatch_line("*Outliers*")
    assert left(pytester) == FILES
    out = pytester.path / "out"
    assert not list(out.glob(".partial*"))
    assert Run.from_json((out / "results" / "measurements.json").read_text()) == measured
    benchmarks = json.loads((out / "benchmark.json").read_text())["benchmarks"]
    times = {each["extra_info"]["workers"]: each["stats"]["data"] for each in benchmarks}
    assert times == {0: pytest.approx([10.0] * 3), 2: pytest.approx([5.51, 5.52, 5.53])}
    properties = {each.get("name"): each.get("value") for each in ET.parse(out / "junit.xml").iter("property")}
    assert properties["verdict"] == Outcome.PASS.value
    assert float(properties["speedup"] or 0) == pytest.approx(1.8116, abs=1e-3)
    assert float(properties["accuracy"] or 0) == 0.986


def test_a_run_of_the_baseline_alone_is_a_run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.report.page.SECTIONS", DRAWN)

    shown = replay(pytester, BASELINE, "-k", "baseline")

    shown.stdout.fnmatch_lines(
        [
            "PASS baseline alone*",
            "The baseline alone was selected, so there is no speedup. PASS.",
            "2 epochs took 30.0 s and reached a test accuracy of 0.9860.",
            "training time* 30.0 s",
            "reports: *",
        ]
    )
    assert left(pytester) == FILES - {"results/ray_results_2workers.json", "benchmark.json"} - HISTORY
    comparison = json.loads((pytester.path / "out" / "results" / "comparison.json").read_text())
    assert (comparison["ray_distributed"], comparison["comparison"]) == ([], [])
    assert comparison["verdict"]["outcome"] == "PASS"
    assert "the baseline alone" in (pytester.path / "out" / "report.html").read_text()


def test_a_run_with_an_injected_slowdown_says_so_everywhere_and_is_not_kept_in_the_history(
    pytester: pytest.Pytester,
) -> None:
    shown = replay(pytester, SLOWED)

    shown.stdout.fnmatch_lines(["*INJECTED SLOWDOWN OF 15.0%*", "*not in the history*"])
    out = pytester.path / "out"
    for name in ("report.html", "summary.md"):
        assert "INJECTED SLOWDOWN OF 15.0%: each step of the workers was delayed" in (out / name).read_text()
    assert 'name="injected_slowdown" value="0.15"' in (out / "junit.xml").read_text()
    comparison = json.loads((out / "results/comparison.json").read_text())
    assert comparison["injected_slowdown"] == comparison["ray_distributed"]["injected_slowdown"] == 0.15
    assert comparison["baseline"]["injected_slowdown"] == 0
    assert comparison["comparison"]["why"].startswith("WITH INJECTED SLOWDOWN OF 15.0%: ")
    assert not (out / "history").exists()


def test_a_run_that_failed_leaves_the_files_it_has_the_figures_for(pytester: pytest.Pytester) -> None:
    replay(pytester, LOST)

    assert {"report.html", "junit.xml", "results/measurements.json"} <= left(pytester)
    assert not left(pytester) & {"results/baseline_results.json", "results/comparison.json"}


def rows(pytester: pytest.Pytester) -> dict[str, dict[str, Any]]:
    """The rows of pytest-html's table of tests, by test."""
    found = re.search(r'data-jsonblob="([^"]*)"', (pytester.path / "out" / "report.html").read_text())
    assert found is not None
    tests = json.loads(html.unescape(found[1]))["tests"]
    return {name.rpartition("::")[2]: each[-1] for name, each in tests.items()}


def shown(row: dict[str, Any]) -> str:
    return "".join(extra["content"] for extra in row["extras"])


def test_the_page_opens_with_the_verdict_and_ends_with_pytests_own_tables(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixtures.report.page.SECTIONS", DRAWN)
    replay(pytester, run(*FAST))

    made = (pytester.path / "out" / "report.html").read_text()
    order = [
        "<h1",
        "2 Ray workers train 1.81x",
        "<svg",
        'href="results/comparison.json"',
        '<h2 id="tests">',
        ">Environment<",
    ]
    places = [made.index(each) for each in order]
    assert places == sorted(places)
    assert 'name="viewport"' in made


def test_a_failing_test_shows_its_evidence_in_its_own_row_and_a_passing_one_none(pytester: pytest.Pytester) -> None:
    replay(pytester, run(*SLOW))

    found = rows(pytester)
    assert "below the 1.50x asked for" in shown(found["test_workers_do_the_same_work_faster[2]"])
    assert "8.03 s" in shown(found["test_workers_do_the_same_work_faster[2]"])
    assert shown(found["test_baseline_reaches_the_accuracy"]) == ""


def test_a_cluster_that_does_not_start_shows_its_logs_in_a_row_and_its_cause_above(pytester: pytest.Pytester) -> None:
    screen = replay(pytester, LOST, conftest=NO_START)

    assert screen.ret == 11
    screen.stdout.fnmatch_lines(["evidence: out/evidence/, raylet.out first"])
    first, second = rows(pytester).values()
    page = (pytester.path / "out" / "report.html").read_text()
    assert "raylet &amp; died" in shown(first)
    assert '<a href="evidence/raylet.out">' in shown(first)
    assert "The logs are in the row of" in shown(second)
    assert "The run ended before its first measurement. INFRA." in page
    assert "timed out during startup: &lt;raylet&gt;" in page
    assert "timed out during startup" in (pytester.path / "out" / "summary.md").read_text()


def test_a_page_that_cannot_be_made_costs_neither_verdict_nor_measurements(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> str:
        raise ValueError("no font")

    monkeypatch.setattr("fixtures.report.page.make_page", fail)

    assert replay(pytester, run(*FAST)).ret == 0
    assert left(pytester) == FILES
    assert "could not be made: ValueError(&#x27;no font&#x27;)" in (pytester.path / "out" / "report.html").read_text()


def test_a_module_that_cannot_be_imported_has_its_row(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_broken="import no_such_module")

    assert replay(pytester, run(*FAST)).ret == pytest.ExitCode.INTERRUPTED
    assert any("no_such_module" in row["log"] for row in rows(pytester).values())


def test_a_commit_that_is_made_during_a_run_is_not_the_measured_one(pytester: pytest.Pytester) -> None:
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
    commit = [*git, "commit", "--quiet", "--allow-empty", "--message=x"]
    pytester.run("git", "init", "--quiet")
    pytester.run(*commit)
    measured = pytester.run("git", "rev-parse", "HEAD").outlines[0]
    makes_one = f"    import subprocess; subprocess.run({commit!r}, check=True)\n    summary = pytestconfig"

    replay(pytester, run(*FAST), conftest=CONFTEST.replace("    summary = pytestconfig", makes_one))

    (entry,) = (pytester.path / "out" / "history").glob("*.json")
    assert measured[:12] in entry.name
    assert pytester.run("git", "rev-parse", "HEAD").outlines[0] != measured


def test_a_run_in_a_checkout_that_git_refuses_says_so(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.run("git", "init", "--quiet")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")

    shown = replay(pytester, run(*FAST))

    shown.stdout.fnmatch_lines(["WARNING: git does not tell which commit this is, *dubious ownership*"])


@pytest.mark.parametrize("ini", ["", "reports = file/below"], ids=["default", "ini file"])
def test_a_reports_folder_that_is_refused_is_said_to_be_whose(pytester: pytest.Pytester, ini: str) -> None:
    pytester.makeini(f"[pytest]\n{ini}\n")
    pytester.makeconftest(CONFTEST)
    (pytester.path / "run.json").write_text(run(*FAST).to_json())
    (pytester.path / ("file" if ini else "reports")).write_text("")

    shown = pytester.runpytest_inprocess(*UNUSED)

    name, source = ("reports", "(ini file)") if ini else ("--reports", "(default)")
    shown.stderr.fnmatch_lines(
        [f"ERROR: {name}='{str(pytester.path)[:70]}*' {source}: expected a folder, * is no folder."]
    )


@pytest.mark.parametrize("expression", ["not e2e", "not (e2e or ray)", "e2e and ("])
def test_a_run_without_e2e_leaves_nothing(pytester: pytest.Pytester, expression: str) -> None:
    replay(pytester, run(*FAST), "-m", expression)

    assert not (pytester.path / "out").exists()


@pytest.mark.parametrize("expression", ["not ray", "e2e or ray", ""])
def test_a_run_measures_whatever_expression_selects_its_e2e_tests(pytester: pytest.Pytester, expression: str) -> None:
    replay(pytester, run(*FAST), "-m", expression).stdout.fnmatch_lines(["ray-train-e2e: cluster=local *"])

    assert left(pytester) == FILES


def test_a_run_of_other_tests_leaves_nothing_whatever_the_expression(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_other="def test_other(): pass")

    shown = replay(pytester, run(*FAST), "--workers=4", "--quick", "-m", "not ray", "test_other.py")

    assert shown.parseoutcomes() == {"passed": 1}
    shown.stdout.no_fnmatch_line("ray-train-e2e: *")
    shown.stdout.fnmatch_lines(["WARNING: these tests do not read --workers, --reports, --quick: `pytest -m e2e` does"])
    assert not (pytester.path / "out").exists()


def test_reports_that_are_asked_for_elsewhere_are_written_there(pytester: pytest.Pytester) -> None:
    shown = replay(pytester, run(*FAST), "--html=own.html", "--junitxml=own.xml", "--benchmark-json=own.json")

    shown.stdout.fnmatch_lines(["reports: own.html, out/summary.md, results/comparison.json, history/*"])
    assert all((pytester.path / name).stat().st_size for name in ("own.html", "own.xml", "own.json"))
    assert left(pytester) == FILES - {"report.html", "junit.xml", "benchmark.json"}


def test_the_clock_of_the_benchmarks_moves_only_by_recorded_time() -> None:
    clock = TrialClock()
    clock.advance(2.5)
    clock.advance(1.0)

    assert (clock(), clock()) == (3.5, 3.5)
