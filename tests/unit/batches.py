"""What honest trials at several global batches hand over, of a training with few samples."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from fixtures.analysis.batches import BatchRun
from fixtures.analysis.plan import TrialSpec
from fixtures.clusters.contract import cluster_facts
from fixtures.measure import trials
from fixtures.measure.batches import Batches
from fixtures.measure.display import Display
from fixtures.measure.trials import TrialRunner
from fixtures.settings.batches import BatchSettings
from fixtures.settings.settings import Settings
from fixtures.system.noise import Noise
from tests.contract.fake import FakeProvider
from tests.unit.fake_jobs import FakeJobs, FakeWatch
from tests.unit.trials import EPOCHS, result, with_rank
from trainer import schedule
from trainer.result import TrialResult
from trainer.workloads.facts import CNN_MNIST

SAMPLES, BATCH = 240, 24
TRAINING = replace(CNN_MNIST, train_samples=SAMPLES)
SETTINGS = Settings(epochs=EPOCHS, batch_size=BATCH, rounds=3)
SPEED = {(0, 24): 1.0, (2, 24): 1.2, (0, 48): 1.25, (2, 48): 2.0, (0, 96): 1.3, (2, 96): 2.4, (4, 96): 4.0}
"""How many times as fast so many workers are at a batch as one process at 24."""


def chosen(**changes: Any) -> Settings:
    """The options of a run, some of them other than usual."""
    return replace(SETTINGS, batches=BatchSettings(**changes))


def hand_over(of: TrialSpec, batch: int) -> TrialResult:
    """What an honest trial at this batch hands over."""
    trial = result(of, 10.0 * of.epochs / SPEED[of.workers, batch] * (1 + 0.001 * (of.seed % 3)))
    updates, world_size = SAMPLES // batch, max(1, of.workers)
    for rank in trial.ranks:
        share = schedule.share(rank.rank, world_size, batch)
        epochs = []
        for number, epoch in enumerate(rank.epochs):
            used = [drawn[share] for drawn in schedule.global_batches(of.seed, number, batch, SAMPLES)]
            covered = schedule.coverage(used, share.start)
            samples = updates * batch // world_size
            epochs.append(replace(epoch, updates=updates, samples=samples, coverage=covered))
        changes = {"batch_size": batch, "rate_factor": of.rate_factor, "warm_up": of.warm_up, "epochs": tuple(epochs)}
        trial = with_rank(trial, rank.rank, **changes)
    return replace(trial, batch_size=batch)


def measure(
    settings: Settings = SETTINGS,
    jobs: FakeJobs | None = None,
    answer: Callable[[TrialSpec, int], Any] = hand_over,
    cores: int = 8,
    noise: Sequence[Noise] = (),
) -> BatchRun:
    """Run the plan on a Jobs API that answers at once, and find this noise beside the first trials."""
    jobs = jobs or FakeJobs()
    jobs.answer = lambda of: answer(of, jobs.batch_sizes[-1])
    provider = FakeProvider(max(settings.workers), 1)
    cluster = provider.up(lambda line: None)
    display = Display(lambda text: None, live=False, clock=lambda: jobs.now)
    facts = replace(cluster_facts("fake", cluster), usable_cores=cores)
    runner = TrialRunner(provider, cluster, jobs, display, cpus=1, collective="auto")
    FakeWatch.found = list(noise)
    with patch.object(trials, "Watch", FakeWatch):
        return Batches(settings, facts, runner, display, TRAINING, clock=lambda: jobs.now).run()
