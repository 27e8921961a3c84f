"""How much loss and accuracy vary between seeds: how far trials may end apart that did the same work.

python -m benchmarks.baseline_spread --seeds 20 > fixtures/analysis/baseline_spread.json
python -m benchmarks.baseline_spread --seeds 20 --workload=my_net.py --data=my_data.npz

With --workload or --batch-size it is kept in reports/spread, where runs of the same file, data and batch find it.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from fixtures.analysis.spread import FEWEST_BASELINES, Recorded, name_file
from fixtures.errors import BenchmarkError
from fixtures.measure.workloads import Prepared, prepared
from fixtures.settings.option import add_options
from fixtures.settings.settings import ALL_OPTIONS, Settings, build
from fixtures.settings.workload import identify
from trainer.reading import from_dict
from trainer.result import TrialResult, decode

ROOT = Path(__file__).parent.parent
OPTIONS = ("workload", "data", "workers", "epochs", "batch_size", "reports")


def train(seed: int, settings: Settings, training: Prepared) -> TrialResult:
    """One baseline run with this seed."""
    arguments = ["--workers", "0", "--epochs", str(settings.epochs), "--seed", str(seed), "--evaluate"]
    arguments += ["--batch-size", str(settings.batch_size), *training.arguments]
    arguments += ["--data", training.data] if training.data else []
    finished = subprocess.run(
        [sys.executable, "-m", "trainer", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "image")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=24 * 3600,
    )
    return decode(finished.stdout)


def record(settings: Settings, seeds: int, training: Prepared) -> Recorded:
    """Train with every seed."""
    runs = []
    for seed in range(1, seeds + 1):
        runs.append(train(seed, settings, training))
        print(f"seed {seed}: accuracy {runs[-1].accuracy}", file=sys.stderr)
    epochs = list(zip(*(run.ranks[0].epochs for run in runs), strict=True))
    recorded = {
        "command": shlex.join(["python", "-m", "benchmarks.baseline_spread", *sys.argv[1:]]),
        "training": identify(training.facts),
        "batch_size": settings.batch_size,
        "versions": runs[0].versions,
        "loss": [[epoch.loss for epoch in seeds] for seeds in epochs],
        "accuracy": [[epoch.accuracy for epoch in seeds] for seeds in epochs],
    }
    return from_dict(Recorded, recorded)


def main(arguments: Sequence[str]) -> int:
    """Record a spread: in reports/spread for a training that is named, else on standard output."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.baseline_spread", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help=f"{FEWEST_BASELINES} or more (default: 20)")
    options = [option for option in ALL_OPTIONS if option.dest in OPTIONS]
    add_options(parser.add_argument, options)
    given = vars(parser.parse_args(arguments))
    seeds = given.pop("seeds")
    if seeds < FEWEST_BASELINES:
        parser.error(f"--seeds={seeds}: expected a whole number from {FEWEST_BASELINES}")
    try:
        settings = build(given, os.environ)
        with prepared(settings, os.environ, lambda line: print(line, file=sys.stderr)) as training:
            recorded = json.dumps(asdict(record(settings, seeds, training)), indent=1)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    if given["workload"] is None and given["batch_size"] is None:
        print(recorded)
        return 0
    file = name_file(settings.reports, training.facts, settings.batch_size)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(recorded + "\n", encoding="utf-8")
    print(f"kept in {file}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
