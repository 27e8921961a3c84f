"""A reports folder shows one run, however the next one ends and whatever becomes of the disk."""

import errno
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.analysis.measurement import Run
from fixtures.clusters.evidence import write_evidence
from fixtures.plugin.staging import Staging
from fixtures.system.waiting import wait_while
from tests.report.test_reporting import (
    BASELINE,
    CONFTEST,
    FAST,
    FILES,
    HISTORY,
    LOST,
    NO_START,
    SLOW,
    UNUSED,
    left,
    replay,
    write_tests,
)
from tests.unit.trials import run

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("undrawn")


def with_signals(conftest: str) -> str:
    """Have the whole plugin, whose fixture of the measurements a conftest overrides."""
    plugins = '"fixtures.plugin.options", "fixtures.plugin.reporting"'
    return conftest.replace(plugins, '"fixtures.plugin"').replace("def pytest_generate_tests", "def unused")


EARLIER = "the page of an earlier run"
FAILS = 'raise InfraError("The node timed out during startup: <raylet>.", "Its logs are in the evidence.")'
STOPPED = NO_START.replace(FAILS, 'pytest.exit("terminated by SIGTERM", returncode=143)')
"""A run that a signal ends while its cluster starts."""
MEASURED = STOPPED.replace("pytest.exit(", "pytestconfig.stash[SUMMARY] = summarise(RUN, SPREAD); pytest.exit(")
"""A run that a signal ends later."""


@pytest.fixture
def out(pytester: pytest.Pytester) -> Path:
    """A reports folder in which an earlier run, of four workers, left everything, and somebody else a file."""
    folder = pytester.path / "out"
    for name in (*FILES, "results/ray_results_4workers.json", "results/own.json", "own.txt"):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(EARLIER)
    write_evidence({"raylet.out": EARLIER}, folder / "evidence")
    return folder


def earlier(out: Path) -> set[str]:
    """What still is of the earlier run; its entry of the history stays for ever."""
    return {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file() and file.read_text() == EARLIER}


OTHERS = {"results/own.json", "own.txt", *HISTORY}
ALL = {*FILES, "results/ray_results_4workers.json", "evidence/raylet.out", *OTHERS}


@pytest.mark.parametrize(
    ("measured", "options", "conftest", "code", "own"),
    [
        pytest.param(run(*FAST), (), None, 0, FILES - HISTORY, id="PASS"),
        pytest.param(run(*SLOW), (), None, 1, FILES - HISTORY, id="REGRESSION"),
        pytest.param(BASELINE, ("-k", "baseline"), None, 0, None, id="baseline alone"),
        pytest.param(LOST, (), None, 11, None, id="INFRA in mid-run"),
        pytest.param(LOST, (), NO_START, 11, None, id="INFRA before anything"),
        pytest.param(LOST, (), MEASURED, 143, None, id="SIGTERM in mid-run"),
    ],
)
def test_a_run_that_has_begun_replaces_all_that_an_earlier_one_left(
    pytester: pytest.Pytester,
    out: Path,
    measured: Run,
    options: tuple[str, ...],
    conftest: str | None,
    code: int,
    own: set[str] | None,
) -> None:
    assert replay(pytester, measured, *options, conftest=conftest or CONFTEST).ret == code

    assert earlier(out) == OTHERS
    new = {name for name in left(pytester) - OTHERS if not name.startswith("history/")}
    assert own is None or new - {"evidence/files.txt", "evidence/raylet.out"} == own
    assert {"report.html", "summary.md", "junit.xml"} <= new
    assert not list(out.glob(".partial-*"))


