"""One rank of the training without Ray: TF_CONFIG in its environment names the others.

    python -m benchmarks.rank --rank 0 --workers 2 --core 0 [options of the trainer]

The last line of rank 0's output carries the result, as the trainer's does.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from trainer.progress import show
from trainer.result import TrialResult, encode
from trainer.work import Work


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; exits with code 2 and one sentence when it is wrong."""
    parser = argparse.ArgumentParser(prog="rank", description=__doc__)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True, help="ranks that divide each global batch")
    parser.add_argument("--core", type=int, help="to run on; any when not given")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=128, help="global, divided among the ranks")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--collective", default="auto")
    parser.add_argument("--evaluate", action="store_true", help="rank 0 computes the test accuracy")
    options = parser.parse_args(arguments)
    if not 0 <= options.rank < options.workers:
        parser.error(f"--rank {options.rank}: expected 0 to {options.workers - 1}, one less than --workers")
    if options.batch_size < 1 or options.batch_size % options.workers:
        parser.error(f"--batch-size {options.batch_size} cannot be divided among --workers {options.workers}")
    return options


def main(arguments: Sequence[str]) -> int:
    """Train as one rank; rank 0 prints what all hand over."""
    options = parse(arguments)
    marks = {"start": time.time()}
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})  # before TensorFlow counts its cores
    from trainer import training  # noqa: PLC0415

    marks["import"] = time.time()
    work = Work(
        seed=options.seed,
        epochs=options.epochs,
        batch_size=options.batch_size,
        threads=1,
        data=str(options.data),
        collective=options.collective,
        probe=False,
        evaluate=options.evaluate,
    )
    # Rank 0 has the records of all, and MPI joins what the ranks print.
    say = (lambda event: None) if options.rank else show
    ranks = training.train(work, options.rank, options.workers, marks, say)
    if options.rank:
        return 0
    result = TrialResult(
        workers=options.workers,
        copies=1,
        seed=options.seed,
        epochs=options.epochs,
        batch_size=options.batch_size,
        ranks=ranks,
        marks={},
        versions={},
    )
    print(encode(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
