"""Verbs on the fake provider, each as a process of its own."""

import json
from typing import Any

import pytest

from fixtures.clusters.contract import Problem
from tests.contract.fake import FakeMachine, FakeProvider
from tests.unit.desk import STOPPED, WHOLE, Desk, fail

Say = pytest.CaptureFixture[str]


def test_up_keeps_the_cluster_says_what_is_there_and_can_be_repeated(desk: Desk, capsys: Say) -> None:
    assert desk.run("up", "--workers=2,4") == 0

    assert desk.machine == WHOLE
    assert max(desk.settings.workers) == 4
    output = capsys.readouterr()
    assert "whole      yes" in output.out
    assert [line.split("s  ")[1] for line in output.err.splitlines()] == ["starting nothing"]
    assert (desk.run("up"), desk.machine) == (0, WHOLE)


@pytest.mark.parametrize(
    ("verb", "fake", "message"),
    [
        (
            "up",
            {"problems": (Problem("minikube is not on PATH.", "Install it."),)},
            "minikube is not on PATH. Install it.",
        ),
        (
            "up",
            {"problems": tuple(Problem(f"{what}.", "Free it.") for what in ("Disk is full", "So is memory"))},
            "Disk is full. So is memory. Free it.",
        ),
        (
            "up",
            {"problems": (Problem("No helm.", "Get helm."), Problem("No room.", "Make room."))},
            "No helm. Get helm. No room. Make room.",
        ),
        ("up", {"fails": "The image is\nmissing."}, "The image is missing. Give the fake no failure."),
        ("stop", {}, "This suite has no cluster to stop. Start one with `up`."),
    ],
)
def test_a_verb_that_fails_says_why(desk: Desk, capsys: Say, verb: str, fake: dict[str, Any], message: str) -> None:
    assert desk.run(verb, **fake) == 11

    assert desk.machine == FakeMachine()
    assert (desk.root / "reports/evidence/fake.log").exists() == ("fails" in fake)
    if "fails" in fake:
        summary = (desk.root / "reports/evidence/SUMMARY.md").read_text()
        assert summary.startswith("**The run ended with:** The image is")
    *_, last = capsys.readouterr().err.splitlines()
    assert last == f"ERROR: {message}"


def test_the_evidence_of_an_earlier_failure_is_gone_after_an_up_that_is_well(desk: Desk) -> None:
    desk.run("up", fails="No.")

    assert desk.run("up") == 0
    assert not (desk.root / "reports/evidence").exists()


@pytest.mark.parametrize(("how", "code"), [({"fails": "No."}, 11), ({"interrupted": True}, 2)])
def test_an_up_that_ends_early_leaves_what_was_there(desk: Desk, capsys: Say, how: dict[str, Any], code: int) -> None:
    for before in (FakeMachine(), WHOLE):
        desk.left(before)
        assert (desk.run("up", **how), desk.machine) == (code, before)
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
def test_keep_says_whether_what_failed_to_come_up_stays(desk: Desk, keep: str, how: dict[str, Any], kept: bool) -> None:
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


@pytest.mark.parametrize("left", [WHOLE, FakeMachine()], ids=["on its nodes", "without a cluster"])
def test_restart_makes_ray_anew(desk: Desk, capsys: Say, left: FakeMachine) -> None:
    desk.left(left)

    assert (desk.run("restart"), desk.machine) == (0, WHOLE)
    assert ("there is no cluster of ours yet" in capsys.readouterr().err) is (left != WHOLE)


def test_stop_and_an_interrupted_restart_keep_the_nodes_and_start_brings_ray_back(desk: Desk) -> None:
    desk.left(WHOLE)

    assert (desk.run("stop"), desk.machine) == (0, STOPPED)
    assert (desk.run("start"), desk.machine) == (0, WHOLE)
    assert desk.run("restart", interrupted=True) == 2
    assert (desk.machine.nodes, desk.machine.kept) == (True, True)


@pytest.mark.parametrize("verb", ["stop", "start"])
def test_what_cannot_be_stopped_is_refused_before_it_is_touched(desk: Desk, capsys: Say, verb: str) -> None:
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


def test_a_failed_cleanup_does_not_hide_the_first_cause(
    desk: Desk, capsys: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeProvider, "give_back", fail("It is stuck."))

    assert desk.run("up", fails="The first cause.") == 11

    *_, second, first = capsys.readouterr().err.splitlines()
    assert second.endswith("and then: It is stuck.")
    assert first.startswith("ERROR: The first cause.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("up", "--workers=0"), "--workers='0': expected counts from 1 to 1024 such as 2 or 2,4."),
        (("up", "--cluster=moon"), "--cluster='moon': expected one of local, minikube, kind, context."),
        (("up", "--node-memory=1g"), "--node-memory='1g': expected from 1800m"),
        (("up", "--worker=2"), "unrecognized arguments: --worker=2"),
        (("down", "--json"), "unrecognized arguments: --json"),
        (("completion", "tcsh"), "invalid choice: 'tcsh'"),
        (("fly",), "'fly': expected one of doctor, prerequisites, up,"),
        (("dokter", "--workers=2"), "completion; did you mean doctor?"),
        (("run", "--workers=3"), "--batch-size='128' (default): expected a batch that 3 workers share evenly"),
    ],
)
def test_a_wrong_word_is_refused_as_by_pytest(
    desk: Desk, capsys: Say, arguments: tuple[str, ...], message: str
) -> None:
    try:
        code: object = desk.run(*arguments)
    except SystemExit as ended:
        code = ended.code

    assert code == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ERROR: ")
    assert message in line


def test_without_a_verb_there_is_the_list_of_verbs(desk: Desk, capsys: Say) -> None:
    assert desk.run() == 4
    assert "say what is there" in capsys.readouterr().out


def test_a_verb_that_trains_nothing_takes_a_batch_that_the_workers_cannot_share(desk: Desk) -> None:
    assert desk.run("up", "--workers=3") == 0
    assert desk.run("status", "--workers=3") == 0


def test_the_settings_are_those_of_a_run_in_this_folder(desk: Desk, capsys: Say) -> None:
    (desk.root / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\nworkers = "4"\ncluster = "kind"\nprofile = "mine"\nreports = "out"\n'
    )

    desk.run("status", "--profile=yours", environ={"BATCH_SIZE": "256"})

    settings = desk.settings
    assert (settings.workers, settings.cluster, settings.batch_size) == ((4,), "kind", 256)
    assert settings.kubernetes.profile == "yours"
    assert settings.reports == desk.root / "out"
    for text in ("[tool", "tool = 3", f"tool = {'[' * 9000}"):
        (desk.root / "pyproject.toml").write_text(text)
        assert desk.run("status") == 4
        assert "pyproject.toml cannot be read" in capsys.readouterr().err
