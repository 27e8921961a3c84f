"""The noise between rounds that really was: the source of the measured part of fixtures/replay.json.

python -m benchmarks.round_noise reports                         # of the last run, 12 rounds or more
python -m benchmarks.round_noise reports/history/00*.json        # of many runs, each from its entry

Each run adds the value of every clean round of what the regression gate compares: speedup of 2 workers, training
time of the baseline by its calibration, job overhead of 2 workers. A run that is there already is replaced. The
generator of synthetic histories takes the noisiest run of each. --dry-run prints and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fixtures.entry import Commit, Entry
from fixtures.errors import BenchmarkError, MissingFigure, UsageError
from fixtures.history import read_entry
from fixtures.measurement import Run
from fixtures.replay import FILE, METRICS, deviation
from fixtures.report.files import measurements_file
from fixtures.summary import summarise
from fixtures.work import Spread

LEAST = 12
"""Clean rounds from which a standard deviation is worth keeping: it is known to about a fifth then."""
_NUMBERS = re.compile(r"\[\s+([-\d.,e\s]+?)\s+\]")


def read(source: Path) -> Entry:
    """A run, from its entry of the history or from its measurements. Raises UsageError."""
    if source.is_file() and source.name != "measurements.json":
        try:
            return read_entry(source)
        except ValueError as error:
            raise UsageError(f"{source}: expected an entry of the history or a run's reports: {error}.") from None
    run = Run.from_json(measurements_file(source).read_text(encoding="utf-8"))
    return Entry.of(summarise(run, Spread.load()), Commit("unknown"), "unknown")


def measured(entry: Entry, source: str) -> dict[str, dict[str, Any]]:
    """By metric, the values of each clean round and where they are from. Raises UsageError and MissingFigure.

    Args:
        entry: of a run.
        source: how it was asked for, for messages.
    """
    if entry.injected_slowdown:
        raise UsageError(f"{source}: its workers were slowed down on purpose, which is no noise.")
    found = {}
    for metric in METRICS:
        measure = entry.night.measures.get(metric)
        if measure is None:
            why = entry.night.absent.get(metric, "it was not asked for.")
            raise MissingFigure(f"{source} has no {metric.label}: {why}")
        values = [*measure.rounds, *measure.rerun]
        if len(values) < LEAST:
            raise UsageError(f"{source}: {len(values)} clean rounds of the {metric.label}, {LEAST} are needed.")
        setting = ", ".join(f"{name} {value}" for name, value in entry.setup.items())
        found[metric.name] = {
            "by": f"pytest -m e2e, run of {entry.at}",
            "machine": f"{entry.machine or 'unknown'}; {setting}",
            "values": [round(value, 5) for value in values],
        }
    return found


def merged(recorded: dict[str, Any], runs: Sequence[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """The content of replay.json with these runs in it, each once."""
    known = dict(recorded["measured"])
    for metric in METRICS:
        new = [run[metric.name] for run in runs]
        kept = [each for each in known[metric.name] if each["by"] not in {one["by"] for one in new}]
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
        runs = [measured(read(source), str(source)) for source in options.sources]
    except BenchmarkError as error:
        print(f"round_noise: {error}", file=sys.stderr)
        return 4
    content = merged(recorded, runs)
    for metric in METRICS:
        print(f"noise between rounds of the {metric.label}")
        for each in content["measured"][metric.name]:
            print(f"  {deviation(each):6.1%}  {each['by']}")
    if not options.dry_run:
        options.file.write_text(text(content), encoding="utf-8")
        print(f"{options.file} is written: make gate-selftest replays the promises with it, docs/METHOD.md quotes it.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
