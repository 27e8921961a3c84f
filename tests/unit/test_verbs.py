"""What people do with a cluster by hand, on the fake provider: each verb is a process of its own."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fixtures import verbs
from fixtures.cluster import Problem
from fixtures.errors import Infra
from fixtures.hand import main as command
from fixtures.settings import ALL_OPTIONS, Settings, build
from tests.contract.fake import FakeMachine, FakeProvider

WHOLE = FakeMachine(nodes=True, running=True, ray=True, kept=True)
STOPPED = FakeMachine(nodes=True, kept=True)


class Desk:
    """Runs verbs one after the other on one machine.

    Attributes:
        machine: what outlives each of them.
        settings: those of the last one.
        replaced: the command that took its place.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.machine = FakeMachine()
        self.settings = Settings()
        self.replaced: list[str] = []

    def run(self, *arguments: str, environ: Mapping[str, str] | None = None, **fake: Any) -> int:
        def make(settings: Settings, environ: Mapping[str, str], kubeconfig: Path | None) -> FakeProvider:
            self.settings = settings
            return FakeProvider(max(settings.workers), settings.cpus_per_worker, machine=self.machine, **fake)

        def replace(program: str, words: list[str], environ: dict[str, str]) -> None:
            self.replaced = words

        return command.main(arguments, environ or {}, make=make, root=self.root, replace=replace)

    def left(self, machine: FakeMachine) -> None:
        """What an earlier process left."""
        self.machine = FakeMachine(machine.nodes, machine.running, machine.ray, machine.kept)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


Say = pytest.CaptureFixture[str]


def test_up_keeps_the_cluster_and_says_what_is_there(desk: Desk, capsys: Say) -> None:
    assert desk.run("up", "--workers=2,4") == 0

    assert desk.machine == WHOLE
    assert max(desk.settings.workers) == 4
    said = capsys.readouterr()
    assert "whole      yes" in said.out
    assert [line.split("s  ")[1] for line in said.err.splitlines()] == ["starting nothing", "loading nothing"]


def test_up_again_is_no_harm(desk: Desk) -> None:
    assert [desk.run("up"), desk.run("up")] == [0, 0]
    assert desk.machine == WHOLE


def test_what_is_missing_ends_up_before_anything_is_made(desk: Desk, capsys: Say) -> None:
    problem = Problem("minikube is not on PATH.", "Install it.")

    assert desk.run("up", problems=(problem,)) == 11

    assert desk.machine == FakeMachine()
    assert capsys.readouterr().err == "ERROR: minikube is not on PATH. Install it.\n"


def test_an_up_that_fails_says_why_on_one_line_leaves_evidence_and_nothing_else(desk: Desk, capsys: Say) -> None:
    assert desk.run("up", fails="The image is\nmissing.") == 11

    assert desk.machine == FakeMachine()
    assert (desk.root / "reports/evidence/fake.log").exists()
    assert capsys.readouterr().err.splitlines()[-1] == "ERROR: The image is missing. Give the fake no failure."


def test_the_evidence_of_an_earlier_failure_is_gone_after_an_up_that_is_well(desk: Desk) -> None:
    desk.run("up", fails="No.")

    assert desk.run("up") == 0
    assert not (desk.root / "reports/evidence").exists()


@pytest.mark.parametrize("how", [{"fails": "No."}, {"interrupted": True}])
def test_an_up_that_ends_early_leaves_what_was_there_before_as_it_was(desk: Desk, how: dict[str, Any]) -> None:
    desk.left(WHOLE)

    assert desk.run("up", **how) == (2 if "interrupted" in how else 11)

    assert desk.machine == WHOLE


def test_ctrl_c_removes_what_was_half_made(desk: Desk, capsys: Say) -> None:
    assert desk.run("up", interrupted=True) == 2

    assert desk.machine == FakeMachine()
    assert "taking back what was made" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keep", "how", "kept"),
    [
        ("on-failure", {"fails": "No."}, True),
        ("always", {"fails": "No."}, True),
        ("always", {"interrupted": True}, True),
        ("on-failure", {"interrupted": True}, False),
        ("never", {"fails": "No."}, False),
    ],
)
def test_keep_says_whether_what_failed_to_come_up_stays_to_be_looked_at(
    desk: Desk, keep: str, how: dict[str, Any], kept: bool
) -> None:
    desk.run("up", f"--keep={keep}", **how)

    assert (desk.machine.nodes, desk.machine.kept) == (kept, kept)


def test_status_says_by_its_exit_code_whether_a_run_could_begin_and_changes_nothing(desk: Desk, capsys: Say) -> None:
    assert desk.run("status") == 1
    assert "whole      no: there is nothing" in capsys.readouterr().out
    assert desk.machine == FakeMachine()

    desk.left(WHOLE)
    assert desk.run("status") == 0
    assert desk.machine == WHOLE


