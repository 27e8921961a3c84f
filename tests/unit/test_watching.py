"""What people watch: the dashboards and how a browser gets in, the logs and what comes to them."""

from __future__ import annotations

import http.server
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.cli import dashboard, logs
from fixtures.cli.dashboard import Forwards
from fixtures.clusters.contract import Dashboard
from fixtures.errors import InfraError, UsageError

RAY = Dashboard("Ray", "http://127.0.0.1:8265", token="t0ken")
GRAFANA = Dashboard(
    "Grafana", "http://127.0.0.1:3000", user="admin", password="pass", forward="kubectl port-forward service/g 3000"
)


def test_the_dashboards_as_text_say_where_what_first_and_how_a_browser_gets_in() -> None:
    assert dashboard.as_text((RAY, GRAFANA)).splitlines() == [
        "Ray      http://127.0.0.1:8265",
        "         paste this token into the page when it asks: t0ken",
        "Grafana  http://127.0.0.1:3000",
        "         first run: kubectl port-forward service/g 3000",
        "         log in as admin with pass",
    ]


def test_the_dashboards_as_json_are_a_list_with_all_that_a_script_needs() -> None:
    first, _ = json.loads(dashboard.as_json((RAY, GRAFANA)))

    assert first == {
        "name": "Ray",
        "address": "http://127.0.0.1:8265",
        "token": "t0ken",
        "user": "",
        "password": "",
        "forward": "",
    }


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
def free_port() -> int:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        return int(server.server_address[1])


@pytest.fixture
def served(free_port: int, tmp_path: Path) -> Dashboard:
    """A page that a command leads to."""
    script = tmp_path / "forward.py"
    script.write_text(
        "import http.server, sys\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_error(401)\n"
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()\n"
    )
    return Dashboard("Ray", f"http://127.0.0.1:{free_port}", forward=f"{sys.executable} {script} {free_port}")


def test_a_way_that_ends_is_opened_again_and_nothing_of_it_is_left(served: Dashboard) -> None:
    said: list[str] = []
    with Forwards((served, RAY), {}, said.append) as ways:
        ways.await_pages(20)
        ways._running[served.forward].kill()
        ways._running[served.forward].wait()
        ways.await_pages(20)
        process = ways._running[served.forward]

    assert said == ["the way to Ray has ended (exit code -9); going on"]
    assert process.poll() is not None


def test_a_way_that_leads_nowhere_is_an_error_with_the_command_to_try(free_port: int) -> None:
    page = Dashboard("Ray", f"http://127.0.0.1:{free_port}", forward="sleep 30")

    with (
        Forwards((page,), {"PATH": "/usr/bin:/bin"}, print) as ways,
        pytest.raises(
            InfraError, match=r"Ray does not answer at \S+ within 0 s\. Run it by hand to see more: sleep 30"
        ),
    ):
        ways.await_pages(0.3, lambda _: None)

    assert ways._running["sleep 30"].poll() is not None


def test_a_way_whose_program_is_missing_is_an_error() -> None:
    page = Dashboard("Ray", "http://127.0.0.1:1", forward="/nowhere/kubectl port-forward")

    with pytest.raises(InfraError, match="/nowhere/kubectl cannot be started: "), Forwards((page,), {}, print):
        pytest.fail("it started")


TEXTS = {"raylet.out": "one\ntwo\nthree\n", "gcs_server.out": "begun\n"}


def test_the_last_lines_of_each_log_stand_below_its_name() -> None:
    said: list[str] = []

    logs.show(TEXTS, 2, said.append)

    assert said == ["==> raylet.out <==", "two", "three", "", "==> gcs_server.out <==", "begun", ""]


def test_names_choose_logs() -> None:
    assert logs.chosen(TEXTS, ["gcs*"]) == {"gcs_server.out": "begun\n"}
    assert logs.chosen(TEXTS, []) == TEXTS
    with pytest.raises(UsageError, match=re.escape("logs 'worker*': expected some of raylet.out, gcs_server.out.")):
        logs.chosen(TEXTS, ["worker*"])


def test_without_a_cluster_there_are_no_logs() -> None:
    with pytest.raises(InfraError, match=r"There are no logs: no cluster of ours is up\. `up` brings one up"):
        logs.chosen({}, [])


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
    assert logs.added(old, new) == came


def test_following_says_what_comes_and_to_which_log() -> None:
    said: list[str] = []
    later = {**TEXTS, "raylet.out": "one\ntwo\nthree\nfour\n"}
    looks: Iterator[dict[str, str]] = iter([TEXTS, later, {**later, "worker.err": "new\n"}])

    def look() -> dict[str, str]:
        try:
            return next(looks)
        except StopIteration:
            raise KeyboardInterrupt from None

    with pytest.raises(KeyboardInterrupt):
        logs.follow(look, TEXTS, said.append, lambda _: None)

    assert said == ["==> raylet.out <==", "four", "==> worker.err <==", "new"]
