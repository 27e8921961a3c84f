"""How much loss and accuracy vary between seeds: the source of fixtures/analysis/baseline_spread.json.

python benchmarks/baseline_spread.py --seeds 20 > fixtures/analysis/baseline_spread.json
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from trainer.result import TrialResult, decode

ROOT = Path(__file__).parent.parent


def train(seed: int, epochs: int) -> TrialResult:
    """One baseline run with this seed."""
    arguments = ["--workers", "0", "--epochs", str(epochs), "--seed", str(seed), "--evaluate"]
    finished = subprocess.run(
        [sys.executable, "-m", "trainer", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "image")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=3600,
    )
    return decode(finished.stdout)


def main() -> None:
    """Train with every seed and print the spread as JSON: by epoch, a value per seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    runs = []
    for seed in range(1, options.seeds + 1):
        runs.append(train(seed, options.epochs))
        print(f"seed {seed}: accuracy {runs[-1].accuracy}", file=sys.stderr)
    epochs = [[run.ranks[0].epochs[epoch] for run in runs] for epoch in range(options.epochs)]
    spread = {
        "command": "python benchmarks/baseline_spread.py " + " ".join(sys.argv[1:]),
        "batch_size": runs[0].batch_size,
        "versions": runs[0].versions,
        "loss": [[record.loss for record in records] for records in epochs],
        "accuracy": [[record.accuracy for record in records] for records in epochs],
    }
    json.dump(spread, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