def test_status_as_json_is_one_object_and_nothing_else(desk: Desk, capsys: Say) -> None:
    desk.left(STOPPED)

    assert desk.run("status", "--json") == 1

    assert json.loads(capsys.readouterr().out) == {
        "cluster": "fake",
        "whole": False,
        "missing": "no Ray runs",
        "dashboard": "",
        "parts": {"machine": str(STOPPED)},
    }


def test_restart_makes_ray_anew_on_the_nodes_that_are_there(desk: Desk) -> None:
    desk.left(WHOLE)

    assert desk.run("restart") == 0

    assert desk.machine == WHOLE


def test_restart_without_a_cluster_is_up(desk: Desk, capsys: Say) -> None:
    assert desk.run("restart") == 0

    assert desk.machine == WHOLE
    assert "there is no cluster of ours yet" in capsys.readouterr().err


def test_a_restart_that_is_interrupted_keeps_the_nodes(desk: Desk) -> None:
    desk.left(WHOLE)

    assert desk.run("restart", interrupted=True) == 2

    assert (desk.machine.nodes, desk.machine.kept) == (True, True)


def test_stop_keeps_the_nodes_and_start_brings_ray_back(desk: Desk) -> None:
    desk.left(WHOLE)

    assert desk.run("stop") == 0
    assert desk.machine == STOPPED
    assert desk.run("start") == 0
    assert desk.machine == WHOLE


def test_there_is_nothing_to_stop_without_a_cluster(desk: Desk, capsys: Say) -> None:
    assert desk.run("stop") == 11
    assert capsys.readouterr().err == "ERROR: There is no cluster of ours to stop. `up` makes one.\n"


@pytest.mark.parametrize("verb", ["stop", "start"])
def test_what_cannot_be_stopped_is_refused_in_one_sentence_before_it_is_touched(
    desk: Desk, capsys: Say, verb: str
) -> None:
    desk.left(WHOLE)

    assert desk.run(verb, unstoppable="its nodes are processes") == 4

    assert capsys.readouterr().err == (
        f"ERROR: {verb} is not for --cluster=fake: its nodes are processes; use down and up.\n"
    )
    assert desk.machine == WHOLE


def test_down_removes_what_another_process_kept_and_can_be_repeated(desk: Desk, capsys: Say) -> None:
    desk.left(WHOLE)

    assert [desk.run("down"), desk.run("down")] == [0, 0]

    assert desk.machine == FakeMachine()
    assert capsys.readouterr().out == "fake: removed\nfake: there was nothing of ours\n"


def test_a_cleanup_that_fails_does_not_hide_the_first_cause(
    desk: Desk, capsys: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeProvider, "give_back", fail("It is stuck."))

    assert desk.run("up", fails="The first cause.") == 11

    said = capsys.readouterr().err.splitlines()
    assert said[-2].endswith("and then: It is stuck.")
    assert said[-1].startswith("ERROR: The first cause.")


def fail(cause: str) -> Callable[[object], None]:
    def give_back(self: object) -> None:
        raise Infra(cause)

    return give_back


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("up", "--workers=0"), "--workers='0': expected counts from 1 to 1024 such as 2 or 2,4."),
        (("up", "--cluster=moon"), "--cluster='moon': expected one of local, minikube, kind, context."),
        (("up", "--node-memory=1g"), "--node-memory='1g': expected from 1800m"),
        (("up", "--worker=2"), "unrecognized arguments: --worker=2"),
        (("down", "--json"), "unrecognized arguments: --json"),
        (("completion", "tcsh"), "invalid choice: 'tcsh'"),
        (("fly",), "invalid choice: 'fly'"),
        ((), "the following arguments are required: VERB"),
    ],
)
def test_a_wrong_word_is_refused_as_pytest_refuses_it(
    desk: Desk, capsys: Say, arguments: tuple[str, ...], said: str
) -> None:
    try:
        code: object = desk.run(*arguments)
    except SystemExit as ended:
        code = ended.code

    assert code == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ERROR: ")
    assert said in line


def test_the_settings_are_those_of_a_run_in_this_folder(desk: Desk) -> None:
    (desk.root / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\nworkers = "4"\ncluster = "kind"\nprofile = "mine"\nreports = "out"\n'
    )

    desk.run("status", "--profile=yours", environ={"BATCH_SIZE": "256"})

    settings = desk.settings
    assert (settings.workers, settings.cluster, settings.batch_size) == ((4,), "kind", 256)
    assert settings.kubernetes.profile == "yours"
    assert settings.reports == desk.root / "out"


def test_a_project_file_that_cannot_be_read_is_refused(desk: Desk, capsys: Say) -> None:
    (desk.root / "pyproject.toml").write_text("[tool")

    assert desk.run("status") == 4
    assert "pyproject.toml cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("verb", command.VERBS)
def test_the_help_of_a_verb_has_examples(capsys: Say, verb: str) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([verb, "--help"], {})

    assert ended.value.code == 0
    assert f"python -m fixtures {verb}" in capsys.readouterr().out.partition("examples:")[2]


