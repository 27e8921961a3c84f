"""Verbs on a real embedded cluster, each in a process of its own: kept by one, seen and removed by another."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.system import processes
from fixtures.system.paths import IMAGE

COMMAND = """
import os, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits SIGINT ignored
place = Path(sys.argv[1])
sys.path[:0] = {paths!r}
from fixtures.cli.main import main
from fixtures.clusters.local.provider import LocalProvider
def make(settings, environ, kubeconfig):
    return LocalProvider(max(settings.workers), settings.cpus_per_worker, environ, places=[place])
sys.exit(main(sys.argv[2:], os.environ, make=make, root=place))
"""
"""Not `python -m fixtures`: that would find, and end, what the user of this machine has kept."""

pytestmark = pytest.mark.ray


class Desk:
    """Starts verbs that know no other place than one folder.

    Attributes:
        place: the folder.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        code = COMMAND.format(paths=[str(IMAGE.parent), str(IMAGE)])
        command = [sys.executable, "-c", code, str(self.place), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._started.append(process)
        return process

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run a verb, and return its exit code and standard output."""
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=150)
        print(errors, file=sys.stderr)
        return process.returncode, output

    @property
    def runs(self) -> list[Path]:
        return list(processes.runs([self.place]))

    def clear(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate(timeout=10)
        for run in self.runs:
            processes.end(run)


@pytest.fixture
def desk() -> Iterator[Desk]:
    folder = Path(tempfile.mkdtemp(prefix="e2v", dir="/tmp"))
    desk = Desk(folder)
    yield desk
    desk.clear()
    shutil.rmtree(folder)


def test_up_in_one_process_status_and_restart_in_others_and_down_leaves_nothing(desk: Desk) -> None:
    assert desk.run("status", "--workers=1")[0] == 1

    assert desk.run("up", "--workers=1")[0] == 0
    (run,) = desk.runs
    code, output = desk.run("status", "--workers=1", "--json")
    status = json.loads(output)
    assert code == 0
    assert status["whole"]
    assert desk.run("status", "--workers=2")[0] == 1, "it is too small for two"
    code, pages = desk.run("dashboard", "--workers=1", "--json")
    assert code == 0
    (page,) = json.loads(pages)
    assert page["address"] == status["dashboard"]
    code, logs = desk.run("logs", "raylet*", "gcs*", "--lines=3")
    assert code == 0
    assert "==> raylet.out <==" in logs
    assert page["token"] not in logs

    assert desk.run("restart", "--workers=1")[0] == 0
    (other,) = desk.runs
    assert other != run
    assert processes.tagged(run) == ()

    assert desk.run("up", "--workers=1")[0] == 0
    assert desk.runs == [other], "whoever comes next adopts it"

    assert desk.run("down") == (0, "local: removed\n")
    assert desk.runs == []
    assert processes.tagged(other) == ()
    assert desk.run("down") == (0, "local: there was nothing of ours\n")


def test_ctrl_c_in_the_middle_of_up_leaves_nothing(desk: Desk) -> None:
    process = desk.start("up", "--workers=1")
    until = time.monotonic() + 60
    while not desk.runs or len(processes.tagged(desk.runs[0])) < 6:
        assert time.monotonic() < until
        time.sleep(0.1)
    (run,) = desk.runs

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 2, errors
    assert desk.runs == []
    assert processes.tagged(run) == ()
