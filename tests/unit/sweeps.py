"""What an honest sweep hands over: four configurations, four epochs, two at a time. A test changes one figure."""

from collections.abc import Mapping
from dataclasses import replace

from fixtures.analysis.measurement import ClusterFacts
from fixtures.analysis.sweep import SIDES, Pass, Side, SweepRound, SweepRun
from tests.unit.trials import BATCH, EPOCHS, QUIET, result, spec, with_all_ranks
from trainer.result import TrialResult
from trainer.sweep_result import Configuration, SweepResult
from trainer.workloads.facts import CNN_MNIST

RATES = (0.001, 0.003, 0.01, 0.03)
CONFIGURATIONS = tuple(Configuration(BATCH, seed=1, learning_rate=rate) for rate in RATES)
SCORES = ((0.91, 0.95), (0.92, 0.97), (0.90, 0.93), (0.50, 0.60))
"""Of each configuration after each epoch."""
SECONDS = {"alone": 42.0, "workers": 36.0, "tune": 24.0, "asha": 20.0}
STOPPED = {"asha": (2, 2, 1, 1)}
"""How many epochs ASHA lets each configuration train."""


def trained(side: Side, number: int, epochs: int = EPOCHS) -> TrialResult:
    """What a training of one configuration hands over."""
    workers = {"alone": 0, "workers": 2}.get(side, 1)
    made = with_all_ranks(result(spec(workers, "timing", epochs=epochs)), learning_rate=RATES[number])
    scored = [
        replace(epoch, accuracy=SCORES[number][at], weights=f"weights {number} {at} of {max(1, workers)}")
        for at, epoch in enumerate(made.ranks[0].epochs)
    ]
    others = [
        replace(rank, epochs=tuple(replace(epoch, weights=scored[at].weights) for at, epoch in enumerate(rank.epochs)))
        for rank in made.ranks[1:]
    ]
    return replace(made, ranks=(replace(made.ranks[0], epochs=tuple(scored)), *others))


def one_pass(side: Side, seconds: float) -> Pass:
    epochs = STOPPED.get(side, (EPOCHS,) * len(RATES))
    trials = tuple(trained(side, number, epochs[number]) for number in range(len(RATES)))
    return Pass(side, SweepResult(trials, (10.0,) * len(RATES)), 1000.0, 1000.0 + seconds, QUIET)


def sweep_round(number: int = 1, disturbed: str = "", **seconds: float) -> SweepRound:
    took: Mapping[str, float] = SECONDS | seconds
    return SweepRound(number, tuple(one_pass(side, took[side]) for side in SIDES), disturbed)


def sweep_run(*rounds: SweepRound, max_overhead: float | None = 1.2, usable_cores: int = 8) -> SweepRun:
    return SweepRun(
        settings=("workers=2",),
        workload=CNN_MNIST,
        configurations=CONFIGURATIONS,
        concurrent=2,
        cpus_per_worker=1,
        epochs=EPOCHS,
        max_overhead=max_overhead,
        cluster=ClusterFacts("fake", 2, 1, usable_cores, 0, "f" * 64),
        rounds=rounds or (sweep_round(),),
    )


def with_trial(run: SweepRun, side: Side, number: int, trial: TrialResult | None) -> SweepRun:
    """The sweep, but one training of its first round handed over something else, or diverged."""
    first = run.rounds[0]
    passes = []
    for done in first.passes:
        trials = tuple(trial if at == number else own for at, own in enumerate(done.result.trials))
        passes.append(replace(done, result=replace(done.result, trials=trials)) if done.side == side else done)
    return replace(run, rounds=(replace(first, passes=tuple(passes)), *run.rounds[1:]))
