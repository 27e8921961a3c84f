"""How far equal runs differ, against the intervals that they promise.

python -m benchmarks.pairs reports/history/00*.json

Runs of one machine and setting are taken in pairs. The difference of two speedups has a 95 % interval of its own,
from the spread of both runs' rounds (Welch 1947, on the logarithms). Were the rounds of a run independent evidence,
that interval would hold zero in 95 of 100 pairs; it holds it in fewer where a run has conditions of its own.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, log, sqrt
from pathlib import Path
from statistics import fmean, median, variance

from scipy.stats import t as student

from benchmarks.round_noise import read
from fixtures.analysis.judgement import Metric
from fixtures.errors import BenchmarkError, UsageError
from fixtures.history.entry import Entry
from fixtures.system.text import count


@dataclass(frozen=True)
class Difference:
    """Two equal runs.

    Attributes:
        ratio: of their speedups, the larger over the smaller.
        reach: half of the 95 % interval of that ratio's logarithm.
    """

    ratio: float
    reach: float

    @property
    def covered(self) -> bool:
        """Whether the interval of the difference holds zero."""
        return log(self.ratio) <= self.reach


def compare(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Compare the speedups of two runs by rounds, at least two each. Raises UsageError when none differ."""
    runs = [[log(value) for value in rounds] for rounds in (first, second)]
    parts = [variance(values) / len(values) for values in runs]
    if not any(parts):
        raise UsageError("All rounds of two runs are equal: there is no spread to judge a difference by.")
    freedom = sum(parts) ** 2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, runs, strict=True))
    reach = float(student.ppf(0.975, freedom)) * sqrt(sum(parts))
    return Difference(exp(abs(fmean(runs[0]) - fmean(runs[1]))), reach)


def describe(name: str, rounds: Sequence[Sequence[float]]) -> list[str]:
    """Return lines about the pairs of equal runs of one metric. Raises UsageError for fewer than two runs."""
    if len(rounds) < 2:
        raise UsageError(f"{name}: one run, expected at least two of the same machine and setting.")
    pairs = [compare(first, second) for first, second in combinations(rounds, 2)]
    apart = [compare(first, second) for first, second in zip(rounds[::2], rounds[1::2], strict=False)]
    within = fmean(variance([log(value) for value in values]) / len(values) for values in rounds)
    between = variance([fmean([log(value) for value in values]) for values in rounds])
    lines = [f"{name}: {count(len(rounds), 'run')} of {min(map(len, rounds))} to {max(map(len, rounds))} clean rounds"]
    for what, some in (("pairs of neighbours", apart), ("all pairs", pairs)):
        ratios = [pair.ratio - 1 for pair in some]
        lines.append(
            f"  {what}: {len(some)}, apart by {median(ratios):.1%} in the middle and {max(ratios):.1%} at most; the "
            f"95 % interval of the difference holds zero in {sum(pair.covered for pair in some)} of {len(some)}"
        )
    lines.append(
        f"  a run's own rounds promise a standard error of {sqrt(within):.1%}; the runs scatter by {sqrt(between):.1%}"
    )
    return lines


def main(arguments: Sequence[str]) -> int:
    """Print what the pairs say, for each machine and setting."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pairs", description="How far equal runs differ.")
    parser.add_argument("runs", nargs="+", type=Path, help="entries of the history, or folders that runs left")
    parser.add_argument("--workers", type=int, default=2, help="worker count whose speedup is compared")
    options = parser.parse_args(arguments)
    try:
        groups: dict[str, list[Entry]] = {}
        for entry in map(read, options.runs):
            groups.setdefault(entry.like, []).append(entry)
        for entries in groups.values():
            metric = Metric("speedup", options.workers)
            samples = [entry.sample.measures.get(metric) for entry in entries]
            rounds = [sample.rounds for sample in samples if sample is not None and len(sample.rounds) > 1]
            print(*describe(f"speedup of {count(options.workers, 'worker')}", rounds), sep="\n")
    except BenchmarkError as error:
        print(f"pairs: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
