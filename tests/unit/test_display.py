"""What a person sees: a live line on a terminal, plain lines in a log."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from fixtures.measure.display import CLEAR, Display, describe


class Screen:
    """A display on a clock that only the test moves."""

    def __init__(self, *, live: bool, width: int = 110) -> None:
        self.now, self.written = 0.0, ""
        self.display = Display(self._write, live=live, width=lambda: width, clock=self._clock)

    def _write(self, text: str) -> None:
        self.written += text

    def _clock(self) -> float:
        return self.now

    def say(self, **event: object) -> None:
        self.display.job_line(f"(worker pid=7) TRIAL-PROGRESS {json.dumps(event)}")

    @property
    def last(self) -> str:
        """What a terminal shows in its last line."""
        return self.written.split(CLEAR)[-1]


def test_a_live_line_shows_round_configuration_epoch_loss_speed_elapsed_and_expected_time() -> None:
    screen = Screen(live=True)
    screen.now = 65.0
    screen.display.begin("round 2/3", "2 workers", expected=20.0)
    screen.now = 70.0
    screen.say(phase="train", epoch=1, epochs=3, loss=0.09123, images_per_second=8123.4, accuracy=0.98634)

    assert screen.last == (
        "[1:10] round 2/3  2 workers  epoch 1/3  loss 0.0912  8,123 samples/s  accuracy 0.9863  (about 0:15 left)"
    )


def test_a_live_line_is_overwritten_and_one_that_stays_ends_it() -> None:
    screen = Screen(live=True)
    screen.display.end()
    assert screen.written == "", "no trial was shown"
    screen.display.begin("accuracy 1/2", "baseline", expected=None)
    screen.say(phase="build")
    screen.now = 12.4
    screen.display.end()

    assert screen.written.split(CLEAR)[1:] == [
        "[0:00] accuracy 1/2  baseline  submitted",
        "[0:00] accuracy 1/2  baseline  building the graph",
        "[0:12] accuracy 1/2  baseline  building the graph  (12 s)\n",
    ]


def test_a_live_line_never_wraps() -> None:
    screen = Screen(live=True, width=40)
    screen.display.begin("accuracy 1/2", "baseline", expected=100.0)
    screen.say(phase="train", epoch=1, epochs=3, loss=0.5, images_per_second=8000.0)

    assert len(screen.last) < 40


SHOWN_BY_PYTEST = """
def test_live(display):
    display.begin("round 1/3", "2 workers" * 20, expected=None)
    display.end()
"""
PLUGINS = 'pytest_plugins = ["fixtures.plugin.options", "fixtures.plugin.suite"]'


def show_by_pytest(folder: Path, output: int) -> None:
    """Run pytest, which captures, on a test that shows a long live line."""
    (folder / "conftest.py").write_text(PLUGINS)
    (folder / "test_live.py").write_text(SHOWN_BY_PYTEST)
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", str(folder)]
    subprocess.run(
        command,
        stdout=output,
        stderr=output,
        env={**environ, "FORCE_COLOR": "1", "TERM": "xterm"},
        timeout=60,
        check=True,
    )


def test_under_pytests_capture_a_live_line_is_as_wide_as_the_terminal(tmp_path: Path) -> None:
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))

    show_by_pytest(tmp_path, terminal)

    shown = os.read(ours, 100_000).decode()
    assert len(shown.partition(CLEAR)[2].partition(CLEAR)[0]) == 119


def test_a_file_gets_plain_lines_whatever_colours_are_forced(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+") as log:
        show_by_pytest(tmp_path, log.fileno())
        log.seek(0)
        shown = log.read()

    assert "1 passed" in shown
    assert CLEAR not in shown


def test_a_log_has_one_plain_line_per_epoch_and_no_control_characters() -> None:
    screen = Screen(live=False)
    screen.display.line("Ray is up")
    screen.display.begin("accuracy 1/2", "baseline", expected=None)
    screen.say(phase="build")
    screen.say(phase="train", epoch=1, epochs=2, loss=0.5, images_per_second=8000.0, accuracy=None)
    screen.say(phase="train", epoch=1, epochs=2, loss=0.5, images_per_second=8000.0, accuracy=None)
    screen.display.end()

    assert screen.written.splitlines() == [
        "[0:00] Ray is up",
        "[0:00] accuracy 1/2  baseline  epoch 1/2  loss 0.5000  8,000 samples/s",
    ]


def test_lines_of_the_job_that_are_no_events_are_not_for_people() -> None:
    screen = Screen(live=False)
    screen.display.begin("accuracy 1/2", "baseline", expected=None)
    screen.display.job_line("WARNING: something of a library")
    screen.display.end()
    screen.say(phase="train", epoch=1, epochs=2)

    assert screen.written == ""


def test_a_trial_that_takes_longer_than_expected_has_nothing_left_and_not_less() -> None:
    screen = Screen(live=True)
    screen.display.begin("round 1/3", "baseline", expected=5.0)
    screen.now = 60.0
    screen.display.tick()

    assert screen.last.endswith("(about 0:00 left)")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"phase": "import"}, "starting Python"),
        ({"phase": "probe"}, "comparing gradients"),
        ({"phase": "epoch"}, "training the first epoch"),
        ({"phase": "something new"}, "something new"),
        ({"phase": "train", "copies": 2}, "training"),
        ({"epoch": 2, "epochs": 3, "loss": None, "images_per_second": None}, "epoch 2/3"),
    ],
)
def test_every_event_has_words(event: dict[str, object], text: str) -> None:
    assert describe(event) == text


def test_two_threads_do_not_write_at_once() -> None:
    writing: list[str] = []
    overlaps: list[str] = []

    def write(text: str) -> None:
        writing.append(text)
        time.sleep(0.002)
        overlaps.extend(writing[1:])
        writing.remove(text)

    display = Display(write, live=False)
    threads = [threading.Thread(target=display.line, args=(f"line {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert overlaps == []
