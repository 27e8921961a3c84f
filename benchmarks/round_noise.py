"""The noise between rounds that really was: the source of the measured part of fixtures/history/replay.json.

python -m benchmarks.round_noise reports                         # of the last run
python -m benchmarks.round_noise reports/history/00*.json        # of many runs, each from its entry

The values of every clean round of what the regression gate compares are added: speedup of 2 workers, training time
of the baseline by its calibration, job overhead of 2 workers. Runs of one machine and setting are taken together:
a round scatters about the mean of its own run. What was measured there before is replaced. The generator of
synthetic histories takes the noisiest machine of each. --dry-run prints and writes nothing.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fixtures.analysis.judgement import Metric
from fixtures.analysis.measurement import Run
from fixtures.analysis.spread import Spread
from fixtures.analysis.summary import summarise
from fixtures.errors import BenchmarkError, MissingResultError, UsageError
from fixtures.history.entry import Commit, Entry
from fixtures.history.replay import FILE, METRICS, deviation
from fixtures.history.store import read_entry
from fixtures.report.results import find_measurements
from fixtures.system.text import count

LEAST = 12
"""Clean rounds, of all runs together, from which a standard deviation is worth keeping."""
_NUMBERS = re.compile(r"\[\s+([-\d.,e\s]+?)\s+\]")


def read(source: Path) -> Entry:
    """A run, from its entry of the history or from its measurements. Raises UsageError."""
    if source.is_file() and source.name != "measurements.json":
        try:
            return read_entry(source)
        except ValueError as error:
            raise UsageError(f"{source}: expected an entry of the history or a run's reports: {error}.") from None
    run = Run.from_json(find_measurements(source).read_text(encoding="utf-8"))
    return Entry.of(summarise(run, Spread.load()), Commit("unknown"), "unknown")


def measured(entry: Entry, source: str) -> dict[Metric, list[float]]:
    """By metric, the values of each clean round. Raises UsageError and MissingResultError.

    Args:
        entry: of a run.
        source: how it was asked for, for messages.
    """
    if entry.injected_slowdown:
        raise UsageError(f"{source}: its workers were slowed down on purpose, which is no noise.")
    rounds = {}
    for metric in METRICS:
        measure = entry.sample.measures.get(metric)
        if measure is None:
            why = entry.sample.absent.get(metric, "it was not asked for.")
            raise MissingResultError(f"{source} has no {metric.label}: {why}")
        rounds[metric] = [round(value, 5) for value in (*measure.rounds, *measure.rerun)]
    return rounds


def together(runs: Sequence[tuple[Entry, str]]) -> list[dict[str, dict[str, Any]]]:
    """By metric, what the runs of each machine and setting have measured. Raises UsageError and MissingResultError.

    Args:
        runs: each with how it was asked for.
    """
    groups: dict[str, list[tuple[Entry, str]]] = {}
    for entry, source in runs:
        setting = ", ".join(f"{name} {value}" for name, value in entry.setup.items())
        groups.setdefault(f"{entry.machine or 'unknown'}; {setting}", []).append((entry, source))
    measurements = []
    for machine, group in groups.items():
        samples = [measured(entry, source) for entry, source in group]
        ends = sorted({min(entry.at for entry, _ in group), max(entry.at for entry, _ in group)})
        by = f"pytest -m e2e --regression, {count(len(group), 'run')}, {' to '.join(ends)}"
        for metric in METRICS:
            rounds = sum(len(sample[metric]) for sample in samples)
            if rounds < LEAST:
                where = ", ".join(source for _, source in group)
                raise UsageError(f"{where}: {rounds} clean rounds of the {metric.label}, {LEAST} are needed.")
        measurements.append(
            {m.name: {"by": by, "machine": machine, "nights": [sample[m] for sample in samples]} for m in METRICS}
        )
    return measurements


def merged(recorded: dict[str, Any], groups: Sequence[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """The content of replay.json with these in it; they replace what was measured there before."""
    known = dict(recorded["measured"])
    for metric in METRICS:
        new = [group[metric.name] for group in groups]
        kept = [
            old for old in known[metric.name] if old.get("machine") not in {measured["machine"] for measured in new}
        ]
        known[metric.name] = [*kept, *new]
    return {**recorded, "measured": known}


def text(content: dict[str, Any]) -> str:
    """As JSON, a list of numbers in one line."""
    made = json.dumps(content, indent=1, allow_nan=False)
    return _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", made) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Read the runs, print their noise, write the file; 4 for a refused source."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path, nargs="+", help="folders of reports, measurements.json, history entries")
    parser.add_argument("--file", type=Path, default=FILE, help="where the noise is kept")
    parser.add_argument("--dry-run", action="store_true", help="print the noise and write nothing")
    options = parser.parse_args(arguments)
    recorded = json.loads(options.file.read_text(encoding="utf-8"))
    try:
        groups = together([(read(source), str(source)) for source in options.sources])
    except BenchmarkError as error:
        print(f"round_noise: {error}", file=sys.stderr)
        return 4
    content = merged(recorded, groups)
    for metric in METRICS:
        print(f"noise between rounds of the {metric.label}")
        for measurement in content["measured"][metric.name]:
            print(f"  {deviation(measurement):6.1%}  {measurement['by']}")
    if not options.dry_run:
        options.file.write_text(text(content), encoding="utf-8")
        print(f"{options.file} is written: make gate-selftest replays the promises with it, docs/METHOD.md quotes it.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
