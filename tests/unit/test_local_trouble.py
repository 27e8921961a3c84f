"""What this machine knows about an embedded cluster's trouble before Ray does. No Ray."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from fixtures.clusters import ray_state
from fixtures.clusters.local.daemons import explain_full_disk, explain_gone, explain_stopped, find_daemons, find_missing
from fixtures.clusters.ray_state import NodeState, ask_nodes
from fixtures.system.resources import MIB
from fixtures.system.waiting import wait_while


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """A run directory in which programs sleep that are called as Ray's are."""
    with ExitStack() as ends:
        for name, arguments in (
            ("raylet", ["--node-name=worker-2"]),
            ("gcs_server", []),
            ("python", ["/x/ray/dashboard/dashboard.py"]),
            ("agent", []),
        ):
            program = tmp_path / name
            program.symlink_to(sys.executable)
            command = [str(program), "-S", "-c", "import time; print(1, flush=True); time.sleep(60)", *arguments]
            child = ends.enter_context(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE))
            ends.callback(child.kill)
            assert child.stdout is not None
            assert child.stdout.readline()
        yield tmp_path


def test_the_processes_that_a_cluster_needs_are_known_and_named_as_soon_as_one_is_gone(run: Path) -> None:
    daemons = find_daemons(run)

    assert sorted(daemons.values()) == ["the GCS of the head", "the dashboard of the head", "the raylet of worker-2"]
    assert explain_gone(daemons) == ""
    raylet = next(daemon for daemon, what in daemons.items() if "raylet" in what)
    raylet.kill()
    wait_while(lambda: "" if raylet.status() == psutil.STATUS_ZOMBIE else "it runs", 5, every=0.01)
    lost = f"Ray lost a process that it needs: the raylet of worker-2 (process {raylet.pid})."
    assert explain_gone(daemons) == lost, "nobody has noticed its end yet"


def test_a_kept_cluster_without_one_of_its_processes_is_not_whole_whatever_ray_still_lists(run: Path) -> None:
    daemons = find_daemons(run)

    assert find_missing(daemons, ["worker-2"]) == {"the raylet of head"}
    assert find_missing({**daemons, psutil.Process(): "the raylet of head"}, ["worker-2"]) == set()
    assert find_missing({}, ["worker-1"]) >= {"the raylet of worker-1", "the GCS of the head"}


def test_a_process_that_is_stopped_is_named_with_how_to_go_on(run: Path) -> None:
    gcs = next(daemon for daemon, what in find_daemons(run).items() if "GCS" in what)
    assert explain_stopped(run) == ""

    os.kill(gcs.pid, signal.SIGSTOP)
    wait_while(lambda: "" if gcs.status() == psutil.STATUS_STOPPED else "it runs", 5, every=0.01)

    assert f"{gcs.pid}) is stopped by a signal; `kill -CONT {gcs.pid}` lets it go on." in explain_stopped(run)


@pytest.mark.parametrize(
    ("blocks", "files", "all_files", "cause"),
    [
        (100 * MIB, 9, 9, ""),
        (100 * MIB, 0, 0, ""),
        (3 * MIB, 9, 9, "full (3 MiB and 9 files are free): make room there, or set TMPDIR"),
        (100 * MIB, 0, 9, "full (100 MiB and 0 files are free)"),
    ],
)
def test_a_disk_without_room_for_logs_or_files_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int, files: int, all_files: int, cause: str
) -> None:
    disk = SimpleNamespace(f_bavail=blocks, f_frsize=1, f_favail=files, f_files=all_files)
    monkeypatch.setattr(os, "statvfs", lambda path: disk)

    full = explain_full_disk(tmp_path / "rte-1")

    assert cause in full
    assert full.startswith(f"The disk of {tmp_path} is full" if cause else "")
    assert bool(full) == bool(cause)


def test_a_dashboard_that_does_not_answer_once_is_asked_again_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [None, {"head": NodeState("ALIVE", 0)}]
    monkeypatch.setattr(ray_state, "node_states", lambda dashboard, token: answers.pop(0) if answers else None)

    assert ask_nodes("http://127.0.0.1:1", "token", 5) == {"head": NodeState("ALIVE", 0)}
    assert ask_nodes("http://127.0.0.1:1", "token", 0) is None