@pytest.mark.parametrize(
    ("options", "conftest", "code"),
    [
        pytest.param(("-k", "nothing"), CONFTEST, pytest.ExitCode.NO_TESTS_COLLECTED, id="-k nothing"),
        pytest.param(("-m", "e2e and ("), CONFTEST, pytest.ExitCode.USAGE_ERROR, id="broken -m"),
        pytest.param(("--epochs=none",), CONFTEST, pytest.ExitCode.USAGE_ERROR, id="refused option"),
        pytest.param(("--collect-only",), CONFTEST, pytest.ExitCode.OK, id="--collect-only"),
        pytest.param(("--setup-plan",), CONFTEST, pytest.ExitCode.OK, id="--setup-plan"),
        pytest.param((), STOPPED, 143, id="SIGTERM in the start"),
    ],
)
def test_a_run_that_has_not_begun_to_measure_leaves_the_earlier_report_as_it_was(
    pytester: pytest.Pytester, out: Path, options: tuple[str, ...], conftest: str, code: int
) -> None:
    before = left(pytester)

    assert replay(pytester, run(*FAST), *options, conftest=conftest).ret == code

    assert (left(pytester), earlier(out)) == (before, ALL)
    assert not list(out.glob(".partial-*"))


def test_a_run_that_was_interrupted_in_its_start_says_whose_reports_are_there(pytester: pytest.Pytester) -> None:
    shown = replay(pytester, LOST, conftest=STOPPED)

    shown.stdout.fnmatch_lines(["reports: out is as it was, since this run measured nothing"])
    shown.stdout.no_re_match_line(r"generated|Generated")


def test_a_run_that_a_signal_ends_shows_what_was_measured_before(pytester: pytest.Pytester) -> None:
    shown = replay(pytester, LOST, conftest=MEASURED)

    assert shown.ret == 143
    shown.stdout.fnmatch_lines(["INFRA baseline against Ray Train*", "*Node worker-2 is gone.*", "reports: *"])
    assert left(pytester) >= {"report.html", "summary.md", "results/measurements.json"}


def test_what_a_killed_run_left_half_written_goes(pytester: pytest.Pytester, out: Path) -> None:
    (out / ".partial-1").mkdir()

    replay(pytester, run(*FAST))

    assert not list(out.glob(".partial-*"))


def test_a_second_run_for_the_same_reports_is_refused_before_it_begins(pytester: pytest.Pytester, out: Path) -> None:
    first = Staging(out)
    (first.folder / "summary.md").write_text("first")

    shown = replay(pytester, run(*FAST), conftest=with_signals(CONFTEST))

    assert shown.ret == pytest.ExitCode.USAGE_ERROR
    refused = "ERROR: --reports=*out: another run is writing to this folder; wait for it, or name another one."
    shown.stderr.fnmatch_lines([refused])
    assert earlier(out) == ALL
    first.begun = True
    first.publish()
    assert (out / "summary.md").read_text() == "first"
    assert replay(pytester, run(*FAST)).ret == 0


