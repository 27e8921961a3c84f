"""Samples and entries of a made-up history, for tests of the gate."""

from collections.abc import Sequence

from fixtures.analysis.judgement import Metric
from fixtures.history.entry import SCHEMA, Commit, Compared, Entry, Machine, Round
from fixtures.history.gate import REFERENCE
from fixtures.history.sample import Measure, Sample

SPEEDUP, TRAINING, OVERHEAD = Metric("speedup", 2), Metric("training", 0), Metric("overhead", 2)
WOBBLE = (0.99, 1.01, 0.98, 1.02, 1.0, 1.0, 0.99, 1.01)
"""Eight rounds of a quiet machine, 1.2 % apart."""
HERE = Machine("AMD EPYC", "x86_64", 2, 24, None, 2)


def measure(value: float, rerun: float | None = None) -> Measure:
    """Eight rounds around a value, and eight more around another."""
    again = tuple(rerun * each for each in WOBBLE) if rerun is not None else ()
    return Measure(tuple(value * each for each in WOBBLE), again)


def sample(
    number: int,
    speedup: float = 1.6,
    *,
    training: float = 40.0,
    overhead: float = 10.0,
    rerun: float | None = None,
    like: str = "here",
) -> Sample:
    """The sample of a commit; a rerun finds another speedup and all else unchanged."""
    again = rerun is not None
    measures = {
        SPEEDUP: measure(speedup, rerun),
        TRAINING: measure(training, training if again else None),
        OVERHEAD: measure(overhead, overhead if again else None),
    }
    return Sample(like, f"commit{number:02d}", 86_400.0 * number, measures)


def equal_samples(count: int = REFERENCE) -> list[Sample]:
    """Samples of one speedup, 1 % apart."""
    return [sample(number, 1.6 * (1.005 if number % 2 else 0.995)) for number in range(count)]


def entry(
    number: int = 1,
    *,
    speedup: float = 1.6,
    machine: Machine | None = HERE,
    counts: Sequence[int] = (2,),
    injected_slowdown: float = 0.0,
    complete: bool = True,
) -> Entry:
    """A run of the first of December and the days after, of eight rounds."""
    own = tuple(Round(n, 5.0 * wobble, 8.5 * wobble, 0.125) for n, wobble in enumerate(WOBBLE, 1))
    many = tuple(Round(n, 5.0 / speedup, 5.0 / speedup + 10.0, 0.125) for n in range(1, len(WOBBLE) + 1))
    compared = tuple(
        Compared(n, "PASS", "Fast.", speedup, (speedup - 0.1, speedup + 0.1), 1.7, ("all",)) for n in counts
    )
    return Entry(
        schema=SCHEMA,
        at=f"2026-12-{number:02d}T02:00:00+00:00",
        commit=Commit(f"{number:02d}" + "c0ffee" * 6 + "42"),
        machine=machine,
        setup={"cluster": "local", "batch-size": "128", "ray-train": "shipped"},
        versions={"ray": "2.60.0", "kernel": "6.18"},
        counts=tuple(counts),
        rounds={"0": own} | {str(each): many for each in counts},
        polluted={},
        compared=compared,
        outcome="PASS",
        complete=complete,
        injected_slowdown=injected_slowdown,
    )
