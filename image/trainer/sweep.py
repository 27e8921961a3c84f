"""Train every configuration of a sweep in one of four ways; the last line of the output carries the result.

What follows the options here are the trainer's own, the same for every configuration.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

from trainer.__main__ import leave, parse
from trainer.progress import show
from trainer.reading import from_dict, parse_json
from trainer.result import DIVERGED, TrialResult, decode, encode
from trainer.sweep_result import Configuration, SweepResult

SIDES = ("alone", "workers", "tune", "asha")


def main(arguments: Sequence[str]) -> int:
    """Train all configurations and print the result line."""
    parser = argparse.ArgumentParser(prog="trainer.sweep", description=__doc__, allow_abbrev=False)
    parser.add_argument("--side", choices=SIDES, required=True)
    parser.add_argument("--concurrent", type=int, required=True, help="trainings at a time, or workers of each")
    parser.add_argument("--configurations", required=True, metavar="JSON")
    options, common = parser.parse_known_args(arguments)
    configurations = from_dict(tuple[Configuration, ...], parse_json(options.configurations), "configurations")
    workers = {"alone": 0, "workers": options.concurrent}.get(options.side, 1)
    asked = [
        [*common, "--workers", str(workers), "--evaluate", *configuration.arguments()]
        for configuration in configurations
    ]
    parsed = [parse(each) for each in asked]
    if options.side == "alone":
        result = train_alone(asked)
    else:
        from trainer import tune  # noqa: PLC0415 - the side without Ray imports none

        if options.side == "workers":
            result = tune.train_in_turn(parsed)
        else:
            result = tune.train_side_by_side(parsed, options.concurrent, stop_early=options.side == "asha")
    print(encode(result), flush=True)
    return 0


def train_alone(asked: Sequence[Sequence[str]]) -> SweepResult:
    """Train one configuration after the other without Ray, each in a process of its own, as a script would."""
    trials: list[TrialResult | None] = []
    seconds = []
    for number, arguments in enumerate(asked, 1):
        show({"phase": f"configuration {number} of {len(asked)}"})
        began = time.monotonic()
        command = [sys.executable, "-m", "trainer", *arguments]
        trainer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if trainer.returncode not in (0, DIVERGED):
            sys.exit(trainer.returncode)  # what it had to say is in the log already
        seconds.append(time.monotonic() - began)
        trials.append(None if trainer.returncode else decode(trainer.stdout))
    return SweepResult(tuple(trials), tuple(seconds))


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