@pytest.mark.parametrize("verb", [name for name, verb in command.VERBS.items() if verb.cluster])
def test_the_help_of_a_verb_about_a_cluster_has_every_option_of_the_suite(capsys: Say, verb: str) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([verb, "--help"], {})

    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(f"  {option.flag} " in text or f"  {option.flag}\n" in text for option in ALL_OPTIONS)


@pytest.mark.parametrize("example", [example for verb in command.VERBS.values() for example in verb.examples])
def test_the_examples_of_the_help_are_accepted(desk: Desk, example: str) -> None:
    given = command.make_parser().parse_args(shlex.split(example))
    if not command.VERBS[given.verb].cluster:
        return

    values = {option.dest: getattr(given, option.dest) for option in ALL_OPTIONS}
    assert build(values, {}, command.read_ini(desk.root)).cluster


def test_run_measures_on_the_cluster_that_is_up_and_keeps_it(desk: Desk) -> None:
    desk.left(WHOLE)

    assert desk.run("run", "--workers=2,4", "--quick", "--kubeconfig=k") == 0

    assert desk.replaced[1:5] == ["-m", "pytest", "-m", "e2e"]
    assert desk.replaced[5:7] == [f"--rootdir={desk.root}", f"--config-file={desk.root}/pyproject.toml"]
    assert set(desk.replaced[7:-1]) == {"--workers=2,4", "--quick", "--keep=always", "--kubeconfig=k"}
    assert desk.replaced[-1] == f"{desk.root}/tests/e2e"


def test_run_takes_the_cluster_away_if_that_is_asked_for(desk: Desk) -> None:
    desk.left(WHOLE)

    desk.run("run", "--keep=never")

    assert [each for each in desk.replaced if each.startswith("--keep")] == ["--keep=never"]


def test_run_without_a_cluster_starts_nothing(desk: Desk, capsys: Say) -> None:
    assert desk.run("run") == 11

    assert desk.replaced == []
    assert capsys.readouterr().err == (
        "ERROR: There is no cluster to measure on: there is nothing `up` with the same options brings one up.\n"
    )


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


def test_there_is_no_dashboard_without_a_cluster(desk: Desk, capsys: Say) -> None:
    assert desk.run("dashboard") == 11
    assert capsys.readouterr().err == "ERROR: No cluster of --cluster=fake is up. `up` brings one up.\n"


def test_logs_prints_the_last_lines(desk: Desk, capsys: Say) -> None:
    desk.left(WHOLE)

    assert desk.run("logs", "raylet*", "--lines=1") == 0

    assert capsys.readouterr().out == "==> raylet.out <==\nthree\n\n"
    assert desk.machine == WHOLE


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("logs",), 11, "There are no logs"),
        (("logs", "--lines=0"), 4, "--lines='0': expected a whole number from 1 to 100,000."),
        (("prerequisites", "k9s"), 4, "prerequisites 'k9s': expected some of kubectl"),
    ],
)
def test_what_there_is_not_is_said(desk: Desk, capsys: Say, arguments: tuple[str, ...], code: int, said: str) -> None:
    assert desk.run(*arguments) == code
    assert said in capsys.readouterr().err


def test_doctor_says_by_its_exit_code_whether_a_run_could_start(desk: Desk, capsys: Say) -> None:
    for name in ("constraints.txt", "pyproject.toml"):
        (desk.root / name).write_text((command.ROOT / name).read_text("utf-8"), "utf-8")
    (desk.root / "image").symlink_to(command.ROOT / "image")

    assert desk.run("doctor") == 0
    assert "ready for --cluster=local" in capsys.readouterr().out
    assert desk.run("doctor", "--json", problems=(Problem("No moon.", "Wait."),)) == 1
    assert json.loads(capsys.readouterr().out)["missing"] == [{"what": "No moon.", "remedy": "Wait."}]


def test_the_settings_of_doctor_are_checked_as_those_of_a_run(desk: Desk) -> None:
    assert desk.run("doctor", "--workers=x") == 4


def test_a_run_is_told_what_the_verb_was_told_an_option_and_its_opposite_alike() -> None:
    told = verbs.pytest_options({"cluster": "kind", "overcommit": True, "monitoring": False})

    assert sorted(told) == ["--cluster=kind", "--keep=always", "--no-monitoring", "--overcommit"]
    assert "--monitoring" in verbs.pytest_options({"monitoring": True})


def test_without_the_packages_one_sentence_says_how_to_install_them() -> None:
    bare = [sys.executable, "-S", "-m", "fixtures", "doctor"]  # -S: without site-packages

    said = subprocess.run(
        bare, check=False, cwd=command.ROOT, env={"PATH": ""}, capture_output=True, text=True, timeout=30
    )

    assert said.returncode == 1
    assert said.stdout == ""
    assert re.fullmatch(r"ERROR: \w+ is not installed for .*\. `make install` makes \.venv; .*\n", said.stderr)
