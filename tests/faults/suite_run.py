"""One run of the suite from outside: a checkout and a temporary folder of its own, what it says, what it leaves."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from fixtures.system.waiting import wait_while

ROOT = Path(__file__).parents[2]
PARTS = ("conftest.py", "pyproject.toml", "constraints.txt", "fixtures", "image", "manifests", "tests/e2e")
SMALLEST = ("-m", "e2e", "-p", "no:cacheprovider", "--quick", "--no-all-cores", "--min-accuracy=0.5")
SAMPLES = 15_000
"""Training samples of the CNN: enough for a fault in mid-training, few enough for slow cores."""
SMALL = ("--workload=mlp-digits", "--data=")
"""For runs whose training need not last: a whole one takes little more than a minute."""
WHOLE = ("--workload=cnn-mnist", "--data=")
"""For faults of the data that come with the suite."""
GONE_SECONDS = 30.0
"""After the end of a run: what is still there then is left over."""
LONGEST_SECONDS = 420.0
"""After which a run is ended by force: longer than the suite gives a trial that hangs."""
APPEARS_SECONDS = 150.0
"""Longer than a start may take."""
ELSEWHERE = "ray-train-e2e-reports-"
"""Where reports go that the reports folder cannot take; they are meant to stay."""


@dataclass
class Setting:
    """What a run finds; a fault may change it before the run begins.

    Attributes:
        folder: of the test; it has the checkout and the reports.
        temporary: TMPDIR of the run, with a path short enough for Ray's sockets.
        wrapper: command in front of pytest's.
        undo: what to do when the run is over.
    """

    folder: Path
    temporary: Path
    options: list[str] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    wrapper: list[str] = field(default_factory=list)
    undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __post_init__(self) -> None:
        """Copy the checkout, so that a fault may damage it, and make the data."""
        for part in PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, self.checkout / part)
            else:
                self.checkout.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / part, self.checkout / part)
        with np.load(ROOT / "image/data/mnist.npz") as mnist:
            few = {name: mnist[name][: SAMPLES if "train" in name else None] for name in mnist}
        np.savez(self.data, **few)
        self.environ = {name: value for name, value in self.environ.items() if not name.startswith("PYTEST_")}
        self.environ["TMPDIR"] = str(self.temporary)

    @property
    def checkout(self) -> Path:
        """The copy in which the suite runs."""
        return self.folder / "checkout"

    @property
    def data(self) -> Path:
        """What the CNN trains on: the first samples of MNIST."""
        return self.folder / "few.npz"

    @property
    def reports(self) -> Path:
        """The folder of --reports."""
        return self.folder / "reports"


class SuiteRun:
    """A run that goes on, and what it has printed so far."""

    def __init__(self, setting: Setting) -> None:
        """Start it, in a process group of its own."""
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell: it would inherit that
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.setting, self.began = setting, time.monotonic()
        self._lines: list[tuple[float, str]] = []
        self._deaf = False
        self._process = subprocess.Popen(
            command_of(setting),
            cwd=setting.checkout,
            env=setting.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._lines.append((time.monotonic(), line.rstrip()))
                if self._deaf:
                    return

    @property
    def pid(self) -> int:
        """Process id of pytest, and of its group."""
        return self._process.pid

    @property
    def text(self) -> str:
        """All that it has printed."""
        return "\n".join(line for _, line in self._lines)

    def close_output(self) -> None:
        """Close our end of its output after the next line, as `| head` does."""
        self._deaf = True

    def find_message(self, pattern: str, since: float = 0.0) -> tuple[float, str] | None:
        """Return the first lines that match, joined, and when they were printed."""
        lines = [line for line in list(self._lines) if line[0] >= since]
        text = "\n".join(line for _, line in lines)
        if (match := re.search(pattern, text, re.MULTILINE)) is None:
            return None
        first, last = text.count("\n", 0, match.start()), text.count("\n", 0, match.end())
        return lines[first][0], " ".join(line.strip() for _, line in lines[first : last + 1])

    def wait_for_message(self, pattern: str) -> bool:
        """Wait until it prints what matches; False when it ends without."""

        def silent() -> str:
            return "" if self.find_message(pattern) or self._process.poll() is not None else "no such message"

        wait_while(silent, LONGEST_SECONDS, every=0.02)
        return self.find_message(pattern) is not None

    def find_process(self, pattern: str) -> psutil.Process:
        """Wait for a process of this run whose command line matches. Raises LookupError."""
        found: list[psutil.Process] = []

        def absent() -> str:
            for process in processes_of(self.setting.temporary):
                with contextlib.suppress(psutil.Error):
                    if process.pid != self.pid and re.search(pattern, " ".join(process.cmdline())):
                        found.append(process)
            return "" if found or self._process.poll() is not None else "no such process"

        wait_while(absent, APPEARS_SECONDS, every=0.02)
        if not found:
            raise LookupError(f"no process of the run is called {pattern}")
        return found[0]

    def end(self) -> int:
        """Wait until it has ended and return its exit code, as a shell counts: of signal 9, 137."""
        try:
            code = self._process.wait(LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
            raise AssertionError(f"the run had not ended after {LONGEST_SECONDS:.0f} s:\n{self.text}") from None
        self._reader.join(5)
        return code if code >= 0 else 128 - code


def command_of(setting: Setting) -> list[str]:
    """Return the command line of a run."""
    training = ("--workload=cnn-fashion-mnist", f"--data={setting.data}")
    pytest = [sys.executable, "-m", "pytest", *SMALLEST, *training, f"--reports={setting.reports}"]
    return [*setting.wrapper, *pytest, *setting.options]


def processes_of(temporary: Path) -> Iterator[psutil.Process]:
    """Yield every process that has a run's temporary folder in its environment, or works inside it.

    Told otherwise than the suite tells it, whose own list is under test.
    """
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            places = (*_environ(process).values(), process.cwd())
            if process.status() != psutil.STATUS_ZOMBIE and any(str(temporary) in place for place in places):
                yield process


def _environ(process: psutil.Process) -> Mapping[str, str]:
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ()
    return {}


def find_left(temporary: Path) -> list[str]:
    """Return which processes and files of a run are there now; a port is open only as long as its process lives."""
    files = [file.name for file in temporary.iterdir() if not file.name.startswith(ELSEWHERE)]
    return [f"{process.name()} ({process.pid})" for process in processes_of(temporary)] + files


def wait_until_gone(left: Callable[[], list[str]]) -> list[str]:
    """Return what is still left GONE_SECONDS later."""
    wait_while(lambda: ", ".join(left()), GONE_SECONDS, every=0.5)
    return left()
