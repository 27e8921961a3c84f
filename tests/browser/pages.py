"""Every page that a reader may be shown, made as the suite makes it."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fixtures.analysis.measurement import Run
from fixtures.analysis.summary import summarise
from fixtures.history.entry import Commit, Entry
from fixtures.history.store import History
from tests.report.test_reporting import CONFTEST, E2E, FAST, LOST, NO_START, SLOW, SLOWED, WILD
from tests.unit.recorded import recorded
from tests.unit.trials import SETTINGS, SPREAD, on, run, timing_round

ROOT = Path(__file__).parents[2]
SECONDS = 120
MANY = [
    (*timing_round(n, 10.0, 5.5 + n / 100, 10.4), *timing_round(n, 10.0, 3.0 + n / 100, 11.2, workers=4)[1:])
    for n in (1, 2, 3, 4)
]
POLLUTED = {"2": "baseline: other programs kept 0.60 cores busy (limit 0.25)"}


def of_pytest(measured: Run, folder: Path, conftest: str = CONFTEST) -> Path:
    """pytest-html's page of the real end-to-end tests on measurements that were made up or recorded."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    e2e: replayed\n")
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_e2e.py").write_text(E2E.read_text(encoding="utf-8"))
    (folder / "run.json").write_text(measured.to_json())
    command = [sys.executable, "-m", "pytest", "-q", "-m", "e2e", "--reports=out", "-p", "no:cacheprovider"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "image")])
    environ = {**os.environ, "PYTHONPATH": paths, "COLUMNS": "110"}
    subprocess.run(command, cwd=folder, env=environ, timeout=SECONDS, check=False, capture_output=True)
    return folder / "out" / "report.html"


def command_line(folder: Path, *arguments: str) -> None:
    """python -m fixtures.report."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "image")])}
    command = [sys.executable, "-m", "fixtures.report", *arguments]
    subprocess.run(command, cwd=folder, env=environ, timeout=SECONDS, check=False, capture_output=True)


def alone(measured: Run, folder: Path) -> Path:
    """The page that is made from the JSON alone."""
    (folder / "results").mkdir(parents=True)
    (folder / "results" / "measurements.json").write_text(measured.to_json())
    command_line(folder, ".")
    return folder / "report.html"


def compared(folder: Path) -> Path:
    """The page of a comparison of three runs."""
    for name, rounds in (("old", FAST), ("new", SLOW), ("newest", WILD)):
        (folder / name / "results").mkdir(parents=True)
        (folder / name / "results" / "measurements.json").write_text(run(*rounds).to_json())
    command_line(folder, "compare", "old", "new", "newest", "--output", ".")
    return folder / "compare.html"


def with_history(folder: Path) -> Path:
    """The page of a run that the gate judged beside 14 earlier ones of the same machine."""
    rounds = [timing_round(n, 10.0, 5.5 + n / 100, 10.4) for n in range(1, 9)]
    measured = on(run(*rounds, settings=replace(SETTINGS, regression=True)), "AMD EPYC")
    made = Entry.of(summarise(measured, SPREAD), Commit("tonight"), "1")
    for number in range(1, 15):
        at, commit = f"1970-01-01T00:00:{number:02d}+00:00", Commit(f"{number:02d}c0ffee4242")
        History(folder / "history").add(replace(made, at=at, commit=commit), {})
    return alone(measured, folder)


PAGES: dict[str, Callable[[Path], Path]] = {
    "passed": lambda folder: of_pytest(run(*FAST), folder),
    "several counts": lambda folder: of_pytest(run(*MANY, counts=(2, 4), polluted=POLLUTED), folder),
    "regression": lambda folder: of_pytest(run(*SLOW), folder),
    "lost node": lambda folder: of_pytest(LOST, folder),
    "no cluster": lambda folder: of_pytest(LOST, folder, NO_START),
    "recorded": lambda folder: of_pytest(recorded(), folder),
    "from JSON alone": lambda folder: alone(run(*FAST), folder),
    "with a history": with_history,
    "injected slowdown": lambda folder: of_pytest(SLOWED, folder),
    "compared": compared,
}
