"""An experiment on a Jobs API that answers at once, for tests of the run of trials."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from fixtures.analysis.measurement import Run
from fixtures.analysis.plan import TrialSpec
from fixtures.clusters.contract import Cluster, Place, cluster_facts
from fixtures.measure import trials
from fixtures.measure.display import Display
from fixtures.measure.experiment import Experiment
from fixtures.measure.jobs import FinishedJob, JobsClient
from fixtures.measure.packages import Package
from fixtures.measure.trials import CNN
from fixtures.measure.workloads import Prepared
from fixtures.settings.settings import Settings
from fixtures.system.noise import Noise
from tests.contract.fake import FakeProvider
from tests.unit.trials import QUIET, SETTINGS, SPREAD, result
from trainer import __main__ as trainer
from trainer.result import TrialResult, encode

Answer = Callable[[TrialSpec], TrialResult | FinishedJob]
NOISY = replace(QUIET, foreign_cores=1.0)
LOST_NODE = "ray.exceptions.ActorDiedError: The actor died unexpectedly"


def seconds(of: TrialSpec) -> float:
    """Two workers are 1.8, four 3, and one process on two cores 1.7 times as fast as the baseline."""
    speed = {0: 1.0, 1: 0.95, 2: 1.8, 3: 2.4, 4: 3.0}[of.workers] * (0.85 * of.cpus if of.cpus else 1)
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
    gpus: list[float] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    packages: set[Package | None] = field(default_factory=set)
    expected: list[float | None] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)
    batch_sizes: list[int] = field(default_factory=list)

    def submit(
        self,
        entrypoint: Sequence[str],
        cpus: float = 0,
        env: Mapping[str, str] | None = None,
        resource: str = "",
        package: Package | None = None,
        gpus: float = 0,
    ) -> str:
        self.commands.append(list(entrypoint))
        self.cpus.append(cpus)
        self.gpus.append(gpus)
        self.resources.append(resource)
        self.packages.add(package)
        self.understand(entrypoint, resource)
        return shlex.join(entrypoint)

    def follow(
        self,
        job: str,
        on_line: Callable[[str], None],
        deadline_seconds: float,
        marker: str = "",
        on_poll: Callable[[], None] = lambda: None,
        expected_seconds: float | None = None,
    ) -> FinishedJob:
        on_poll()
        self.expected.append(expected_seconds)
        self.deadlines.append(deadline_seconds)
        began = self.now
        answer, took = self.reply()
        self.now += took
        if isinstance(answer, FinishedJob):
            return answer
        return FinishedJob(job, "SUCCEEDED", "", None, 0, f"some line\n{encode(answer)}\n", began, began, self.now)

    def understand(self, entrypoint: Sequence[str], resource: str) -> None:
        """Take in the command line of a trial."""
        assert list(entrypoint[:3]) == ["python", "-m", "trainer"]
        options = trainer.parse(entrypoint[3:])
        kind = "ceiling" if options.copies > 1 else "accuracy" if options.evaluate else "timing"
        held = options.cpus if options.cores or resource else 0
        kind = "all-cores" if held else kind
        given = (options.workers, options.copies, options.epochs, options.seed, options.probe, options.slowdown, held)
        of = TrialSpec(kind, *given, updates=options.timing_updates)  # type: ignore[arg-type]
        rank, update = options.kill
        of = replace(of, checkpoint_every=options.checkpoint_every, kill_rank=rank, kill_update=update)
        self.submitted.append(replace(of, rate_factor=options.rate_factor, warm_up=options.warm_up))
        self.batch_sizes.append(options.batch_size)

    def reply(self) -> tuple[Any, float]:
        """Return what the job that was submitted last hands over, or how it ended, and the seconds that it took."""
        answer = self.answer(self.submitted[-1])
        return answer, 5.0 if isinstance(answer, FinishedJob) else answer.train_seconds + 6.0


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
    monkeypatch.setattr(trials, "Watch", FakeWatch)
    return FakeWatch.found


def experiment(
    jobs: FakeJobs,
    settings: Settings = SETTINGS,
    counts: tuple[int, ...] = (2,),
    *,
    cores: int | None = None,
    all_cores: Mapping[int, Place] | None = None,
    provider: FakeProvider | None = None,
    lines: list[str] | None = None,
    training: Prepared = CNN,
) -> Experiment:
    settings = replace(settings, workers=counts)
    provider = provider or FakeProvider(max(counts), settings.cpus_per_worker)
    cluster: Cluster = provider.up(lambda line: None)
    if cores is not None:
        cluster = replace(cluster, usable_cores=cores)
    cluster = replace(cluster, all_cores=all_cores or {})
    facts = cluster_facts("fake", cluster)
    write: Callable[[str], None] = (lambda text: None) if lines is None else lines.append
    display = Display(write, live=False, clock=lambda: jobs.now)
    return Experiment(
        settings,
        counts,
        provider,
        cluster,
        facts,
        jobs,
        display,
        SPREAD,
        cluster_seconds=3.0,
        training=training,
        clock=lambda: jobs.now,
    )


def measure(
    jobs: FakeJobs, settings: Settings = SETTINGS, counts: tuple[int, ...] = (2,), *, cores: int | None = None
) -> Run:
    return experiment(jobs, settings, counts, cores=cores).run()


def names(jobs: FakeJobs) -> list[str]:
    return [spec.name for spec in jobs.submitted]


def slow(of: TrialSpec) -> TrialResult:
    """Two workers whose speedup straddles the 1.5 asked for."""
    wobble = 1.3 if of.seed % 2 else 1.75
    return result(of, 10.0 / wobble if of.workers else 10.0)
