"""How a run of trials understands a failed job, and what it keeps."""

from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.analysis.plan import TrialSpec
from fixtures.analysis.summary import summarise
from fixtures.analysis.verdict import Outcome
from fixtures.errors import InfraError
from fixtures.measure.failures import Lookout
from fixtures.measure.jobs import FinishedJob
from tests.contract.fake import FakeProvider
from tests.unit.fake_jobs import LOST_NODE, FakeJobs, ended, experiment, honest, measure, noise
from tests.unit.trials import SPREAD, with_epoch
from trainer.result import TrialResult, encode

__all__ = ["noise"]  # a fixture that every test here uses


def test_work_that_is_not_the_same_stops_the_timing_of_that_count_only() -> None:
    def answer(of: TrialSpec) -> TrialResult:
        good = honest(of)
        return with_epoch(good, 1, weights="f" * 64) if of.workers == 2 else good

    jobs = FakeJobs(answer)
    measured = measure(jobs, counts=(2, 4))

    assert not measured.rounds(2)
    assert len(measured.rounds(4)) == 3
    summary = summarise(measured, SPREAD)
    assert summary.of(2).verdict.outcome is summary.verdict.outcome is Outcome.REGRESSION
    assert summary.of(4).verdict.outcome is Outcome.PASS


def test_a_count_whose_accuracy_trial_hands_nothing_over_does_not_stop_the_others() -> None:
    def answer(of: TrialSpec) -> TrialResult | FinishedJob:
        return ended("SUCCEEDED", "no line of ours\n", None) if of.workers == 2 else honest(of)

    measured = measure(FakeJobs(answer), counts=(2, 4))

    (failure,) = measured.failures
    assert (failure.name, failure.kind) == ("2 workers", "MissingFigure")
    assert failure.cause == "2 workers: expected one TRIAL-RESULT line in the job's log, found 0."
    assert len(measured.rounds(4)) == 3


def test_a_result_that_the_log_lost_is_the_machines_fault() -> None:
    def answer(of: TrialSpec) -> FinishedJob:
        return ended("SUCCEEDED", f"{encode(honest(of))[:-500]}(raylet) over 95% full\n", None)

    (failure,) = measure(FakeJobs(answer)).failures

    assert failure.kind == "Infra"
    assert failure.cause.endswith("the log is cut.")


def test_a_baseline_that_hands_nothing_over_ends_the_run_and_keeps_what_was_measured() -> None:
    def answer(of: TrialSpec) -> TrialResult | FinishedJob:
        return ended("SUCCEEDED", "", None) if of.kind == "timing" and of.workers == 0 else honest(of)

    measured = measure(FakeJobs(answer))

    assert [failure.name for failure in measured.failures] == ["run"]
    assert [trial.spec.kind for trial in measured.measurements] == ["accuracy", "accuracy"]
    assert summarise(measured, SPREAD).verdict.outcome is Outcome.REGRESSION


@pytest.mark.parametrize(
    ("job", "kind", "cause"),
    [
        (ended("FAILED", "Traceback\n  File x\nValueError: odd\n"), "MissingFigure", "ended FAILED: ValueError: odd"),
        (ended("FAILED", "trainer: MNIST at /x is damaged\nbye\n"), "MissingFigure", "trainer: MNIST at /x is damaged"),
        (ended("FAILED", ""), "MissingFigure", "ended FAILED: the message"),
        (
            ended("FAILED", "Could not load libcuda.so: cannot open shared object file\nValueError: odd\n"),
            "MissingFigure",
            "odd",
        ),
        (ended("FAILED", "ModuleNotFoundError: No module named 'trainer.modle'\n"), "MissingFigure", "trainer.modle"),
        (ended("FAILED", f"Traceback\n{LOST_NODE}\n"), "Infra", "ActorDiedError"),
        (ended("FAILED", "Traceback\ntrainer.ring.LostRankError: rank 0: rank 1 left\n"), "Infra", "LostRank"),
        (ended("FAILED", "", "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"), "Infra", "ended FAILED: the message"),
        (ended("STOPPED", "epoch 1\n", None), "Infra", "baseline: the job ended STOPPED: epoch 1"),
    ],
)
def test_a_job_is_the_trainings_fault_only_when_its_command_failed(job: FinishedJob, kind: str, cause: str) -> None:
    (failure,) = measure(FakeJobs(lambda of: job)).failures

    assert (failure.name, failure.kind) == ("run", kind)
    assert cause in failure.cause
    assert failure.remedy.startswith("The job's log is in the evidence.")


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        ("ray-job-killed-worker.txt", "rank 1 was lost: its process 11091 died (Worker unexpectedly"),
        ("ray-job-killed-start.txt", "a RayTrainWorker was lost in the start: its process 22824 died (Worker"),
        ("ray-job-killed-controller.txt", "Ray Train's TrainController was lost: its process 22887 died (Worker"),
    ],
)
def test_a_worker_that_was_killed_is_the_cause_and_no_fault_of_the_training(log: str, cause: str) -> None:
    killed = (Path(__file__).parents[1] / "data" / log).read_text(encoding="utf-8")

    (failure,) = measure(FakeJobs(lambda of: ended("FAILED", killed))).failures

    assert failure.kind == "Infra"
    assert f"the job ended FAILED: {cause}" in failure.cause
    assert failure.cause.endswith("End of file).")
    assert "dmesg" in failure.remedy


