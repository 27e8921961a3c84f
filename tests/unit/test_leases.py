"""Whose a folder is: said by a lock, never by a clock or a process id."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fixtures.system.leases import LEASE, Lease, Ownership, claim, is_owned, keep, read_lease, write_lease
from fixtures.system.paths import ROOT

HOLD = """
import sys, time
from pathlib import Path
from fixtures.system.leases import Lease, Ownership, write_lease
folder = Path(sys.argv[1])
ownership = Ownership.take(folder)
write_lease(folder, Lease.of_this_process({"token": "t"}))
print(1, flush=True)
time.sleep(60)
"""

Owner = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    """Starts processes that own `tmp_path`, and ends them after the test."""
    with ExitStack() as ends:

        def start(*before: str) -> subprocess.Popen[str]:
            command = [*before, sys.executable, "-c", HOLD, str(tmp_path)]
            environ = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'image'}"}
            child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
            ends.enter_context(child)
            ends.callback(child.kill)
            assert child.stdout is not None
            assert child.stdout.readline(), "the owner did not start"
            return child

        yield start


def test_an_owner_that_is_killed_owns_nothing_any_more(owner: Owner, tmp_path: Path) -> None:
    process = owner()
    assert is_owned(tmp_path)
    assert Ownership.take(tmp_path) is None

    process.kill()
    process.wait(5)

    assert not is_owned(tmp_path)
    assert Ownership.take(tmp_path) is not None


def test_an_owner_whose_process_id_says_nothing_here_is_alive(owner: Owner, tmp_path: Path) -> None:
    owner()
    write_lease(tmp_path, Lease(2**22 - 1))  # as another container that shares the folder would write it

    assert is_owned(tmp_path)
    assert claim(tmp_path) is None


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs root to make a PID namespace")
def test_an_owner_in_another_pid_namespace_is_alive(owner: Owner, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "--pid", "--fork", "true"], check=False, timeout=10).returncode:
        pytest.skip("no PID namespace can be made here")
    owner("unshare", "--pid", "--fork", "--kill-child")

    lease = read_lease(tmp_path)
    assert lease is not None
    assert lease.pid < 10, "it counts its own process ids"
    assert is_owned(tmp_path)


def test_children_of_the_owner_do_not_hold_the_folder(tmp_path: Path) -> None:
    ownership = Ownership.take(tmp_path)
    assert ownership is not None
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE):
        ownership.release()
        ownership.release()

        assert not is_owned(tmp_path)


def test_what_was_kept_is_claimed_once_its_owner_has_ended(owner: Owner, tmp_path: Path) -> None:
    process = owner()
    assert claim(tmp_path) is None, "nobody kept it"
    keep(tmp_path)
    assert claim(tmp_path) is None, "its owner lives"
    process.kill()
    process.wait(5)

    claimed = claim(tmp_path)

    assert claimed is not None
    assert read_lease(tmp_path) == Lease.of_this_process({"token": "t"})
    assert claim(tmp_path) is None
    assert claim(tmp_path / "gone") is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "kept": true, "extra": {}}', '{"pid": 1e999}', "[" * 100_000]
)
def test_a_lease_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / LEASE).write_text(text)

    assert read_lease(tmp_path) is None


def test_a_lease_says_whose_the_folder_is() -> None:
    assert Lease(7).describe(owned=True) == "in use by process 7"
    assert Lease(7).describe(owned=False) == "left by a run that was killed"
    assert Lease(7, kept=True).describe(owned=True) == "kept, free once process 7 has ended"
    assert Lease(7, kept=True).describe(owned=False) == "kept"
