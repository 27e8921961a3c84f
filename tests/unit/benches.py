"""What an honest bench leaves. A test changes one figure of it and sees what is said about the targets."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from benchmarks.rounds import GROUPS, VARIANTS, Bench, Configuration, Host, Trial, VariantTrial, configurations
from benchmarks.variants.common import VariantResult
from tests.unit.trials import LOSSES, MEANS, QUIET, measurement
from trainer import schedule

HOST = Host("A CPU", 2, 8.0, "Linux 6")
SECONDS = {"baseline": 10.0, "workers": 5.0, "copies": 10.0, "ranks": 5.0, "variant": 12.0}

Clock = Callable[[Configuration, int], float]


def steady(configuration: Configuration, number: int) -> float:
    """A machine on which two workers reach the whole ceiling; rounds differ by a thousandth."""
    return SECONDS[configuration.kind] * (1 + 0.001 * (number % 3 == 0))


def variant_trial(
    configuration: Configuration, number: int, seconds: float = 12.0, loss: float = LOSSES[0]
) -> VariantTrial:
    module, keras = VARIANTS[configuration.variant]
    updates = schedule.updates_per_epoch(configuration.batch_size)
    result = VariantResult(
        variant=module,
        keras=keras,
        batch_size=configuration.batch_size,
        seed=1 + number,
        seconds=seconds,
        updates=updates,
        samples=updates * configuration.batch_size,
        loss=loss,
        intra_threads=MEANS.intra_threads,
        inter_threads=MEANS.inter_threads,
        cores=MEANS.cores,
        niceness=MEANS.niceness,
        versions={"tensorflow": "2.21.0", keras: "3.15.1", "python": "3.11.7"},
    )
    return VariantTrial(configuration, number, result, QUIET)


def trial(configuration: Configuration, number: int, seconds: float) -> Trial:
    return Trial(configuration, measurement(configuration.spec(seed=1), number, seconds))


def bench(rounds: int, groups: Collection[str] = GROUPS, clock: Clock = steady, **changes: object) -> Bench:
    """So many rounds of these groups."""
    trials: list[Trial] = []
    variants: list[VariantTrial] = []
    for number in range(1, rounds + 1):
        for each in configurations(groups, number):
            if each.kind == "variant":
                variants.append(variant_trial(each, number, clock(each, number)))
            else:
                trials.append(trial(each, number, clock(each, number)))
    made = Bench("make bench", tuple(groups), rounds, HOST, tuple(trials), tuple(variants), {}, 60.0)
    return replace(made, **changes)  # type: ignore[arg-type]
