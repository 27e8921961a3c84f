"""The run of trials: what is submitted in which order, when it ends, and how a failed job is understood."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from fixtures import experiment as module
from fixtures.cluster import Cluster
from fixtures.display import Display
from fixtures.errors import Infra
from fixtures.experiment import Experiment
from fixtures.jobs import FinishedJob, JobsClient
from fixtures.measurement import ClusterFacts, Run
from fixtures.noise import Noise
from fixtures.plan import TrialSpec
from fixtures.settings import Settings
from fixtures.summary import summarise
from fixtures.verdict import Outcome
from tests.contract.fake import FakeProvider
from tests.unit.trials import QUIET, SETTINGS, SPREAD, result, spec, with_epoch
from trainer import __main__ as trainer
from trainer.result import TrialResult, encode

Answer = Callable[[TrialSpec], TrialResult | FinishedJob]
NOISY = replace(QUIET, foreign_cores=1.0)
LOST_NODE = "ray.exceptions.ActorDiedError: The actor died unexpectedly"


def seconds(of: TrialSpec) -> float:
    """A machine on which two workers are 1.8 and four 3 times as fast as the baseline."""
    speed = {0: 1.0, 1: 0.95, 2: 1.8, 3: 2.4, 4: 3.0}[of.workers]
    return 10.0 * of.epochs / speed * (1 + 0.001 * (of.seed % 3)) * (1.02 if of.copies > 1 else 1)


def honest(of: TrialSpec) -> TrialResult:
    return result(of, seconds(of))


def ended(status: str, log: str, error_type: str | None = "JOB_ENTRYPOINT_COMMAND_ERROR") -> FinishedJob:
    return FinishedJob("job", status, "the message", error_type, 1, log, 0.0, 0.0, 5.0)


@dataclass
class FakeJobs(JobsClient):
    """Understands the trainer's command line and answers with what a trial hands over; time passes by itself."""

    answer: Answer = honest
    now: float = 1000.0
    submitted: list[TrialSpec] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)

    def submit(self, entrypoint: Sequence[str], cpus: float = 0, env: Mapping[str, str] | None = None) -> str:
        assert list(entrypoint[:3]) == ["python", "-m", "trainer"]
        options = trainer.parse(entrypoint[3:])
        kind = "ceiling" if options.copies > 1 else "accuracy" if options.evaluate else "timing"
        of = TrialSpec(kind, options.workers, options.copies, options.epochs, options.seed, options.probe)  # type: ignore[arg-type]
        self.submitted.append(of)
        self.commands.append(list(entrypoint))
        self.cpus.append(cpus)
        return shlex.join(entrypoint)

    def follow(
        self,
        job: str,
        on_line: Callable[[str], None],
        deadline_seconds: float,
        marker: str = "",
        on_poll: Callable[[], None] = lambda: None,
    ) -> FinishedJob:
        on_poll()
        of = self.submitted[-1]
        answer = self.answer(of)
        began = self.now
        if isinstance(answer, FinishedJob):
            self.now += 5.0
            return answer
        self.now += answer.train_seconds + 6.0
        log = f"some line\n{encode(answer)}\n"
        return FinishedJob(job, "SUCCEEDED", "", None, 0, log, began, began, self.now)


class FakeWatch:
    """Finds the noise that a test lays out, quiet when there is none left."""

    found: list[Noise]

    def __init__(self, ours: Callable[[], frozenset[int]]) -> None:
        """Reads nothing."""

    def look(self) -> None:
        """Sees nothing."""

    def end(self) -> Noise:
        return self.found.pop(0) if self.found else QUIET


@pytest.fixture(autouse=True)
def noise(monkeypatch: pytest.MonkeyPatch) -> list[Noise]:
    """What the next trials find; add to it."""
    FakeWatch.found = []
    monkeypatch.setattr(module, "Watch", FakeWatch)
    return FakeWatch.found


