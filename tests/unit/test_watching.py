"""What people watch: the dashboards and how a browser gets in, the logs and what comes to them."""

import json
import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from fixtures.cli import dashboard, logs
from fixtures.clusters.contract import Dashboard
from fixtures.errors import InfraError, UsageError
from fixtures.system.ports import free_ports
from fixtures.system.waiting import wait_while

RAY = Dashboard("Ray", "http://127.0.0.1:8265", token="t0ken")
GRAFANA = Dashboard(
    "Grafana", "http://127.0.0.1:3000", user="admin", password="pass", forward="kubectl port-forward service/g 3000"
)


def test_the_dashboards_say_where_what_first_and_how_a_browser_gets_in() -> None:
    assert dashboard.as_text((RAY, GRAFANA)).splitlines() == [
        "Ray      http://127.0.0.1:8265",
        "         paste this token into the page when it asks: t0ken",
        "Grafana  http://127.0.0.1:3000",
        "         first run: kubectl port-forward service/g 3000",
        "         log in as admin with pass",
    ]
    first, _ = json.loads(dashboard.as_json((RAY, GRAFANA)))
    unknown = dict.fromkeys(("user", "password", "forward"), "")
    assert first == {"name": "Ray", "address": "http://127.0.0.1:8265", "token": "t0ken", **unknown}


@pytest.mark.parametrize(
    ("environ", "platform", "there"),
    [
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "linux", False),
        ({}, "darwin", True),
        ({"SSH_CONNECTION": "1", "DISPLAY": ":0"}, "linux", False),
        ({"SSH_CONNECTION": "1"}, "darwin", False),
    ],
)
def test_a_browser_opens_only_where_somebody_sits(environ: dict[str, str], platform: str, there: bool) -> None:
    assert dashboard.has_screen(environ, platform) is there


def test_every_page_is_tried_though_the_first_does_not_open() -> None:
    tried: list[str] = []

    def refuse(address: str) -> bool:
        tried.append(address)
        return False

    assert not dashboard.browse((RAY, GRAFANA), refuse)
    assert tried == [RAY.address, GRAFANA.address]


@pytest.fixture
def served(tmp_path: Path) -> Dashboard:
    """A page that a command leads to, which writes down its process id."""
    script = tmp_path / "forward.py"
    script.write_text(
        "import http.server, os, pathlib, sys\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_error(401)\n"
        "server = http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), H)\n"
        "pathlib.Path(sys.argv[2]).write_text(str(os.getpid()))\n"
        "server.serve_forever()\n"
    )
    (port,) = free_ports(1)
    command = f"{sys.executable} {script} {port} {tmp_path / 'pid'}"
    return Dashboard("Ray", f"http://127.0.0.1:{port}", forward=command)


def test_a_way_that_ends_is_opened_again_and_nothing_of_it_is_left(served: Dashboard, tmp_path: Path) -> None:
    lines: list[str] = []
    with dashboard.forward((served, RAY), {}, 20, lines.append):
        first = int((tmp_path / "pid").read_text())
        os.kill(first, signal.SIGKILL)
        assert wait_while(lambda: "" if lines else "a line about the outage", 20, every=0.02) == ""
        second = int((tmp_path / "pid").read_text())

    assert "no way to the page of Ray for " in lines[0]
    assert second != first
    assert not psutil.pid_exists(second)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("sleep 30", r"sleep 30 brings no page of Ray: ConnectionError at \S+"),
        ("/nowhere/kubectl port-forward", "/nowhere/kubectl cannot be started: "),
    ],
)
def test_a_way_that_leads_nowhere_is_an_error_with_the_command(served: Dashboard, command: str, why: str) -> None:
    page = replace(served, forward=command)

    with pytest.raises(InfraError, match=why), dashboard.forward((page,), {}, 0.3, print):
        pytest.fail("it started")


TEXTS = {"raylet.out": "one\ntwo\nthree\n", "gcs_server.out": "begun\n"}


def test_the_last_lines_of_each_log_stand_below_its_name() -> None:
    said: list[str] = []

    logs.show(TEXTS, 2, said.append)

    assert said == ["==> raylet.out <==", "two", "three", "", "==> gcs_server.out <==", "begun", ""]


def test_names_choose_logs_of_which_there_are_none_without_a_cluster() -> None:
    assert logs.choose(TEXTS, ["gcs*"]) == {"gcs_server.out": "begun\n"}
    assert logs.choose(TEXTS, []) == TEXTS
    inside = {"ray-logs-head.txt": "==> /tmp/ray/gcs_server.out <==\nbegun\n\n==> job-driver-1.log <==\nepoch 1\n"}
    assert logs.choose(inside, ["job-driver-*"]) == {"job-driver-1.log of ray-logs-head.txt": "epoch 1\n"}
    with pytest.raises(UsageError, match=re.escape("logs 'worker*': expected some of raylet.out, gcs_server.out.")):
        logs.choose(TEXTS, ["worker*"])
    with pytest.raises(InfraError, match=r"There are no logs: this suite has no cluster up\. Start one with `up`"):
        logs.choose({}, [])


@pytest.mark.parametrize(
    ("old", "new", "came"),
    [
        ("", "a\n", "a\n"),
        ("a\n", "a\nb\n", "b\n"),
        ("a\n", "a\n", ""),
        ("abcd", "cdef", "cdef"),
        ("x" * 500 + "end", "x" * 450 + "end" + "more", "more"),
        ("old", "another", "another"),
    ],
)
def test_what_was_added_is_found_although_beginnings_are_cut_off(old: str, new: str, came: str) -> None:
    assert logs.find_added(old, new) == came


def test_following_says_what_comes_and_to_which_log() -> None:
    lines: list[str] = []
    later = {**TEXTS, "raylet.out": "one\ntwo\nthree\nfour\n"}
    looks = iter([TEXTS, later, {**later, "worker.err": "new\n"}])

    with pytest.raises(StopIteration):
        logs.follow(lambda: next(looks), TEXTS, lines.append, lambda _: None)

    assert lines == ["==> raylet.out <==", "four", "==> worker.err <==", "new"]
