"""A fault as a value: what is done to a run, when, and what the run must say."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.faults.record import Seen
from tests.faults.suite_run import Setting, SuiteRun

Prepare = Callable[[Setting], object]
Inject = Callable[[SuiteRun], object]
AS_ALWAYS = "shown at the end of a run that is complete"
MOST_BETWEEN = 3000
"""Characters from the cause to its code: a cause may have the lines of a log."""


def change_nothing(setting: Setting) -> None:
    """Leave what the run finds as it is."""


def do_nothing(run: SuiteRun) -> None:
    """Leave the run alone."""


@dataclass(frozen=True)
class Fault:
    """What is done to a run, and what is right then.

    Attributes:
        name: what is done.
        says: pattern of the words in which the run says what happened.
        see: code of docs/TROUBLESHOOTING.md behind them, a pattern; empty where they say it all.
        verdict: "none" for a run that ends before it can have one.
        code: exit code.
        prepare: changes what the run finds.
        moment: pattern of the line of output after which `inject` is called; empty: at once.
        inject: does something to the run that goes on.
        seconds: to detection at most.
        why_later: why they are more than 60.
    """

    name: str
    says: str
    see: str = ""
    verdict: str = "INFRA"
    code: int = 11
    options: tuple[str, ...] = ()
    prepare: Prepare = change_nothing
    moment: str = ""
    inject: Inject = do_nothing
    seconds: float = 60.0
    why_later: str = ""

    @property
    def message(self) -> str:
        """Pattern of all that the run says: cause, remedy and code."""
        return self.says + (rf"(?s:.{{0,{MOST_BETWEEN}}}?)\(see TROUBLESHOOTING: (?:{self.see})\)" if self.see else "")

    def is_right(self, seen: Seen) -> bool:
        """Return whether a run did all that it should."""
        in_time = seen.seconds is not None and seen.seconds <= self.seconds
        return in_time and seen.evident and (seen.verdict, seen.code, seen.left) == (self.verdict, self.code, [])


harmless = partial(Fault, says="^reports: ", verdict="INCONCLUSIVE", code=0, seconds=300.0, why_later=AS_ALWAYS)
"""A fault that costs no measurement. One round has no spread, hence the verdict."""


def send(number: signal.Signals, pattern: str) -> Inject:
    """Send a signal to the process of the run whose command line matches."""
    return lambda run: run.find_process(pattern).send_signal(number)


def tell(number: signal.Signals) -> Inject:
    """Send a signal to pytest."""
    return lambda run: os.kill(run.pid, number)


def replace_text(file: str, old: str, new: str, setting: Setting) -> None:
    """Replace text in a file of the checkout."""
    path = setting.checkout / file
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")


def edit(file: str, old: str, new: str) -> partial[None]:
    """Prepare a run by replacing text in a file of its checkout."""
    return partial(replace_text, file, old, new)


def write(file: str, content: bytes) -> Prepare:
    """Write a file below the folder of the test."""

    def prepare(setting: Setting) -> None:
        path = setting.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return prepare


def variables(**values: str) -> Prepare:
    """Set environment variables."""
    return lambda setting: setting.environ.update(values)


def mount(options: str, at: Callable[[Setting], Path]) -> Prepare:
    """Give the run a small disk of its own in the place of a folder."""

    def prepare(setting: Setting) -> None:
        unshare = ["unshare", "--mount", *(["--map-root-user"] if os.getuid() else [])]
        if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
            pytest.skip("nothing may be mounted here (unshare --mount)")
        at(setting).mkdir(parents=True, exist_ok=True)
        script = 'mount -t tmpfs -o "$1" tmpfs "$2"; shift 2; exec "$@"'
        setting.wrapper += [*unshare, "sh", "-c", script, "sh", options, str(at(setting))]

    return prepare


def fill(file: Callable[[Setting], Path]) -> Inject:
    """Write a file until its disk, which the run may have mounted, is full."""

    def inject(run: SuiteRun) -> None:
        path = Path(f"/proc/{run.pid}/root{file(run.setting)}")
        subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=1M"], check=False, capture_output=True)

    return inject


def limit(controller: str, files: Mapping[str, int]) -> Prepare:
    """Put the run into a control group with a limit; of the files, each version of cgroup has its own."""

    def prepare(setting: Setting) -> None:
        root = Path("/sys/fs/cgroup")
        group = root / ("" if (root / "cgroup.controllers").exists() else controller) / setting.temporary.name
        try:
            group.mkdir()
            setting.undo.callback(group.rmdir)
            for file, value in files.items():
                if (group / file).exists():
                    (group / file).write_text(str(value))
        except OSError as error:
            pytest.skip(f"no control group may be made here ({error})")
        script = 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"'
        setting.wrapper += ["sh", "-c", script, "sh", str(group)]

    return prepare
