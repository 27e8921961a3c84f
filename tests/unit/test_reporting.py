"""What a run leaves: the exit code of its verdict, and files that are whole or not there."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.measurement import Failure, Run
from fixtures.reporting import BenchmarkWarning, TrialClock
from fixtures.verdict import Outcome
from tests.unit.trials import SETTINGS, measurement, run, slowed, spec, timing_round

pytest_plugins = ["pytester"]

E2E = Path(__file__).parents[1] / "e2e" / "test_e2e.py"
CONFTEST = """
import pathlib
import pytest
from fixtures.measurement import Run
from fixtures.suite import SUMMARY
from fixtures.summary import summarise
from tests.unit.trials import SPREAD

pytest_plugins = ["fixtures.options", "fixtures.reporting"]

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
FAST = [timing_round(number, 10.0, 5.5 + number / 100, 10.4) for number in (1, 2, 3)]
SLOW = [timing_round(number, 10.0, 8.0 + number / 100, 10.4) for number in (1, 2, 3)]
WILD = [timing_round(number, 10.0, 5.0 + number, 10.4) for number in (1, 2, 3)]
LOST = run(accuracy=[], failures=(Failure("run", "Infra", "Node worker-2 is gone.", "See the evidence."),))
NO_ACCURACY = run(accuracy=[measurement(spec(0))])
SLOWED = slowed(run(*FAST, settings=replace(SETTINGS, inject_slowdown=0.15)), 0.15)
FILES = {
    "report.html",
    "junit.xml",
    "benchmark.json",
    "results/measurements.json",
    "results/baseline_results.json",
    "results/ray_results_2workers.json",
    "results/comparison.json",
    "history/0001_unversioned_19700101_001716.json",
}


def replay(pytester: pytest.Pytester, measured: Run, *options: str) -> pytest.RunResult:
    """The real end-to-end tests on measurements that were made up."""
    pytester.makeini("[pytest]\nmarkers =\n    e2e: replayed\n")
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_e2e=E2E.read_text())
    (pytester.path / "run.json").write_text(measured.to_json())
    unused = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")  # the latter is a second of imports each time
    return pytester.runpytest_inprocess("-m", "e2e", "--reports=out", *unused, *options)


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


def test_a_regression_is_one_sentence_and_no_traceback(pytester: pytest.Pytester) -> None:
    shown = replay(pytester, run(*SLOW))

    shown.assert_outcomes(passed=1, failed=1)
    shown.stdout.fnmatch_lines(["REGRESSION: 2 workers are *x as fast as the baseline *: below the 1.50x asked for."])
    shown.stdout.no_fnmatch_line("*def judge*")


def test_the_comparison_is_on_the_screen(pytester: pytest.Pytester) -> None:
    replay(pytester, run(*FAST)).stdout.fnmatch_lines(
        ["*PASS*baseline against Ray Train*", "*speedup of the training*"]
    )


def test_every_file_lies_in_the_reports_folder_and_no_half_one_beside_it(pytester: pytest.Pytester) -> None:
    replay(pytester, run(*FAST))

    assert left(pytester) == FILES
    assert not list((pytester.path / "out").glob(".partial*"))


def test_a_run_with_an_injected_slowdown_says_so_everywhere_and_is_not_kept_in_the_history(
    pytester: pytest.Pytester,
) -> None:
    shown = replay(pytester, SLOWED)

    shown.stdout.fnmatch_lines(["*INJECTED SLOWDOWN OF 15.0%*", "*not in the history*"])
    out = pytester.path / "out"
    assert "INJECTED SLOWDOWN OF 15.0%" in (out / "report.html").read_text()
    assert 'name="injected_slowdown" value="0.15"' in (out / "junit.xml").read_text()
    comparison = json.loads((out / "results/comparison.json").read_text())
    assert comparison["injected_slowdown"] == comparison["ray_distributed"]["injected_slowdown"] == 0.15
    assert comparison["baseline"]["injected_slowdown"] == 0
    assert comparison["comparison"]["why"].startswith("WITH AN INJECTED SLOWDOWN OF 15.0% OF EACH STEP: ")
    assert not (out / "history").exists()


def test_a_run_that_failed_leaves_the_files_it_has_the_figures_for(pytester: pytest.Pytester) -> None:
    replay(pytester, LOST)

    assert {"report.html", "junit.xml", "results/measurements.json"} <= left(pytester)
    assert not left(pytester) & {"results/baseline_results.json", "results/comparison.json"}


def test_the_measurements_that_are_left_say_the_same_again(pytester: pytest.Pytester) -> None:
    measured = run(*FAST)
    replay(pytester, measured)

    assert Run.from_json((pytester.path / "out" / "results" / "measurements.json").read_text()) == measured


def test_pytest_benchmarks_file_holds_the_training_time_of_every_round(pytester: pytest.Pytester) -> None:
    replay(pytester, run(*FAST))

    benchmarks = json.loads((pytester.path / "out" / "benchmark.json").read_text())["benchmarks"]
    times = {each["extra_info"]["workers"]: each["stats"]["data"] for each in benchmarks}
    assert times[0] == pytest.approx([10.0] * 3)
    assert times[2] == pytest.approx([5.51, 5.52, 5.53])


def test_junit_and_html_hold_the_figures(pytester: pytest.Pytester) -> None:
    replay(pytester, run(*FAST))

    out = pytester.path / "out"
    properties = {each.get("name"): each.get("value") for each in ET.parse(out / "junit.xml").iter("property")}
    assert properties["verdict"] == Outcome.PASS.value
    assert float(properties["speedup"] or 0) == pytest.approx(1.8116, abs=1e-3)
    assert float(properties["accuracy"] or 0) == 0.986
    assert "speedup of the training loop" in (out / "report.html").read_text()


def test_a_run_without_e2e_leaves_nothing(pytester: pytest.Pytester) -> None:
    replay(pytester, run(*FAST), "-m", "not e2e")

    assert not (pytester.path / "out").exists()


def test_the_clock_of_the_benchmarks_moves_only_by_recorded_time() -> None:
    clock = TrialClock()
    clock.advance(2.5)
    clock.advance(1.0)

    assert (clock(), clock()) == (3.5, 3.5)