def experiment(
    jobs: FakeJobs,
    settings: Settings = SETTINGS,
    counts: tuple[int, ...] = (2,),
    *,
    cores: int | None = None,
    provider: FakeProvider | None = None,
    lines: list[str] | None = None,
) -> Experiment:
    settings = replace(settings, workers=counts)
    provider = provider or FakeProvider(max(counts), settings.cpus_per_worker)
    cluster: Cluster = provider.up(lambda line: None)
    if cores is not None:
        cluster = replace(cluster, usable_cores=cores)
    facts = ClusterFacts.of("fake", cluster, {"worker-1": "f" * 64})
    write: Callable[[str], None] = (lambda text: None) if lines is None else lines.append
    display = Display(write, live=False, clock=lambda: jobs.now)
    return Experiment(
        settings, counts, provider, cluster, facts, jobs, display, SPREAD, cluster_seconds=3.0, clock=lambda: jobs.now
    )


def measure(
    jobs: FakeJobs, settings: Settings = SETTINGS, counts: tuple[int, ...] = (2,), *, cores: int | None = None
) -> Run:
    return experiment(jobs, settings, counts, cores=cores).run()


def names(jobs: FakeJobs) -> list[str]:
    return [each.name for each in jobs.submitted]


def slow(of: TrialSpec) -> TrialResult:
    """Two workers whose speedup straddles the 1.5 asked for."""
    wobble = 1.3 if of.seed % 2 else 1.75
    return result(of, 10.0 / wobble if of.workers else 10.0)


# The order of things