RESULT_CUT = 'TRIAL-PROGRESS {}\nTRIAL-RESULT 9000 5f {"workers":0'
"""A disk that filled up cut the result line."""
FAILED_IMPORT = """ImportError: Traceback (most recent call last):
  File "tensorflow/python/pywrap_tensorflow.py", line 73, in <module>
    from tensorflow.python._pywrap_tensorflow_internal import *
ImportError: /lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.29' not found (required by /x/libtensorflow.so)


Failed to load the native TensorFlow runtime.
See https://www.tensorflow.org/install/errors for some common causes and solutions.
"""
NO_AVX = (
    "F tensorflow/core/platform/cpu_feature_guard.cc:37] The TensorFlow library was compiled to use AVX instructions, "
    "but these aren't available on your machine.\nAborted (core dumped)\n"
)


@pytest.mark.parametrize(
    ("log", "cause", "see"),
    [
        ("OSError: [Errno 28] No space left on device\n" + RESULT_CUT, "OSError: [Errno 28] No space", "disk-full"),
        ("ray.exceptions.OutOfDiskError: Local disk is full\n", "Local disk is full", "disk-full"),
        ("OSError: [Errno 12] Cannot allocate memory\nValueError: odd\n", "Cannot allocate", "memory-short"),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 9 GiB\n", "9 GiB", "memory-short"),
        ("ray.exceptions.OutOfMemoryError: Task was killed due to the node running low\n", "low", "memory-short"),
        ("terminate called after throwing an instance of 'std::bad_alloc'\n", "bad_alloc", "memory-short"),
        ("RuntimeError: can't start new thread\nLostRankError: rank 0: lost rank 1\n", "start new", "limit-hit"),
        ("BlockingIOError: [Errno 11] Resource temporarily unavailable\n", "[Errno 11]", "limit-hit"),
        (FAILED_IMPORT, "GLIBCXX_3.4.29", "tensorflow-unusable"),
        (NO_AVX, "compiled to use AVX", "tensorflow-unusable"),
        ("ModuleNotFoundError: No module named 'tensorflow'\n", "No module", "tensorflow-unusable"),
        ("RuntimeError: rank 0: DamagedDataError: MNIST at /x is damaged\n", "MNIST at /x", "data-damaged"),
        ("RuntimeError: rank 1: OSError: [Errno 5] Input/output error: '/x'\n", "Input/output", "file-missing"),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/tmp/rte-1/w'\n", "/tmp/rte-1/w", "file-missing"),
        ("PermissionError: [Errno 13] Permission denied: '/venv/gcs_server'\n", "Permission denied", "file-missing"),
        ("ConnectionResetError: [Errno 104] Connection reset by peer\n", "reset by peer", "job-lost"),
        ("ray.exceptions.GetTimeoutError: Get timed out\n", "Get timed out", "job-lost"),
        ("ray.train.ControllerError: Training failed due to controller error:\n", "ControllerError", "job-lost"),
        ("trainer.copies.CopyFailedError: a copy ended with exit code -4 before\n", "by SIGILL", "rank-lost"),
    ],
)
def test_a_failure_of_the_machine_never_counts_as_the_trainings(log: str, cause: str, see: str) -> None:
    (failure,) = measure(FakeJobs(lambda of: ended("FAILED", log))).failures

    assert failure.kind == "Infra"
    assert cause in failure.cause
    assert failure.remedy.endswith(f"(see TROUBLESHOOTING: {see})")


