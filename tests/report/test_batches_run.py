"""A run over several batches, with measurements that were made up: its exit code, its files, what it refuses."""

import json
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

REAL = Path(__file__).parents[1] / "scaling" / "test_scaling.py"
CONFTEST = """
from dataclasses import replace
import pytest
from fixtures.plugin.measured import keep
from tests.unit.batches import SETTINGS, hand_over, measure
from tests.unit.fake_jobs import LOST_NODE, ended
from tests.unit.trials import with_all_ranks

pytest_plugins = [
    "fixtures.plugin.options", "fixtures.plugin.reporting", "fixtures.plugin.batches", "fixtures.plugin.measured",
]

def cheat(of, batch):
    trial = hand_over(of, batch)
    return with_all_ranks(trial, rate_factor=1.0) if of.workers else trial

@pytest.fixture(scope="session")
def batches(pytestconfig):
    run = MADE_UP
    keep(pytestconfig, run)
    return run
"""


def run(pytester: pytest.Pytester, made_up: str, *options: str) -> pytest.RunResult:
    pytester.makeini("[pytest]\nmarkers =\n    e2e: none\n    scaling: replayed\n")
    pytester.makeconftest(CONFTEST.replace("MADE_UP", made_up))
    pytester.makepyfile(test_scaling=REAL.read_text())
    return pytester.runpytest_inprocess("-m", "scaling", "--reports=out", "-p", "no:cacheprovider", *options)


@pytest.mark.parametrize(
    ("made_up", "code", "strict"),
    [
        pytest.param("measure()", 0, 0, id="PASS"),
        pytest.param("measure(answer=cheat)", 1, 1, id="REGRESSION"),
        pytest.param("measure(answer=lambda *_: ended('FAILED', LOST_NODE))", 11, 11, id="INFRA"),
        pytest.param("measure(replace(SETTINGS, quick=True, rounds=1))", 0, 10, id="INCONCLUSIVE"),
    ],
)
def test_the_exit_code_is_the_verdicts_and_the_reports_are_written(
    pytester: pytest.Pytester, made_up: str, code: int, strict: int
) -> None:
    ended = run(pytester, made_up)

    assert ended.ret == code
    assert run(pytester, made_up, "--strict-verdict").ret == strict
    folder = pytester.path / "out" / "scaling"
    assert {file.name for file in folder.iterdir()} == {
        *("measurements.json", "report.html", "scaling.json", "summary.md"),
    }
    measured = json.loads((folder / "measurements.json").read_text())
    assert list(measured["runs"]) == ["24", "48"]
    assert "lr-rule=sqrt" in measured["settings"]
    ended.stdout.fnmatch_lines(["* strong and weak scaling of cnn-mnist, 2 epochs", "reports: *report.html, *"])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--batch-sizes=128,129"], "--batch-sizes='128,129': expected batches that 2 workers share evenly, such as*"),
        (["--batch-sizes=128,128"], "--batch-sizes='128,128': expected each count once, such as 128."),
        (["--batch-size=40000"], "--batch-size='40000': 80000 samples an update, expected at most the 60,000 *"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    pytester: pytest.Pytester, options: list[str], why: str
) -> None:
    ended = run(pytester, "None", *options)

    assert ended.ret == pytest.ExitCode.USAGE_ERROR
    ended.stderr.fnmatch_lines([f"ERROR: {why}"])
