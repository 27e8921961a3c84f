"""A run that kills workers, with measurements that were made up: its exit code, its files, what it refuses."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

REAL = Path(__file__).parents[1] / "recovery" / "test_recovery.py"
CONFTEST = """
from dataclasses import replace
import pytest
from fixtures.analysis.measurement import Failure
from fixtures.plugin.measured import MEASURED
from tests.unit.fake_jobs import NOISY
from tests.unit.recoveries import CHOSEN, recovery, recovery_run

pytest_plugins = ["fixtures.plugin." + name for name in ("options", "reporting", "measured", "recovery")]

@pytest.fixture(scope="session")
def recover(pytestconfig):
    def kill(workers):
        run = MADE_UP
        pytestconfig.stash[MEASURED] = [run]
        return run
    return kill
"""
SLOW = "replace(CHOSEN, recovery=replace(CHOSEN.recovery, max_recovery=8.0))"


SWEEP = """
from dataclasses import replace
import pytest
from fixtures.analysis.measurement import Failure
from fixtures.analysis.sweep import SweepSummary
from fixtures.plugin.measured import keep
from tests.unit.sweeps import one_pass, sweep_run

pytest_plugins = ["fixtures.plugin.options", "fixtures.plugin.reporting", "fixtures.plugin.measured"]

@pytest.fixture(scope="session")
def sweep(pytestconfig):
    failure = Failure("round 1", "Infra", "The run was interrupted.", "")
    run = replace(sweep_run(), rounds=(), unfinished=(one_pass("alone", 42.0),), failure=failure)
    keep(pytestconfig, SweepSummary(run))
    pytest.exit("terminated by SIGTERM", 143)
"""


def run(pytester: pytest.Pytester, made_up: str, *options: str, conftest: str = CONFTEST) -> pytest.RunResult:
    pytester.makeini("[pytest]\nmarkers =\n    e2e: none\n    recovery: replayed\n")
    pytester.makeconftest(conftest.replace("MADE_UP", made_up))
    pytester.makepyfile(test_recovery=REAL.read_text())
    return pytester.runpytest_inprocess("-m", "recovery", "--reports=out", "-p", "no:cacheprovider", *options)


@pytest.mark.parametrize(
    ("made_up", "code", "strict"),
    [
        pytest.param("recovery_run(recovery(1), recovery(2))", 0, 0, id="PASS"),
        pytest.param(f"recovery_run(recovery(1), settings={SLOW})", 1, 1, id="REGRESSION"),
        pytest.param("recovery_run(failures=(Failure('kill 1', 'Infra', 'A node is gone.', ''),))", 11, 11, id="INFRA"),
        pytest.param("recovery_run(recovery(1, NOISY))", 0, 10, id="INCONCLUSIVE"),
    ],
)
def test_the_exit_code_is_the_verdicts_and_the_reports_are_written(
    pytester: pytest.Pytester, made_up: str, code: int, strict: int
) -> None:
    ended = run(pytester, made_up)

    assert ended.ret == code
    assert run(pytester, made_up, "--strict-verdict").ret == strict
    written = {str(file.relative_to(pytester.path)) for file in (pytester.path / "out").rglob("*.*")}
    assert written == {
        "out/recovery/recovery_2workers.html",
        "out/recovery/recovery_2workers.md",
        "out/recovery/results/recovery_2workers.json",
    }
    ended.stdout.fnmatch_lines(["*: 2 workers, one of them killed", "reports: *recovery_2workers.html"])


@pytest.mark.parametrize("code", [143, pytest.ExitCode.INTERRUPTED])
def test_a_run_that_a_signal_ends_leaves_reports_of_what_was_measured(pytester: pytest.Pytester, code: int) -> None:
    cut = "recovery_run(recovery(1), failures=(Failure('kill 2', 'Infra', 'The run was interrupted.', ''),))"
    conftest = CONFTEST.replace("        return run\n", f"        pytest.exit('a signal', {code:d})\n")

    ended = run(pytester, cut, conftest=conftest)

    assert ended.ret == code
    ended.stdout.fnmatch_lines(["INFRA: 2 workers, one of them killed", "The run was interrupted.", "reports: *"])
    page = pytester.path / "out" / "recovery" / "recovery_2workers.html"
    assert "The run was interrupted." in page.read_text()


def test_so_does_a_sweep(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(SWEEP)
    pytester.makepyfile(test_sweep=REAL.parents[1].joinpath("sweep", "test_sweep.py").read_text())

    ended = pytester.runpytest_inprocess("-m", "sweep", "--reports=out", "-p", "no:cacheprovider")

    assert ended.ret == 143
    ended.stdout.fnmatch_lines(["INFRA  sweep of 4 configurations *", "*had finished A (42.0 s), which count for no *"])
    folder = pytester.path / "out" / "sweep"
    assert {file.name for file in folder.iterdir()} == {"report.html", "summary.md", "sweep.json", "measurements.json"}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--workers=1"], "--workers='1': expected counts from 2 on*"),
        (["--checkpoint-every=468"], "--checkpoint-every='468': expected less than the 468 updates of a training."),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    pytester: pytest.Pytester, options: list[str], why: str
) -> None:
    ended = run(pytester, "None", *options)

    assert ended.ret == pytest.ExitCode.USAGE_ERROR
    ended.stderr.fnmatch_lines([f"ERROR: {why}"])
