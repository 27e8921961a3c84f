"""What honest trials hand over. A test changes one figure of it and sees what the harness says."""

import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Literal

from fixtures.analysis.links import Link
from fixtures.analysis.measurement import ClusterFacts, Failure, Measurement, Run
from fixtures.analysis.plan import TrialSpec
from fixtures.analysis.scaling import Compute, ScalingModel
from fixtures.analysis.spread import Spread
from fixtures.settings.settings import Settings
from fixtures.system.noise import Noise
from trainer import schedule
from trainer.result import ComputeResources, EpochRecord, Hardware, Probe, RankRecord, TrialResult
from trainer.workloads.facts import CNN_MNIST

BATCH = 6000
UPDATES = 10
SAMPLES = 60_000
EPOCHS = 2
LOSSES, ACCURACIES = (0.30, 0.10, 0.07), (0.9810, 0.9860, 0.9890)
SPREAD = Spread(loss=(0.01, 0.004, 0.003), accuracy=(0.002, 0.0015, 0.001))
QUIET = Noise(steal=0.0, throttled=0.0, foreign_cores=0.01, pressure=0.0)
MEANS = ComputeResources(intra_threads=1, inter_threads=1, cores=1, quota=None, niceness=0, onednn="default")
SCALING = ScalingModel(Compute(step=4e-4, image=1e-4, cache=0.0, batch=0.0, call=2e-4), Link(2e-5, 5e9), 900_136)
SETTINGS = Settings(epochs=EPOCHS, batch_size=BATCH)

NET = replace(
    CNN_MNIST, name="my_net", workload_sha256="f" * 64, data="mine.npz", data_sha256="d" * 64, optimizer="SGD"
)
SAID: dict[str, Any] = {
    "workload": NET.workload_sha256,
    "data": NET.data_sha256,
    "start": "5" * 64,
    "optimizer": NET.optimizer,
    "libraries": "keras 3.15.1",
    "tensors": NET.tensors,
}
"""A training of the user's, and what each rank says of it."""

Kind = Literal["accuracy", "timing", "ceiling", "all-cores"]


@cache
def _twelfths(seed: int, epoch: int) -> tuple[str, ...]:
    """What each of twelve ranks would report; of 1, 2, 3 or 4 ranks, each has some of these shares."""
    batches = schedule.global_batches(seed, epoch, BATCH)
    shares = [schedule.share(rank, 12, BATCH) for rank in range(12)]
    return tuple(schedule.coverage([batch[own] for batch in batches], own.start) for own in shares)


def coverage(seed: int, epoch: int, rank: int, world_size: int) -> str:
    """What a rank reports that trained on its own share of every global batch of an epoch.

    Hashed once for all world sizes, which takes a fraction of the time: coverage adds up (test_schedule).
    """
    return schedule.add_coverage(_twelfths(seed, epoch)[schedule.share(rank, world_size, 12)])


@cache
def probe(seed: int) -> Probe:
    """Projections of the gradient and of the weights' change, equal on every rank but for rounding."""
    noise = random.Random(seed)
    gradient, weights = (
        tuple(tuple(noise.gauss(0, 0.01) for _ in range(6)) for _ in CNN_MNIST.tensors) for _ in range(2)
    )
    return Probe(gradient, weights)


def scaled(original: Probe, *, gradient: float = 1.0, weights: float = 1.0) -> Probe:
    """The probe, but its gradient and its change of the weights are so many times as large."""
    return Probe(
        tuple(tuple(each * gradient for each in row) for row in original.gradient),
        tuple(tuple(each * weights for each in row) for row in original.weights),
    )


def epoch_record(
    number: int, *, seed: int, rank: int = 0, world_size: int = 1, seconds: float, accuracy: float | None = None
) -> EpochRecord:
    losses = [2.3 * math.exp(-0.1 * update) for update in range(UPDATES)]
    return EpochRecord(
        updates=UPDATES,
        samples=SAMPLES // world_size,
        coverage=coverage(seed, number, rank, world_size),
        loss=LOSSES[number],
        first_losses=tuple(loss / world_size for loss in losses),
        seconds=seconds,
        weights=hashlib.sha256(f"{seed}/{number}/{world_size}".encode()).hexdigest(),
        accuracy=accuracy,
    )


def spec(
    workers: int, kind: Kind = "accuracy", *, copies: int = 1, seed: int = 1, epochs: int | None = None, cpus: int = 0
) -> TrialSpec:
    epochs = epochs or (EPOCHS if kind == "accuracy" else 1)
    return TrialSpec(kind, workers, copies, epochs, seed, probe=kind == "accuracy", cpus=cpus)


