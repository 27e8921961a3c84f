"""The command line: its help, what it starts, what it prints, and what it refuses."""

import json
import re
import shlex
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.cli import main as command
from fixtures.clusters.contract import Problem
from fixtures.measure.workloads import Prepared
from fixtures.settings.settings import ALL_OPTIONS, build
from fixtures.system.paths import ROOT
from tests.unit.desk import WHOLE, Desk, fail
from trainer.workloads.facts import BUILT_IN, CNN_MNIST

Say = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", command.VERBS)
def test_the_help_of_a_verb_has_examples_and_every_option_of_the_suite(capsys: Say, name: str) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([name, "--help"], {})

    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"python -m fixtures {name}" in text.partition("examples:")[2]
    missing = [option.flag for option in ALL_OPTIONS if not re.search(rf"  {option.flag}[ \n]", text)]
    assert missing == [] or not command.VERBS[name].cluster


@pytest.mark.parametrize("example", [example for verb in command.VERBS.values() for example in verb.examples])
def test_the_examples_of_the_help_are_accepted(desk: Desk, example: str) -> None:
    given = command.make_parser().parse_args(shlex.split(example))
    if not command.VERBS[given.verb].cluster:
        return

    values = {option.dest: getattr(given, option.dest) for option in ALL_OPTIONS}
    assert build(values, {}, command.read_ini(desk.root)).cluster


def test_a_new_training_is_written_once_and_can_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Say
) -> None:
    monkeypatch.chdir(tmp_path)

    assert command.main(["workload", "new", "my net.py"], {}) == 0
    assert command.main(["workload", "new", "my net.py"], {}) == 4
    assert command.main(["workload", "new", "my_net"], {}) == 4

    said = capsys.readouterr()
    assert said.out == "my net.py is written; next: python -m fixtures workload check 'my net.py'\n"
    assert "'my net.py': expected a file that does not exist yet; nothing was written." in said.err
    assert "'my_net': expected the name of a new Python file such as my_net.py." in said.err
    assert build({"workload": "my net.py"}, {}).epochs == 3


def test_the_built_in_trainings_are_listed_with_their_data(capsys: Say) -> None:
    assert command.main(["workload", "list"], {}) == 0

    listed = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert listed == [[name, training.data] for name, training in BUILT_IN.items()]


def test_a_training_is_checked_for_the_worker_counts_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Say
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_net.py").touch()
    facts = replace(CNN_MNIST, name="my_net", split={"2": 4e-16, "4": 5e-16}, notes=("a note",))
    monkeypatch.setattr("fixtures.cli.workload.prepared", lambda *_: nullcontext(Prepared(facts)))

    assert command.main(["workload", "check", "my_net.py", "--workers=2,4"], {}) == 0

    lines = capsys.readouterr().out.splitlines()
    assert "4 workers  the gradients of their shares add up to the batch's, off by 5e-16" in lines
    assert lines[-1] == "2 and 4 workers would do the same work as one process."


@pytest.mark.parametrize(
    "words", [("check",), ("new",), ("check", "no_net.py"), ("check", "my_net"), ("delete", "x.py")]
)
def test_an_action_without_a_training_is_refused(words: tuple[str, ...], capsys: Say) -> None:
    try:
        code: object = command.main(["workload", *words], {})
    except SystemExit as ended:
        code = ended.code

    assert code == 4
    assert capsys.readouterr().err.startswith("ERROR: ")


def test_run_measures_on_the_cluster_that_is_up_and_keeps_it_unless_asked_otherwise(desk: Desk) -> None:
    desk.left(WHOLE)

    assert desk.run("run", "--workers=2,4", "--quick", "--kubeconfig=k") == 0

    assert desk.replaced[1:5] == ["-m", "pytest", "-m", "e2e"]
    assert desk.replaced[5:7] == [f"--rootdir={desk.root}", f"--config-file={desk.root}/pyproject.toml"]
    assert set(desk.replaced[7:-1]) == {"--keep=always", "--workers=2,4", "--quick", "--kubeconfig=k"}
    assert desk.replaced[-1] == f"{desk.root}/tests/e2e"
    desk.run("run", "--keep=never")
    assert [word for word in desk.replaced if word.startswith("--keep")] == ["--keep=always", "--keep=never"]


def test_dashboard_prints_where_it_is_and_how_a_browser_gets_in(desk: Desk, capsys: Say) -> None:
    desk.left(WHOLE)

    assert desk.run("dashboard", "--print") == 0
    assert capsys.readouterr().out == (
        "Ray  http://127.0.0.1:1\n     paste this token into the page when it asks: secret-of-the-fake\n"
    )
    assert desk.run("dashboard", "--token") == 0
    assert capsys.readouterr().out == "secret-of-the-fake\n"
    assert desk.run("dashboard", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["address"] == "http://127.0.0.1:1"
    assert desk.machine == WHOLE


def test_dashboard_opens_nothing_without_a_screen(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webbrowser.open", fail("a browser was opened"))
    desk.left(WHOLE)

    assert desk.run("dashboard", environ={"SSH_CONNECTION": "somewhere"}) == 0


def test_logs_prints_the_last_lines(desk: Desk, capsys: Say) -> None:
    desk.left(WHOLE)

    assert (desk.run("logs", "raylet*", "--lines=1"), desk.machine) == (0, WHOLE)
    assert capsys.readouterr().out == "==> raylet.out <==\nthree\n\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run",), 11, "There is no cluster to measure on: there is nothing Start one with `up` and the same options."),
        (("dashboard",), 11, "No cluster of --cluster=fake is up. Start one with `up`."),
        (("logs",), 11, "There are no logs"),
        (("doctor", "--workers=x"), 4, "--workers='x': expected counts"),
        (("logs", "--lines=0"), 4, "--lines='0': expected a whole number from 1 to 100,000."),
        (("prerequisites", "k9s"), 4, "prerequisites 'k9s': expected some of kubectl"),
    ],
)
def test_what_cannot_be_done_is_an_error(
    desk: Desk, capsys: Say, arguments: tuple[str, ...], code: int, message: str
) -> None:
    assert desk.run(*arguments) == code
    assert capsys.readouterr().err.startswith(f"ERROR: {message}")
    assert desk.replaced == []


def test_doctor_says_by_its_exit_code_whether_a_run_could_start(desk: Desk, capsys: Say) -> None:
    for name in ("constraints.txt", "pyproject.toml"):
        (desk.root / name).write_text((ROOT / name).read_text("utf-8"), "utf-8")
    (desk.root / "image").symlink_to(ROOT / "image")

    assert desk.run("doctor") == 0
    assert "ready for --cluster=local" in capsys.readouterr().out
    assert desk.run("doctor", "--json", problems=(Problem("No moon.", "Wait."),)) == 1
    assert json.loads(capsys.readouterr().out)["missing"] == [{"what": "No moon.", "remedy": "Wait."}]


def test_without_the_packages_one_sentence_says_how_to_install_them() -> None:
    bare = [sys.executable, "-S", "-m", "fixtures", "doctor"]  # -S: without site-packages

    done = subprocess.run(bare, check=False, cwd=ROOT, env={"PATH": ""}, capture_output=True, text=True, timeout=30)

    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"ERROR: \w+ is not installed for .*\. `make install` makes \.venv; .*\n", done.stderr)
