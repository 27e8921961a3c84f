"""Run directories, leases, and the end of processes."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from fixtures.errors import InfraError, UsageError
from fixtures.system import processes
from fixtures.system.leases import LEASE, LOCK, Lease, Ownership, is_owned, read_lease, write_lease
from fixtures.system.paths import ROOT
from fixtures.system.waiting import wait_while

DEAD = Lease(pid=2**22 - 1)
"""Of a process that does not exist."""

DEAD_KEPT = replace(DEAD, kept=True)

SLEEP = "import time; print(1, flush=True); time.sleep(60)"
STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / f"{processes.PREFIX}0"
    folder.mkdir()
    write_lease(folder, Lease.of_this_process({"token": "t"}))
    return folder


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes that have printed their first line, and ends them after the test."""
    with ExitStack() as ends:

        def started(code: str = SLEEP, *, tag: str = "", cwd: Path | None = None) -> subprocess.Popen[str]:
            command, environ = [sys.executable, "-S", "-c", code], {processes.TAG: tag} if tag else {}
            child = subprocess.Popen(command, env=environ, cwd=cwd, stdout=subprocess.PIPE, text=True)
            ends.enter_context(child)
            ends.callback(child.kill)
            assert child.stdout is not None
            assert child.stdout.readline()
            return child

        yield started


