"""Evidence of a failure: there after a run that failed, gone after one that did not, and nobody else's touched."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.clusters.evidence import SUMMARY, add_summary, last_error, lost_rank, remove_evidence, write_evidence
from fixtures.plugin import suite
from tests.contract.fake import FakeMachine, FakeProvider

pytest_plugins = ["pytester"]

E2E = Path(__file__).parents[1] / "e2e" / "test_e2e.py"


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_what_was_written_is_removed_with_its_folder_unless_somebody_elses_file_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    write_evidence({"raylet.out": "died", "gcs_server.out": "lost"}, folder)
    assert names(folder) == {"raylet.out", "gcs_server.out", "files.txt"}
    remove_evidence(folder)
    remove_evidence(folder)
    write_evidence({}, tmp_path / "empty")
    assert names(tmp_path) == set()

    (tmp_path / "worker-1.out").write_text("mine")
    write_evidence({"raylet.out": "died"}, tmp_path)
    remove_evidence(tmp_path)
    assert names(tmp_path) == {"worker-1.out"}


def test_the_summary_begins_with_the_runs_own_cause_and_no_text_has_colours(tmp_path: Path) -> None:
    write_evidence({SUMMARY: "# Seen\n", "job.log": "\x1b[36m(pid=7)\x1b[0m died\n"}, tmp_path, "exceeded quota.")

    assert (tmp_path / SUMMARY).read_text() == "**The run ended with:** exceeded quota.\n\n# Seen\n"
    assert (tmp_path / "job.log").read_text() == "(pid=7) died\n"


@pytest.mark.parametrize("listed", [None, b"../precious", b"", b"\xff\xfe"])
def test_nothing_outside_the_folder_or_unlisted_is_removed(tmp_path: Path, listed: bytes | None) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    (tmp_path / "precious").write_text("mine")
    (folder / "notes").write_text("mine")
    if listed is not None:
        (folder / "files.txt").write_bytes(listed)

    remove_evidence(folder)

    assert names(tmp_path) == {"precious", "evidence"}
    assert "notes" in names(folder)


def test_a_summary_comes_first_and_has_the_last_error_of_each_log() -> None:
    logs = {"head.out": "starting\nMemoryError: first\nOSError: disk full\nbye", "raylet.out": "all is well"}

    summed = add_summary(logs)

    assert list(summed) == [SUMMARY, "head.out", "raylet.out"]
    assert summed[SUMMARY] == "# What the logs say last\n\n- head.out: OSError: disk full\n"
    assert "No log names an error" in add_summary({"raylet.out": "all is well"})[SUMMARY]
    assert add_summary({}) == {}


def test_a_run_that_succeeds_leaves_no_evidence_of_an_earlier_one_that_failed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "make_provider", lambda *_: FakeProvider(2, 1))
    monkeypatch.delattr(suite, "pytest_runtestloop")  # would take SIGTERM from the pytest that runs this test
    pytester.makeconftest('pytest_plugins = ["fixtures.plugin.options", "fixtures.plugin.suite"]')
    pytester.makeini("[pytest]\nmarkers =\n    e2e: replayed\n")
    pytester.makepyfile(
        """
        import pathlib, pytest

        @pytest.mark.e2e
        def test_one(provider):
            assert not pathlib.Path("fail").exists()
        """
    )
    evidence = pytester.path / "out" / "evidence"
    quiet = ("-m", "e2e", "--reports=out", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")

    (pytester.path / "fail").touch()
    pytester.runpytest_inprocess(*quiet).assert_outcomes(failed=1)
    assert names(evidence) == {"SUMMARY.md", "fake.log", "files.txt"}

    (pytester.path / "fail").unlink()
    pytester.runpytest_inprocess(*quiet).assert_outcomes(passed=1)
    assert not evidence.exists()


@pytest.mark.parametrize("keep", ["always", "on-failure"])
@pytest.mark.parametrize("how", ["fails", "interrupted"])
@pytest.mark.parametrize("before", [FakeMachine(), FakeMachine(nodes=True, running=True, kept=True)])
def test_of_a_cluster_that_did_not_come_up_only_what_was_there_before_is_kept(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, keep: str, how: str, before: FakeMachine
) -> None:
    machine = replace(before)
    failure: dict[str, Any] = {"fails": "No cluster today."} if how == "fails" else {"interrupted": True}
    monkeypatch.setattr(suite, "make_provider", lambda *_: FakeProvider(2, 1, machine=machine, **failure))
    monkeypatch.delattr(suite, "pytest_runtestloop")
    pytester.makeconftest('pytest_plugins = ["fixtures.plugin"]')
    pytester.makeini("[pytest]\nmarkers =\n    e2e: replayed\n")
    pytester.makepyfile(test_e2e=E2E.read_text())
    quiet = ("-m", "e2e", "--reports=out", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")

    shown = pytester.runpytest_inprocess(*quiet, f"--keep={keep}", no_reraise_ctrlc=True)

    assert shown.ret == (11 if how == "fails" else pytest.ExitCode.INTERRUPTED)
    kept = keep == "always" or how == "fails"  # Ctrl-C is no failure
    assert machine == (before if kept else FakeMachine())
    shown.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (
            "Traceback (most recent call last):\n"
            '  File "ray/_private/node.py", line 440, in __init__\n'
            "    raise Exception(\n"
            "Exception: The current node timed out during startup. It happens.\n",
            "Exception: The current node timed out during startup. It happens.",
        ),
        ("ValueError: first\nray.exceptions.ActorDiedError: second\nend\n", "ray.exceptions.ActorDiedError: second"),
        ("epoch 1\ntrainer: mnist.npz is damaged\nend\n", "trainer: mnist.npz is damaged"),
        ("epoch 1\n\n  killed \n", "killed"),
        ('bye\nTRIAL-PROGRESS {"phase": "end"}\nTRIAL-RESULT 9000 5f {"workers":0', "bye"),
        (
            "RuntimeError: rank 1: ValueError: odd\n"
            "\x1b[36m(RayTrainWorker pid=7)\x1b[0m RuntimeError: rank 0: LostRankError: rank 0: lost rank 1"
            "\x1b[32m [repeated 2x across cluster]\x1b[0m\n",
            "RuntimeError: rank 1: ValueError: odd",
        ),
        ("", ""),
    ],
)
def test_the_cause_in_a_log_is_its_last_exception_that_is_no_symptom_or_its_last_line(log: str, cause: str) -> None:
    assert last_error(log) == cause


DATA = Path(__file__).parents[1] / "data"
KILLED = (DATA / "ray-job-killed-worker.txt").read_text(encoding="utf-8")
KILLED_IN_START = (DATA / "ray-job-killed-start.txt").read_text(encoding="utf-8")


def test_a_worker_that_was_killed_is_named_and_not_those_that_missed_it() -> None:
    other = "[Rank 0 Error Snippet]:\nRuntimeError: rank 0: LostRankError: rank 0: lost rank 1 (it closed the ring)\n"
    killed = KILLED[KILLED.index("[Rank 1 Error Snippet]") :].partition("\n\x1b")[0]

    assert last_error(KILLED).startswith("ray.train.WorkerGroupError"), "the symptom is all that the driver says"
    died = "Worker unexpectedly exits with a connection error code 2. End of file"
    assert lost_rank(KILLED) == f"rank 1 was lost: its process 11091 died ({died})"
    for log in (f"{other}{killed}\n", f"{killed}\n{other}"):
        assert lost_rank(log).startswith("rank 1 was lost: its process 11091 died")


def test_a_worker_that_was_killed_while_its_group_started_is_named() -> None:
    died = "Worker unexpectedly exits with a connection error code 2. End of file"

    assert lost_rank(KILLED_IN_START) == f"a RayTrainWorker was lost in the start: its process 22824 died ({died})"


def test_a_raylet_that_was_killed_goes_before_the_ranks_that_it_took_along() -> None:
    raylet = "(raylet) Raylet is terminated. Termination is unexpected. Possible reasons include: (1)"

    assert lost_rank(f"{KILLED}\n{raylet}\n") == "a node was lost: Raylet is terminated. Termination is unexpected"


def test_what_ray_calls_safe_to_ignore_is_not_the_cause() -> None:
    busy = "".join(line for line in KILLED_IN_START.splitlines(keepends=True) if line.startswith("(TrainController"))

    assert "GetTimeoutError" in busy
    assert last_error(f"{busy}ValueError: odd\n") == last_error(f"ValueError: odd\n{busy}") == "ValueError: odd"


def test_a_job_that_lost_nobody_names_no_rank() -> None:
    assert lost_rank("") == ""
    assert lost_rank("[Rank 0 Error Snippet]:\nRuntimeError: rank 0: ValueError: odd\n") == ""
    assert lost_rank(KILLED.replace("worker process has died", "worker has ended")) == ""
