"""Run directories, leases, and the end of processes."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from fixtures.errors import InfraError, UsageError
from fixtures.system import processes
from fixtures.system.paths import ROOT
from fixtures.system.processes import Lease

DEAD = Lease(pid=2**22 - 1, started=1.0)
"""Held by a process that does not exist."""

SLEEP = "import time; print(1, flush=True); time.sleep(60)"
STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / f"{processes.PREFIX}0"
    folder.mkdir()
    processes.write_lease(folder, Lease.of_this_process({"token": "t"}))
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


def test_a_temporary_directory_too_long_for_sockets_gives_way_to_a_shorter_one(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()

    assert processes.fitting_place([long, Path("/tmp")]) == Path("/tmp")


def test_when_every_place_is_too_long_the_error_names_place_length_and_remedy(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()

    with pytest.raises(UsageError) as caught:
        processes.make_run([long])

    sample = len(os.fsencode(long)) + len("/rte-12345678") + len(processes.LONGEST_SOCKET)
    assert str(long) in caught.value.cause
    assert f"{sample} bytes; {processes.SOCKET_PATH_BYTES} are allowed" in caught.value.cause
    assert "Set TMPDIR to a writable directory of at most" in caught.value.remedy
    assert list(long.iterdir()) == []


def test_a_length_that_just_fits_is_accepted_and_one_more_byte_is_not(tmp_path: Path) -> None:
    room = processes.SOCKET_PATH_BYTES - len(processes.LONGEST_SOCKET)

    assert processes.socket_bytes(Path("/" + "x" * (room - 1))) == processes.SOCKET_PATH_BYTES
    assert processes.socket_bytes(Path("/" + "ü" * (room // 2))) == processes.SOCKET_PATH_BYTES + 1 - room % 2


def test_a_run_directory_and_its_lease_are_for_their_owner_only() -> None:
    run = processes.make_run([Path("/tmp")])
    try:
        assert run.name.startswith(processes.PREFIX)
        assert stat.S_IMODE(run.stat().st_mode) == 0o700
        assert stat.S_IMODE((run / processes.LEASE).stat().st_mode) == 0o600
        lease = processes.read_lease(run)
        assert lease is not None
        assert lease.pid == os.getpid()
        assert lease.owner_alive
    finally:
        processes.end(run)
    assert not run.exists()


def test_writing_a_lease_leaves_no_file_beside_it(run: Path) -> None:
    processes.write_lease(run, DEAD)

    assert [file.name for file in run.iterdir()] == [processes.LEASE]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "started": 1, "kept": 0, "extra": {}}'])
def test_a_lease_that_cannot_be_read_is_none(run: Path, text: str) -> None:
    (run / processes.LEASE).write_text(text)

    assert processes.read_lease(run) is None


def test_a_reused_process_id_does_not_own_the_lease(run: Path) -> None:
    mine = Lease.of_this_process()

    assert mine.owner_alive
    assert not replace(mine, started=mine.started - 3600).owner_alive
    assert not DEAD.owner_alive


def test_the_abandoned_run_is_reaped_and_the_others_are_not(tmp_path: Path, run: Path) -> None:
    leases = {"dead": DEAD, "kept": replace(DEAD, kept=True), "alive": Lease.of_this_process()}
    for name, lease in leases.items():
        (tmp_path / f"rte-{name}").mkdir()
        processes.write_lease(tmp_path / f"rte-{name}", lease)
    (tmp_path / "rte-being-made").mkdir()
    (tmp_path / "rte-old").mkdir()
    os.utime(tmp_path / "rte-old", (1, 1))
    (tmp_path / "rte-link").symlink_to(tmp_path / "rte-dead")
    (tmp_path / "other").mkdir()

    reaped = processes.reap_abandoned([tmp_path])

    assert [folder.name for folder in reaped] == ["rte-dead", "rte-old"]
    assert {"rte-kept", "rte-alive", "rte-being-made", "other"} <= {folder.name for folder in tmp_path.iterdir()}


def test_reaping_kept_runs_needs_to_be_asked_for(tmp_path: Path) -> None:
    kept = tmp_path / "rte-kept"
    kept.mkdir()
    processes.write_lease(kept, replace(DEAD, kept=True))

    assert processes.reap_abandoned([tmp_path]) == ()
    assert processes.reap_abandoned([tmp_path], also_kept=True) == (kept,)


def test_a_kept_run_is_claimed_once_with_what_its_owner_left(run: Path) -> None:
    processes.write_lease(run, replace(DEAD, kept=True, extra={"token": "t"}))

    claimed = processes.claim(run)

    assert claimed is not None
    assert (claimed.pid, claimed.kept, claimed.extra) == (os.getpid(), False, {"token": "t"})
    assert processes.claim(run) is None
    assert processes.claim(run.with_name("gone")) is None


def test_a_run_that_nobody_kept_or_whose_owner_lives_is_not_claimed(run: Path) -> None:
    assert processes.claim(run) is None
    processes.keep(run)
    assert processes.claim(run) is None


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
        "from fixtures.system.processes import *\n"
        f"run = Path({str(run)!r})\n"
        "write_lease(run, Lease.of_this_process())\n"
        "watchdog = RunWatchdog(run, {'PATH': os.environ.get('PATH', ''), TAG: run.name})\n"
        f"print(watchdog.pid, flush=True)\n{code}"
    )
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def gone(path: Path, seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while path.exists() and time.monotonic() < until:
        time.sleep(0.05)
    return not path.exists()


def test_when_the_harness_is_killed_the_watchdog_ends_the_run_whatever_signals_it_gets(run: Path, start: Start) -> None:
    member = start(tag=run.name)
    harness = watchdog_of("time.sleep(60)", run)
    assert harness.stdout is not None
    watchdog = psutil.Process(int(harness.stdout.readline()))
    while watchdog.cwd() != "/":  # it has not yet set its handlers
        time.sleep(0.02)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        watchdog.send_signal(number)
    assert watchdog.pid not in {process.pid for process in processes.tagged(run)}

    harness.kill()
    harness.communicate()

    assert gone(run)
    assert member.wait(timeout=10) != 0


def test_the_watchdog_leaves_a_kept_run_alone(run: Path) -> None:
    harness = watchdog_of("keep(run); watchdog.dismiss(); print('dismissed')", run)
    printed, _ = harness.communicate(timeout=30)

    assert "dismissed" in printed
    assert json.loads((run / processes.LEASE).read_text())["kept"] is True