def result(of: TrialSpec, seconds: float = 10.0) -> TrialResult:
    """What an honest trial of this kind hands over; its training loop took so long."""
    world_size = max(1, of.workers)
    evaluates = of.kind == "accuracy"
    ranks = [
        RankRecord(
            rank=rank,
            world_size=world_size,
            seed=of.seed,
            learning_rate=0.001,
            batch_size=BATCH,
            host="here",
            node=f"worker-{rank + 1}",
            collective="ring" if world_size > 1 else "none",
            means=replace(MEANS, intra_threads=of.cpus, cores=of.cpus) if of.cpus else MEANS,
            epochs=tuple(
                epoch_record(
                    number,
                    seed=of.seed,
                    rank=rank if of.copies == 1 else 0,
                    world_size=world_size,
                    seconds=seconds / of.epochs,
                    accuracy=ACCURACIES[number] if evaluates and rank == 0 else None,
                )
                for number in range(of.epochs)
            ),
            probe=probe(of.seed) if of.probe else None,
            marks={"import": 1002.0, "data": 1003.0, "build": 1004.0, "train": 1004.0 + seconds},
            slowdown=of.slowdown,
        )
        for rank in range(max(world_size, of.copies))
    ]
    return TrialResult(
        workers=of.workers,
        copies=of.copies,
        seed=of.seed,
        epochs=of.epochs,
        batch_size=BATCH,
        ranks=tuple(ranks),
        marks={"start": 1001.0, "end": 1005.0 + seconds},
        versions={"tensorflow-cpu": "2.21.0", "python": "3.11.7"},
    )


def with_rank(trial: TrialResult, number: int, **changes: Any) -> TrialResult:
    """The trial, but one rank hands over something else."""
    ranks = tuple(replace(rank, **changes) if at == number else rank for at, rank in enumerate(trial.ranks))
    return replace(trial, ranks=ranks)


def with_epoch(trial: TrialResult, number: int, *, epoch: int = 0, **changes: Any) -> TrialResult:
    """The trial, but one rank hands over something else about one epoch."""
    epochs = trial.ranks[number].epochs
    changed = tuple(replace(each, **changes) if at == epoch else each for at, each in enumerate(epochs))
    return with_rank(trial, number, epochs=changed)


def with_all_ranks(trial: TrialResult, **changes: Any) -> TrialResult:
    """The trial, but every rank hands over something else."""
    return replace(trial, ranks=tuple(replace(rank, **changes) for rank in trial.ranks))


def with_all_epochs(trial: TrialResult, *, epoch: int = 0, **changes: Any) -> TrialResult:
    """The trial, but every rank hands over something else about one epoch."""
    for number in range(len(trial.ranks)):
        trial = with_epoch(trial, number, epoch=epoch, **changes)
    return trial


def measurement(of: TrialSpec, number: int = 0, seconds: float = 10.0, noise: Noise = QUIET) -> Measurement:
    """An honest trial, its job 6 s longer than its training loop."""
    return Measurement(of, number, result(of, seconds), 1000.0, 1000.5, 1006.0 + seconds, noise)


def timing_round(
    number: int,
    baseline: float,
    parallel: float,
    copies: float | None = None,
    workers: int = 2,
    all_cores: float | None = None,
) -> tuple[Measurement, ...]:
    """One clean round: seconds of the baseline, the workers, the slowest copy, and one process on all cores."""
    seed = SETTINGS.seed + number
    trials = [
        measurement(spec(0, "timing", seed=seed), number, baseline),
        measurement(spec(workers, "timing", seed=seed), number, parallel),
    ]
    if copies is not None:
        trials.append(measurement(spec(0, "ceiling", copies=workers, seed=seed), number, copies))
    if all_cores is not None:
        trials.append(measurement(spec(0, "all-cores", cpus=workers, seed=seed), number, all_cores))
    return tuple(trials)


def run(
    *rounds: Sequence[Measurement],
    counts: tuple[int, ...] = (2,),
    settings: Settings = SETTINGS,
    accuracy: Sequence[Measurement] | None = None,
    usable_cores: int = 8,
    all_cores: tuple[int, ...] | None = None,
    polluted: dict[str, str] | None = None,
    failures: tuple[Failure, ...] = (),
    budget_ended: bool = False,
) -> Run:
    """A run with honest accuracy trials of 30 s (baseline) and 16 s (workers), and these rounds."""
    if accuracy is None:
        accuracy = [measurement(spec(0), seconds=30.0), *(measurement(spec(count), seconds=16.0) for count in counts)]
    return Run(
        settings=replace(settings, workers=counts or settings.workers),
        counts=counts,
        cluster=ClusterFacts("fake", max(counts, default=1), 1, usable_cores, 0, "f" * 64, all_cores=all_cores),
        measurements=(*accuracy, *(trial for each in rounds for trial in each)),
        polluted=polluted or {},
        failures=failures,
        phases={"cluster": 3.0, "accuracy": 60.0, "timing": 90.0},
        budget_ended=budget_ended,
    )


def slowed(made: Run, share: float) -> Run:
    """The run as it would be had its workers been asked to be slower, and been."""
    trials = []
    for each in made.measurements:
        if each.spec.workers:
            result = with_all_ranks(each.result, slowdown=share)
            each = replace(each, spec=replace(each.spec, slowdown=share), result=result)  # noqa: PLW2901
        trials.append(each)
    return replace(made, measurements=tuple(trials))


def on(measured: Run, cpu: str, kernel: str = "6.18") -> Run:
    """The run as it would be had its ranks said on which processor they ran."""
    hardware = Hardware(cpu, "x86_64", 2, 24)
    trials = [
        replace(trial, result=with_all_ranks(trial.result, hardware=hardware, kernel=kernel))
        for trial in measured.measurements
    ]
    return replace(measured, measurements=tuple(trials))
