"""What a trial tells its monitor: the same from both sides, between epochs, and never in the way."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from trainer.exporter import LINGER_SECONDS, RANK_FIGURES, TRIAL_FIGURES, Figures, serve
from trainer.telemetry import Busy, Telemetry, Throttling, rank_figures

IMAGE = Path(__file__).parents[2] / "image"
EPOCH = {"phase": "train", "epoch": 1, "epochs": 2, "loss": 0.25, "images_per_second": 6400.0, "accuracy": None}


class Listener:
    def __init__(self) -> None:
        self.channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.channel.bind(("127.0.0.1", 0))
        self.channel.settimeout(5)
        self.address = f"127.0.0.1:{self.channel.getsockname()[1]}"

    def heard(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.channel.recv(65_536))
        return found

    def silent(self) -> bool:
        self.channel.setblocking(False)
        try:
            self.channel.recv(1)
        except BlockingIOError:
            return True
        return False


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()
    yield found
    found.channel.close()


def test_without_an_address_progress_is_the_function_that_it_was() -> None:
    assert Telemetry("", "").of_rank(0, 1, 128, print) is print
    Telemetry("", "").send("begin")  # opens nothing


def test_an_epoch_is_shown_first_and_then_sent_with_the_rank_s_own_figures(listener: Listener) -> None:
    events: list[Mapping[str, object]] = []
    progress = Telemetry(listener.address, "round 3, 2 workers").of_rank(1, 2, 128, events.append)
    progress({"phase": "build"})
    progress({**EPOCH, "seconds": 9.36, "all_reduce_seconds": 2.34})

    assert [event["phase"] for event in events] == ["build", "train"]
    sent = listener.heard()
    assert (sent["event"], sent["trial"], sent["rank"]) == ("epoch", "round 3, 2 workers", 1)
    assert (sent["images_per_second"], sent["step_seconds"]) == (3200.0, 0.02)
    assert sent["all_reduce_share"] == pytest.approx(0.25)
    assert listener.silent(), "only epochs are sent"
    assert rank_figures(EPOCH, 1, 128)["all_reduce_share"] is None, "what nobody timed is missing, and not zero"


def test_baseline_and_workers_send_the_same_fields(listener: Listener) -> None:
    sent = []
    for rank, world_size in ((0, 1), (1, 2)):
        Telemetry(listener.address, "t").of_rank(rank, world_size, 128, lambda _: None)(EPOCH)
        sent.append(listener.heard())

    assert sent[0].keys() == sent[1].keys()
    assert set(RANK_FIGURES) <= sent[0].keys()


@pytest.mark.parametrize("address", ["127.0.0.1:9", "no.such.host.invalid:1234"])
def test_nobody_who_listens_is_no_error(address: str) -> None:
    Telemetry(address, "t").send("begin", workers=0)


def test_the_baseline_imports_no_ray_to_tell_of_its_epochs() -> None:
    code = "import sys, trainer.telemetry; sys.exit(bool({'ray', 'tensorflow'} & set(sys.modules)))"
    environ = {**os.environ, "PYTHONPATH": str(IMAGE)}

    assert subprocess.run([sys.executable, "-c", code], env=environ, timeout=60, check=False).returncode == 0


def test_throttling_is_the_share_of_the_periods_since_the_last_question(tmp_path: Path) -> None:
    assert Throttling(tmp_path).share() is None, "there is no quota"
    stat = tmp_path / "sys/fs/cgroup/cpu.stat"
    stat.parent.mkdir(parents=True)
    stat.write_text("usage_usec 5\nnr_periods 100\nnr_throttled 10\n")
    throttling = Throttling(tmp_path)
    stat.write_text("usage_usec 9\nnr_periods 300\nnr_throttled 60\n")

    assert throttling.share() == pytest.approx(0.25)
    assert throttling.share() is None, "no period has passed"


def test_cpus_are_the_cpu_seconds_of_each_second() -> None:
    clock, cpu = iter([10.0, 14.0]), iter([1.0, 3.0])

    assert Busy(lambda: next(clock), lambda: next(cpu)).cpus() == pytest.approx(0.5)


def datagram(event: str, trial: str, at: float, **more: object) -> bytes:
    return json.dumps({"event": event, "trial": trial, "at": at, **more}).encode()


def reported(figures: Figures, now: float) -> dict[tuple[str, str, str], float]:
    found: dict[tuple[str, str, str], float] = {}
    figures.report(lambda name, value, tags: found.update({(name, tags["trial"], tags.get("rank", "")): value}), now)
    return found


def test_a_running_trial_is_reported_with_the_last_epoch_of_each_rank() -> None:
    figures = Figures()
    figures.take(datagram("begin", "a", 100.0, workers=2))
    figures.take(datagram("epoch", "a", 105.0, rank=0, loss=0.5, accuracy=None))
    figures.take(datagram("epoch", "a", 110.0, rank=0, loss=0.3, accuracy=0.9))
    figures.take(datagram("epoch", "a", 109.0, rank=1, loss=0.4))

    assert reported(figures, 111.0) == {
        ("e2e_trial_start_time_seconds", "a", ""): 100.0,
        ("e2e_trial_running", "a", ""): 1.0,
        ("e2e_trial_workers", "a", ""): 2.0,
        ("e2e_trial_progress_time_seconds", "a", ""): 110.0,
        ("e2e_loss", "a", "0"): 0.3,
        ("e2e_accuracy", "a", "0"): 0.9,
        ("e2e_loss", "a", "1"): 0.4,
    }


def test_a_trial_that_ended_or_was_killed_before_the_next_lingers_and_is_then_forgotten() -> None:
    figures = Figures()
    figures.take(datagram("begin", "killed", 70.0, workers=2))
    figures.take(datagram("begin", "a", 100.0, workers=0))
    figures.take(datagram("end", "a", 120.0))

    ended = reported(figures, 100.0 + LINGER_SECONDS - 1)
    assert ended["e2e_trial_end_time_seconds", "killed", ""] == 100.0
    assert ended["e2e_trial_end_time_seconds", "a", ""] == 120.0
    assert ended["e2e_trial_running", "a", ""] == 0.0
    assert not any("workers" in name or "progress" in name for name, *_ in ended)
    assert reported(figures, 120.0 + LINGER_SECONDS) == {}


def test_what_is_not_ours_is_left_alone() -> None:
    figures = Figures()

    for received in (
        b"",
        b"\xff\xfe",
        b"[" * 60_000,
        b"[]",
        b"null",
        b'{"event": "begin"}',
        datagram("begin", "a", 1.0),
    ):
        assert not figures.take(received)
    assert not figures.take(datagram("epoch", "b", 1.0, rank=0))
    assert reported(figures, 1.0) == {}


def test_the_listener_reports_what_it_heard_at_once(listener: Listener) -> None:
    found: dict[str, float] = {}
    serving = serve(listener.channel, lambda name, value, tags: found.update({name: value}), clock=lambda: 100.0)
    Telemetry(listener.address, "a").send("begin", workers=2)
    next(serving)

    assert found["e2e_trial_workers"] == 2.0
    assert set(found) <= {f"e2e_{name}" for name in TRIAL_FIGURES}