def test_a_temporary_directory_too_long_for_sockets_gives_way_to_a_shorter_one_or_is_an_error(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()

    assert processes.fitting_place([long, Path("/tmp")]) == Path("/tmp")
    with pytest.raises(UsageError) as caught:
        processes.make_run([long])

    length = len(os.fsencode(long)) + len("/rte-12345678") + len(processes.LONGEST_SOCKET)
    assert str(long) in caught.value.cause
    assert f"{length} bytes; {processes.SOCKET_PATH_BYTES} are allowed" in caught.value.cause
    assert "Set TMPDIR to a writable directory of at most" in caught.value.remedy
    assert list(long.iterdir()) == []
    room = processes.SOCKET_PATH_BYTES - len(processes.LONGEST_SOCKET)
    assert processes.socket_bytes(Path("/" + "x" * (room - 1))) == processes.SOCKET_PATH_BYTES
    assert processes.socket_bytes(Path("/" + "ü" * (room // 2))) == processes.SOCKET_PATH_BYTES + 1 - room % 2


def test_a_run_directory_and_its_lease_are_for_their_owner_only() -> None:
    run, ownership = processes.make_run([Path("/tmp")])
    try:
        assert run.name.startswith(processes.PREFIX)
        assert stat.S_IMODE(run.stat().st_mode) == 0o700
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in run.iterdir()}
        assert modes == {LEASE: 0o600, LOCK: 0o600}
        assert read_lease(run) == Lease.of_this_process()
        assert is_owned(run)
    finally:
        processes.end(run)
        ownership.release()
    assert not run.exists()


def test_the_abandoned_run_is_reaped_and_a_kept_one_only_when_asked_for(tmp_path: Path) -> None:
    for name, lease in {"dead": DEAD, "kept": DEAD_KEPT, "alive": DEAD}.items():
        (tmp_path / f"rte-{name}").mkdir()
        write_lease(tmp_path / f"rte-{name}", lease)
    alive = Ownership.take(tmp_path / "rte-alive")
    assert alive is not None
    for name in ("rte-old", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "rte-link").symlink_to(tmp_path / "rte-dead")

    assert [folder.name for folder in processes.reap_abandoned([tmp_path])] == ["rte-dead", "rte-old"]
    assert {"rte-kept", "rte-alive", "other"} <= {folder.name for folder in tmp_path.iterdir()}
    assert processes.reap_abandoned([tmp_path], also_kept=True) == (tmp_path / "rte-kept",)
    alive.release()
    assert processes.reap_abandoned([tmp_path]) == (tmp_path / "rte-alive",)


def test_a_run_that_is_just_being_made_is_not_reaped(tmp_path: Path) -> None:
    run = tmp_path / "rte-new"
    run.mkdir()
    making = threading.Timer(0.2, write_lease, (run, DEAD_KEPT))
    making.start()

    assert processes.reap_abandoned([tmp_path]) == ()
    making.join()
    assert read_lease(run) == DEAD_KEPT


def test_a_process_belongs_to_a_run_by_its_tag_its_folder_or_its_ancestor(run: Path, start: Start) -> None:
    by_tag, by_folder = start(tag=run.name), start(cwd=run)
    start(tag="rte-other")
    parent = (  # the child has neither tag nor folder, only its parent
        "import os, time\n"
        "if os.fork() == 0:\n    os.execve('/bin/sleep', ['sleep', '60'], {})\n"
        "time.sleep(0.1); print(1, flush=True); time.sleep(60)"
    )
    with_child = start(parent, tag=run.name)
    grandchild = psutil.Process(with_child.pid).children()[0].pid

    members = {process.pid for process in processes.tagged(run)}

    assert members == {by_tag.pid, by_folder.pid, with_child.pid, grandchild}
    processes.end(run)
    assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE


def test_a_process_that_ignores_the_request_to_end_is_killed_and_the_directory_removed(run: Path, start: Start) -> None:
    stubborn = start(STUBBORN, tag=run.name)

    processes.end(run, grace=0.1)

    assert stubborn.wait(timeout=10) == -signal.SIGKILL
    assert not run.exists()
    processes.end(run)  # what is gone already is no error


def test_processes_born_during_the_sweep_are_ended_too(run: Path, start: Start) -> None:
    hydra = (
        "import os, signal, time\n"
        "def heir(*_):\n"
        "    if os.fork() == 0:\n        os.setsid()\n        time.sleep(60)\n"
        "    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, heir); print(1, flush=True)\n"
        "while True: time.sleep(1)"
    )
    start(hydra, tag=run.name)

    processes.end(run, grace=0.2)

    assert processes.tagged(run) == ()


def test_what_does_not_end_is_named(run: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    immortal = start(STUBBORN, tag=run.name)
    monkeypatch.setattr(psutil.Process, "send_signal", lambda self, number: None)

    with pytest.raises(InfraError, match=rf"still run: .*\({immortal.pid}\)"):
        processes.end(run, grace=0.05, deadline=0.1)

    assert run.exists()


def watchdog_of(code: str, run: Path) -> subprocess.Popen[str]:
    """A harness with a watchdog, which then does `code`."""
    script = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from fixtures.system.leases import *\n"
        "from fixtures.system.processes import *\n"
        f"run = Path({str(run)!r})\n"
        "write_lease(run, Lease.of_this_process())\n"
        "watchdog = RunWatchdog(run, {'PATH': os.environ.get('PATH', ''), TAG: run.name})\n"
        f"print(watchdog.pid, flush=True)\n{code}"
    )
    return subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1, text=True, cwd=ROOT)


def test_when_the_harness_is_killed_the_watchdog_ends_the_run_whatever_signals_it_gets(run: Path, start: Start) -> None:
    member = start(tag=run.name)
    harness = watchdog_of("time.sleep(60)", run)
    assert harness.stdout is not None
    watchdog = psutil.Process(int(harness.stdout.readline()))
    assert wait_while(lambda: "" if watchdog.cwd() == "/" else "its handlers", 20, every=0.02) == ""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        watchdog.send_signal(number)
    assert watchdog.pid not in {process.pid for process in processes.tagged(run)}

    harness.kill()
    harness.communicate()

    assert wait_while(lambda: "the end of the run" if run.exists() else "", 20, every=0.05) == ""
    assert member.wait(timeout=10) != 0


def test_the_watchdog_leaves_a_kept_run_alone(run: Path) -> None:
    harness = watchdog_of("keep(run); watchdog.dismiss(); print('dismissed')", run)
    printed, _ = harness.communicate(timeout=30)

    assert "dismissed" in printed
    assert json.loads((run / LEASE).read_text())["kept"] is True


def test_the_watchdog_leaves_a_run_alone_that_another_owner_has_by_now(run: Path) -> None:
    harness = watchdog_of("input()", run)
    ownership = Ownership.take(run)
    harness.communicate(timeout=30)

    assert ownership is not None
    assert wait_while(lambda: "" if not run.exists() else "its end", 1, every=0.05) == "its end"
    ownership.release()
