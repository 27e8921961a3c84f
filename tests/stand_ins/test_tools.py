"""Other people's programs: run with a deadline, read line by line, and never left running."""

import contextlib
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from fixtures.errors import InfraError
from fixtures.system.programs import WORDS, ProgramTimeoutError, Tool, last_words, shorten
from fixtures.system.waiting import wait_while

ENVIRON = {"PATH": "/usr/bin:/bin", "GREETING": "hello"}
SHELL = Tool("sh", ENVIRON)


def ended(pid: int) -> bool:
    def lives() -> str:
        with contextlib.suppress(psutil.NoSuchProcess):
            return "" if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE else f"process {pid}"
        return ""

    return not wait_while(lives, 2, every=0.01)


def child(place: Path) -> int:
    """Process id of the child that a shell wrote down, once it has."""
    assert not wait_while(lambda: "" if place.exists() and place.read_text().strip() else "a child", 2, every=0.01)
    return int(place.read_text())


def test_output_error_output_and_exit_code_come_back() -> None:
    done = SHELL.run("-c", "echo out; echo err >&2; exit 3", timeout=5, check=False)

    assert (done.code, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert done.last_words == "err"


def test_a_failure_names_program_arguments_code_and_last_words() -> None:
    with pytest.raises(InfraError, match=r"`sh -c 'echo first; .*'` ended with exit code 4: disk full\.") as failure:
        SHELL.run("-c", "echo first; echo disk full >&2; exit 4", timeout=5)

    assert failure.value.remedy


def test_a_program_that_is_not_on_path_is_said_with_its_remedy() -> None:
    tool = Tool("no-such-program", ENVIRON)

    assert tool.found() is None
    with pytest.raises(InfraError, match="no-such-program is not on PATH") as failure:
        tool.run("--version", timeout=5)
    assert "Install no-such-program" in failure.value.remedy


def test_it_sees_its_arguments_as_they_are_the_given_environment_and_the_extra_variables_only() -> None:
    tool = Tool("sh", ENVIRON, extra={"MORE": "yes"})

    assert tool.run("-c", 'echo "$GREETING $MORE [$HOME]"', timeout=5).stdout == "hello yes []\n"
    assert tool.run("-c", 'echo "$1"', "sh", "$(id) ; *", timeout=5).stdout == "$(id) ; *\n"


def test_there_is_nothing_to_read_from_standard_input() -> None:
    assert SHELL.run("-c", "cat", timeout=5).stdout == ""


@pytest.mark.parametrize(
    ("run", "first", "words"),
    [
        (SHELL.run, "echo working; ", "working"),
        (partial(SHELL.stream, on_line=lambda line: None), "", "it said nothing"),
    ],
)
def test_at_its_deadline_a_program_and_its_children_are_ended(
    tmp_path: Path, run: Callable[..., object], first: str, words: str
) -> None:
    with pytest.raises(ProgramTimeoutError, match=rf"did not end within 0 s and was ended: {words}\."):
        run("-c", f"{first}sleep 60 & echo $! > {tmp_path / 'pid'}; wait", timeout=0.2)

    assert ended(child(tmp_path / "pid"))


def test_ctrl_c_in_the_middle_of_a_stream_ends_the_program_and_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SHELL.stream("-c", f"sleep 60 & echo $! > {pid}; echo begun; wait", timeout=30, on_line=interrupt)

    assert ended(child(pid))


def test_lines_come_while_the_program_still_runs(tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    heard = []

    def hear(line: str) -> None:
        heard.append(line)
        if line == "ready":
            go.write_text("go\n")

    done = SHELL.stream("-c", f"echo ready; read -r word < {go}; echo got $word", timeout=5, on_line=hear)

    assert heard == ["ready", "got go"]
    assert (done.code, done.stdout) == (0, "ready\ngot go")


def test_error_output_is_drained_and_handed_over_on_request() -> None:
    heard: list[str] = []
    script = 'i=0; while [ $i -lt 3000 ]; do echo "line $i of the log" >&2; i=$((i+1)); done; echo done'

    done = SHELL.stream("-c", script, timeout=20, on_line=lambda line: None, on_error_line=heard.append)

    assert len(heard) == 3000
    assert done.stdout == "done"
    assert done.stderr.splitlines()[-1] == "line 2999 of the log"
    assert len(done.stderr.splitlines()) == 2000, "a long log is kept in part"


def test_a_grandchild_that_holds_the_output_open_does_not_hold_the_stream() -> None:
    began = time.monotonic()

    done = SHELL.stream("-c", "setsid sleep 3 & echo done", timeout=10, on_line=lambda line: None)

    assert done.stdout == "done"
    assert time.monotonic() - began < 2.5


def test_calls_that_run_together_each_read_the_file_from_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("layers")
    calls = [("-c", f"cat > {tmp_path}/{name}") for name in "ab"]
    done: list[int] = []

    SHELL.run_together(calls, timeout=5, stdin=tmp_path / "in", on_end=done.append)

    assert sorted(done) == [0, 1]
    assert [(tmp_path / name).read_text() for name in "ab"] == ["layers", "layers"]


def test_the_first_of_them_that_fails_is_named_and_the_others_are_ended(tmp_path: Path) -> None:
    (tmp_path / "in").touch()
    place = tmp_path / "child"
    failing = f"while [ ! -s {place} ]; do sleep 0.01; done; echo disk full >&2; exit 4"

    with pytest.raises(InfraError, match=r"exit code 4: disk full\."):
        SHELL.run_together(
            [("-c", f"echo $$ > {place}; sleep 600"), ("-c", failing)],
            timeout=5,
            stdin=tmp_path / "in",
            on_end=lambda index: pytest.fail(f"{index} did not end well"),
        )

    assert ended(child(place))


def test_at_the_deadline_and_at_ctrl_c_all_of_them_are_ended(tmp_path: Path) -> None:
    (tmp_path / "in").touch()

    def interrupt(index: int) -> None:
        raise KeyboardInterrupt

    for first, raised in (("echo so far; sleep 600", ProgramTimeoutError), ("true", KeyboardInterrupt)):
        place = tmp_path / raised.__name__
        with pytest.raises(raised):
            SHELL.run_together(
                [("-c", first), ("-c", f"echo $$ > {place}; sleep 600")],
                timeout=0.5,
                stdin=tmp_path / "in",
                on_end=interrupt,
            )
        living = (each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE)
        assert not any(str(place) in " ".join(each.cmdline()) for each in living)


def test_last_words_are_those_of_the_first_text_that_has_any_and_what_is_cut_is_in_the_middle() -> None:
    text = shorten("cause: " + "this and that, " * 500 + "no such host")

    assert len(text) <= WORDS
    assert (text[:11], text[-12:]) == ("cause: this", "no such host")
    assert set(text.split()) == {"cause:", "this", "and", "that,", "...", "no", "such", "host"}, "no word is cut"
    assert WORDS - 1 <= len(shorten("x" * 5000)) <= WORDS
    assert (last_words(" \n", "a\nb\n\n"), last_words("", "")) == ("b", "it said nothing")