def test_accuracy_comes_first_then_rounds_in_rotating_order_until_the_verdict_is_settled() -> None:
    jobs = FakeJobs()

    measured = measure(jobs)

    assert names(jobs) == [
        *("baseline", "2 workers"),
        *("baseline", "2 workers", "2 copies"),
        *("2 workers", "2 copies", "baseline"),
        *("2 copies", "baseline", "2 workers"),
    ]
    assert [each.seed for each in jobs.submitted] == [1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert summarise(measured, SPREAD).verdict.outcome is Outcome.PASS
    assert not measured.failures
    assert not measured.budget_ended


def test_a_verdict_that_is_open_is_looked_at_again_after_6_rounds_and_at_the_end() -> None:
    settings = replace(SETTINGS, rounds=7)
    measured = measure(FakeJobs(slow), settings)

    assert set(measured.rounds(2)) == set(range(1, 8))
    assert summarise(measured, SPREAD).verdict.outcome is Outcome.INCONCLUSIVE


def test_a_count_that_is_decided_is_not_timed_on_with_one_that_is_not() -> None:
    def answer(of: TrialSpec) -> TrialResult:
        return slow(of) if of.workers in (0, 2) and of.copies == 1 else honest(of)

    measured = measure(FakeJobs(answer), replace(SETTINGS, rounds=6), (2, 4))

    assert len(measured.rounds(2)) == 6
    assert len(measured.rounds(4)) == 3


def test_the_accuracy_trials_are_the_only_round_when_it_is_quick() -> None:
    jobs = FakeJobs()

    measured = measure(jobs, replace(SETTINGS, quick=True, rounds=1))

    assert names(jobs) == ["baseline", "2 workers"]
    two = summarise(measured, SPREAD).of(2)
    assert two.verdict.outcome is Outcome.INCONCLUSIVE
    assert two.speedup is not None
    assert two.rounds == (1,)


def test_more_rounds_than_one_are_timed_without_a_ceiling_when_it_is_quick() -> None:
    jobs = FakeJobs()

    measure(jobs, replace(SETTINGS, quick=True, rounds=2))

    assert names(jobs) == ["baseline", "2 workers", "baseline", "2 workers", "2 workers", "baseline"]


def test_the_only_round_of_a_quick_run_is_set_aside_when_it_was_disturbed(noise: list[Noise]) -> None:
    noise += [QUIET, NOISY]

    measured = measure(FakeJobs(), replace(SETTINGS, quick=True, rounds=1))

    assert list(measured.polluted) == ["1"]
    assert summarise(measured, SPREAD).of(2).speedup is None


def test_a_count_with_too_few_cores_is_trained_for_accuracy_and_not_timed() -> None:
    jobs = FakeJobs()

    measured = measure(jobs, cores=1)

    assert names(jobs) == ["baseline", "2 workers"]
    assert summarise(measured, SPREAD).of(2).verdict.outcome is Outcome.NOT_APPLICABLE


def test_only_a_plain_baseline_is_placed_on_a_worker_node_by_its_cpus() -> None:
    jobs = FakeJobs()

    measure(jobs)

    placed = {each.name: cpus for each, cpus in zip(jobs.submitted, jobs.cpus, strict=True)}
    assert placed == {"baseline": 1, "2 workers": 0, "2 copies": 0}


def test_every_command_carries_the_settings() -> None:
    jobs = FakeJobs()

    measure(jobs, replace(SETTINGS, collective="ring"))

    for command in jobs.commands:
        options = trainer.parse(command[3:])
        assert (options.batch_size, options.cpus, options.collective, options.data) == (6000, 1, "ring", "mnist.npz")


# Budget and noise


def test_no_round_begins_that_the_time_budget_cannot_hold_but_the_first_always_does() -> None:
    jobs = FakeJobs(slow)
    measured = measure(jobs, replace(SETTINGS, time_budget=100.0))

    assert measured.budget_ended
    assert set(measured.rounds(2)) == {1}
    assert jobs.now - 1000 <= 100


def test_a_budget_that_is_used_up_by_the_accuracy_trials_still_allows_one_round() -> None:
    measured = measure(FakeJobs(), replace(SETTINGS, time_budget=1.0))

    assert set(measured.rounds(2)) == {1}
    assert measured.budget_ended


def test_a_polluted_round_is_set_aside_whole_and_repeated_with_a_seed_of_its_own(noise: list[Noise]) -> None:
    noise += [QUIET, QUIET, QUIET, NOISY]
    measured = measure(FakeJobs())

    assert list(measured.polluted) == ["1"]
    assert measured.polluted["1"] == "2 workers: other programs kept 1.00 cores busy (limit 0.25)"
    assert set(measured.rounds(2)) == {1, 2, 3, 4}
    assert summarise(measured, SPREAD).of(2).rounds == (2, 3, 4)


def test_a_third_of_the_rounds_is_repeated_at_most(noise: list[Noise]) -> None:
    noise += [QUIET, QUIET, *[NOISY] * 100]
    measured = measure(FakeJobs(), replace(SETTINGS, rounds=3))

    assert set(measured.polluted) == set(map(str, measured.rounds(2))) == {"1", "2", "3", "4"}
    assert summarise(measured, SPREAD).verdict.outcome is Outcome.INCONCLUSIVE


def test_noise_in_the_accuracy_trials_sets_nothing_aside(noise: list[Noise]) -> None:
    noise += [NOISY, NOISY]

    assert not measure(FakeJobs()).polluted


# What goes wrong


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


def test_a_baseline_that_hands_nothing_over_ends_the_run_and_keeps_what_was_measured() -> None:
    def answer(of: TrialSpec) -> TrialResult | FinishedJob:
        return ended("SUCCEEDED", "", None) if of.kind == "timing" and of.workers == 0 else honest(of)

    measured = measure(FakeJobs(answer))

    assert [failure.name for failure in measured.failures] == ["run"]
    assert [each.spec.kind for each in measured.measurements] == ["accuracy", "accuracy"]
    assert summarise(measured, SPREAD).verdict.outcome is Outcome.REGRESSION


@pytest.mark.parametrize(
    ("job", "kind", "cause"),
    [
        (ended("FAILED", "Traceback\n  File x\nValueError: odd\n"), "MissingFigure", "ended FAILED: ValueError: odd"),
        (ended("FAILED", "trainer: MNIST at /x is damaged\nbye\n"), "MissingFigure", "trainer: MNIST at /x is damaged"),
        (ended("FAILED", ""), "MissingFigure", "ended FAILED: the message"),
        (ended("FAILED", f"Traceback\n{LOST_NODE}\n"), "Infra", "ActorDiedError"),
        (ended("FAILED", "Traceback\ntrainer.ring.LostRank: rank 0: rank 1 closed the ring\n"), "Infra", "LostRank"),
        (ended("FAILED", "", "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"), "Infra", "ended FAILED: the message"),
        (ended("STOPPED", "epoch 1\n", None), "Infra", "baseline: the job ended STOPPED: epoch 1"),
    ],
)
def test_a_failed_job_is_the_trainings_fault_only_when_its_own_command_failed(
    job: FinishedJob, kind: str, cause: str
) -> None:
    (failure,) = measure(FakeJobs(lambda of: job)).failures

    assert (failure.name, failure.kind) == ("run", kind)
    assert cause in failure.cause
    assert failure.remedy == "The job's log is in the evidence."


def test_data_that_is_damaged_is_the_machines_fault() -> None:
    damaged = replace(ended("FAILED", "trainer: MNIST at /x is damaged\n"), driver_exit_code=3)

    (failure,) = measure(FakeJobs(lambda of: damaged)).failures

    assert (failure.kind, failure.remedy) == ("Infra", "Restore the file from the repository.")


def test_a_failed_job_on_a_cluster_that_lost_a_node_is_the_clusters_fault() -> None:
    provider = FakeProvider(2, 1)

    def answer(of: TrialSpec) -> FinishedJob:
        provider.down()
        return ended("FAILED", "ValueError: odd")

    measured = experiment(FakeJobs(answer), provider=provider).run()

    assert measured.failures[0].kind == "Infra"
    assert measured.failures[0].cause.endswith("A node of the cluster is gone.")
    assert summarise(measured, SPREAD).verdict.outcome is Outcome.INFRA


def test_a_cluster_that_is_lost_in_the_rounds_leaves_what_was_measured() -> None:
    def answer(of: TrialSpec) -> TrialResult:
        if of.kind == "timing" and of.seed == 3:
            raise Infra("The dashboard is gone.", "See the evidence.")
        return honest(of)

    measured = measure(FakeJobs(answer))

    assert len(measured.rounds(2)) == 1
    assert set(measured.phases) == {"cluster", "accuracy", "timing"}
    verdict = summarise(measured, SPREAD).verdict
    assert (verdict.outcome, verdict.why) == (Outcome.INFRA, "The dashboard is gone. See the evidence.")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_ends_the_run_at_once(interrupt: type[BaseException]) -> None:
    def answer(of: TrialSpec) -> TrialResult:
        if of.kind == "timing":
            raise interrupt
        return honest(of)

    running = experiment(FakeJobs(answer))

    with pytest.raises(interrupt):
        running.run()
    assert len(running.so_far().measurements) == 2


def test_people_see_why_a_round_is_set_aside_and_why_a_run_ends(noise: list[Noise]) -> None:
    noise += [QUIET, QUIET, NOISY]
    lines: list[str] = []

    experiment(FakeJobs(slow), replace(SETTINGS, time_budget=130.0), lines=lines).run()

    assert any("round 1 is set aside: baseline: other programs kept 1.00 cores busy" in line for line in lines)
    assert any("the time budget ends the run before the next round" in line for line in lines)


def test_the_spec_of_a_trial_survives_its_command() -> None:
    jobs = FakeJobs()

    measured = measure(jobs)

    assert [each.spec for each in measured.measurements] == jobs.submitted
    assert measured.measurements[0].spec == spec(0)
