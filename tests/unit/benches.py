"""What an honest bench leaves. A test changes one figure of it and sees what is said about the targets."""

from collections.abc import Callable, Collection
from dataclasses import replace

from benchmarks.rounds import GROUPS, SCRIPTS, Bench, Configuration, Host, Trial, VariantTrial, configurations
from benchmarks.variants.common import VariantResult
from tests.unit.trials import LOSSES, MEANS, QUIET, measurement
from trainer import schedule

HOST = Host("A CPU", 2, 8.0, "Linux 6")
SECONDS = {
    "baseline": 10.0,
    "workers": 5.0,
    "trimmed": 4.9,
    "copies": 10.0,
    "ranks": 5.0,
    "tensorflow": 6.0,
    "mpi": 5.0,
    "keras": 10.2,
    "variant": 12.0,
}

Clock = Callable[[Configuration, int], float]


def steady(configuration: Configuration, number: int) -> float:
    """A machine on which two workers reach the whole ceiling; rounds differ by a thousandth."""
    return SECONDS[configuration.kind] * (1 + 0.001 * (number % 3 == 0))


def variant_trial(
    configuration: Configuration, number: int, seconds: float = 12.0, loss: float = LOSSES[0]
) -> VariantTrial:
    script = SCRIPTS[configuration.variant]
    size = configuration.batch_size * (script.workers if script.module == "ray_fit" else 1)
    updates = schedule.updates_per_epoch(size)
    result = VariantResult(
        variant=script.module,
        keras=script.package,
        batch_size=size,
        seed=1 + number,
        seconds=seconds,
        updates=updates,
        samples=updates * size,
        loss=loss,
        intra_threads=MEANS.intra_threads,
        inter_threads=MEANS.inter_threads,
        cores=MEANS.cores,
        niceness=MEANS.niceness,
        versions={"tensorflow": "2.21.0", script.package: "3.15.1", "python": "3.11.7"},
        accuracy=0.98 if configuration.evaluate else None,
    )
    return VariantTrial(configuration, number, result, QUIET, job_seconds=seconds + 7)


def trial(configuration: Configuration, number: int, seconds: float) -> Trial:
    return Trial(configuration, measurement(configuration.spec(seed=1), number, seconds))


def bench(rounds: int, groups: Collection[str] = GROUPS, clock: Clock = steady, **changes: object) -> Bench:
    """So many rounds of these groups."""
    trials: list[Trial] = []
    variants: list[VariantTrial] = []
    for number in range(1, rounds + 1):
        for trained in configurations(groups, number):
            if trained.kind == "variant":
                variants.append(variant_trial(trained, number, clock(trained, number)))
            else:
                trials.append(trial(trained, number, clock(trained, number)))
    made = Bench("make bench", tuple(groups), rounds, HOST, tuple(trials), tuple(variants), {}, 60.0)
    return replace(made, **changes)  # type: ignore[arg-type]