@pytest.fixture
def _heeds_sigint() -> Iterator[None]:
    """What a shell starts in the background ignores SIGINT; this run does not, however the tests were started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heeds_sigint")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_reports_are_written_waits_until_they_are(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def draw(_: object) -> str:
        os.kill(os.getpid(), number)
        return "drawn to the end"

    monkeypatch.setattr("fixtures.report.page.make_page", draw)

    shown = replay(pytester, run(*FAST), conftest=with_signals(CONFTEST))

    assert shown.ret == 0
    assert left(pytester) == FILES
    assert "drawn to the end" in (pytester.path / "out" / "report.html").read_text()
    ends = "the run ends when its reports are written and its cluster is gone"
    shown.stderr.fnmatch_lines([f"{number.name}: {ends}; another signal ends it at once"])


def test_a_second_signal_ends_the_run_at_once_with_what_is_written_by_then(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(_: object) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
        return "too late"

    monkeypatch.setattr("fixtures.report.page.make_page", draw)

    assert replay(pytester, run(*FAST), conftest=with_signals(CONFTEST)).ret == 128 + signal.SIGTERM
    assert "results/comparison.json" in left(pytester)
    assert "report.html" not in left(pytester)


def test_a_signal_that_was_ignored_stays_ignored_and_all_are_handled_as_before_after_the_run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(_: object) -> str:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        return "drawn to the end"

    monkeypatch.setattr("fixtures.report.page.make_page", draw)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.getsignal(signal.SIGTERM)
    try:
        assert replay(pytester, run(*FAST), conftest=with_signals(CONFTEST)).ret == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is before[1]
    finally:
        signal.signal(signal.SIGHUP, before[0])


def test_a_run_whose_terminal_goes_away_still_leaves_its_reports(pytester: pytest.Pytester) -> None:
    waits = MEASURED.replace("pytest.exit(", 'pathlib.Path("begun").touch(); __import__("time").sleep(60); print(')
    write_tests(pytester, LOST, with_signals(waits.replace('"terminated by SIGTERM", returncode=143', "")))
    ours, terminal = pty.openpty()
    script = "import os, sys, pytest; os.login_tty(0); sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "-m", "e2e", "--reports=out", *UNUSED]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdin=terminal, cwd=pytester.path, env=environ) as process:
        os.close(terminal)
        assert not wait_while(lambda: "" if (pytester.path / "begun").exists() else "starting", 30, every=0.05)
        os.close(ours)
        assert process.wait(timeout=30) == 128 + signal.SIGHUP

    assert {"report.html", "summary.md", "junit.xml"} <= left(pytester)


def fill_disk(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """Play a full disk below these folders."""
    for name in ("write_text", "write_bytes"):
        real = getattr(Path, name)

        def write(self: Path, *args: Any, real: Any = real, **options: Any) -> Any:
            if any(folder in self.absolute().parents for folder in folders):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(self, *args, **options)

        monkeypatch.setattr(Path, name, write)


def test_where_the_reports_disk_is_full_the_run_is_shown_and_its_reports_are_elsewhere(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, out: Path
) -> None:
    elsewhere = pytester.mkdir("elsewhere")
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    fill_disk(monkeypatch, out)

    shown = replay(pytester, run(*SLOW), conftest=CONFTEST)

    assert shown.ret == 1
    (folder,) = elsewhere.glob("ray-train-e2e-reports-*")
    shown.stdout.fnmatch_lines(
        [
            "REGRESSION baseline against Ray Train*",
            f"reports: {folder}/report.html, {folder}/summary.md, results/comparison.json; not in the history",
            f"WARNING: out cannot be written (No space left on device): this run's reports are in {folder}. *",
            "WARNING: The run could not be added to the history (No space left on device).",
        ]
    )
    assert {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} == FILES - HISTORY
    assert earlier(out) == ALL


def test_where_no_disk_takes_anything_the_run_is_shown_all_the_same(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(pytester.mkdir("elsewhere")))
    fill_disk(monkeypatch, pytester.path / "out", pytester.path / "elsewhere")

    shown = replay(pytester, run(*FAST))

    shown.stdout.fnmatch_lines(
        ["PASS baseline against Ray Train*", "WARNING: This run's reports are incomplete (No space left on device)."]
    )


def test_a_reports_folder_that_is_deleted_in_mid_run_is_made_again(pytester: pytest.Pytester) -> None:
    deletes = CONFTEST.replace("    summary = pyt", '    import shutil; shutil.rmtree("out")\n    summary = pyt')

    assert replay(pytester, run(*FAST), conftest=deletes).ret == 0
    assert left(pytester) == FILES


def test_a_bad_file_of_the_history_costs_no_report(pytester: pytest.Pytester) -> None:
    history = pytester.path / "out" / "history"
    (history / "0001_folder_19700101_000000.json").mkdir(parents=True)
    (history / "0002_nested_19700101_000000.json").write_text("[" * 100_000)
    (history / "0003_huge_19700101_000000.json").write_text('{"ray_train_e2e": {"at": 1e999}}')

    assert replay(pytester, run(*FAST), "--regression").ret == 0
    assert left(pytester) >= FILES - HISTORY
    assert (history / "0004_unversioned_19700101_001716.json").is_file()