@pytest.mark.parametrize("code", [-9, 137])
def test_a_driver_that_a_signal_ended_is_the_machines_fault(code: int) -> None:
    killed = replace(ended("FAILED", "epoch 1\n"), driver_exit_code=code)

    (failure,) = measure(FakeJobs(lambda of: killed)).failures

    assert (failure.kind, failure.cause) == (
        "Infra",
        "baseline: the job ended FAILED: a process was ended by SIGKILL.",
    )


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_cluster_is_asked_about_a_trial_of_which_nothing_was_heard_for_a_while() -> None:
    clock = Clock()
    asked: list[float] = []

    def trouble() -> str:
        asked.append(clock.now)
        return "The GCS is gone." if clock.now > 50 else ""

    lookout = Lookout(trouble, clock)
    for clock.now in (5.0, 15.0):
        lookout.hear("epoch 1")
        lookout.look()
    for clock.now in (34.0, 36.0, 38.0):
        lookout.look()
    assert asked == [36.0]
    clock.now = 57.0

    with pytest.raises(InfraError, match="The GCS is gone"):
        lookout.look()


def test_a_rank_that_lost_its_neighbour_ends_the_trial_also_when_the_neighbour_neither_works_nor_ends() -> None:
    clock = Clock()
    lookout = Lookout(lambda: "", clock)
    lookout.hear("(RayTrainWorker pid=7) trainer.ring.LostRankError: rank 0: the previous rank did not connect in time")
    clock.now = 30.0
    lookout.hear("still here")
    lookout.look()
    clock.now = 31.0

    with pytest.raises(
        InfraError, match=r"LostRankError: rank 0: the previous rank did not .*, and 30 s later the job"
    ):
        lookout.look()


def test_data_that_is_damaged_is_the_machines_fault() -> None:
    damaged = replace(ended("FAILED", "trainer: MNIST at /x is damaged\n"), driver_exit_code=3)

    (failure,) = measure(FakeJobs(lambda of: damaged)).failures

    assert failure.kind == "Infra"
    assert failure.remedy.startswith("Restore the file from the repository.")


def test_a_failed_job_on_a_cluster_that_lost_a_node_is_the_clusters_fault() -> None:
    provider = FakeProvider(2, 1)

    def answer(of: TrialSpec) -> FinishedJob:
        provider.down()
        return ended("FAILED", "ValueError: odd")

    measured = experiment(FakeJobs(answer), provider=provider).run()

    assert measured.failures[0].kind == "Infra"
    assert measured.failures[0].cause == "baseline: The fake is not up. So the job ended FAILED: ValueError: odd."
    assert summarise(measured, SPREAD).verdict.outcome is Outcome.INFRA


@pytest.mark.parametrize(
    ("lost", "so"),
    [
        ("Job 1 was lost: connect timeout.", " So: Job 1 was lost: connect timeout."),
        ("The fake is not up.", ""),
    ],
    ids=["a symptom", "the cause itself"],
)
def test_a_job_that_was_lost_with_its_cluster_has_what_happened_to_that_as_its_cause(lost: str, so: str) -> None:
    provider = FakeProvider(2, 1)

    def answer(of: TrialSpec) -> FinishedJob:
        provider.down()
        raise InfraError(lost)

    (failure,) = experiment(FakeJobs(answer), provider=provider).run().failures

    assert failure.cause == f"baseline: The fake is not up.{so}"


def test_a_cluster_that_is_lost_in_the_rounds_leaves_what_was_measured() -> None:
    def answer(of: TrialSpec) -> TrialResult:
        if of.kind == "timing" and of.seed == 3:
            raise InfraError("The dashboard is gone.", "See the evidence.")
        return honest(of)

    measured = measure(FakeJobs(answer))

    assert len(measured.rounds(2)) == 1
    assert set(measured.phases) == {"cluster", "accuracy", "timing"}
    verdict = summarise(measured, SPREAD).verdict
    assert (verdict.outcome, verdict.why) == (Outcome.INFRA, "The dashboard is gone. See the evidence.")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_ends_the_run_at_once_and_what_was_measured_is_kept(interrupt: type[BaseException]) -> None:
    def answer(of: TrialSpec) -> TrialResult:
        if of.kind == "timing":
            raise interrupt
        return honest(of)

    running = experiment(FakeJobs(answer))

    with pytest.raises(interrupt):
        running.run()
    assert len(running.so_far().measurements) == 2
    verdict = summarise(running.so_far(), SPREAD).verdict
    assert (verdict.outcome, verdict.why.partition(".")[0]) == (Outcome.INFRA, "The run was interrupted")
