"""Time updates on shares of a batch in one process, as each of N workers has them; the last line has the result.

What follows the option here are the trainer's own.
"""

import argparse
import sys
from collections.abc import Sequence

from trainer import deferred, schedule
from trainer.__main__ import leave, make_work, parse
from trainer.datasets import Data
from trainer.progress import show
from trainer.result import ShareTimes, encode
from trainer.work import Work

TURNS = 12
TURN_SECONDS = 0.1
"""Filled with updates in a turn of one share; there is one at least."""


def main(arguments: Sequence[str]) -> int:
    """Time the shares and print the result line."""
    parser = argparse.ArgumentParser(prog="trainer.shares", description=__doc__, allow_abbrev=False)
    parser.add_argument("--shares", required=True, metavar="N,M", help="how many workers share a batch: 1,2,4")
    options, common = parser.parse_known_args(arguments)
    work = make_work(parse(["--workers", "0", *common]))
    deferred.import_tensorflow()
    print(encode(ShareTimes(time_shares(work, [int(count) for count in options.shares.split(",")]))), flush=True)
    return 0


def time_shares(work: Work, counts: Sequence[int]) -> dict[str, tuple[float, ...]]:
    """Return the seconds of an update in each turn, by worker count; the counts alternate."""
    import tensorflow as tf  # noqa: PLC0415 - seconds, which the command line need not pay

    from trainer import training  # noqa: PLC0415 - needs TensorFlow
    from trainer.collective import Alone, Called  # noqa: PLC0415 - likewise
    from trainer.loop import Loop  # noqa: PLC0415 - likewise

    training.configure_threads(work.threads)
    own = training.load_training(work, {})
    arrays, _ = training.load_data(work)
    data = Data(**{name: tf.constant(array) for name, array in vars(arrays).items()})  # the loops share these
    timed = []
    for count in counts:
        show({"phase": f"build the share of 1 of {count}"})
        positions = schedule.share(0, count, work.batch_size)
        loop = Loop(own, data, work, positions, Called() if count > 1 else Alone())
        loop.build()
        batches = loop.batches(0)
        updates = max(1, int(TURN_SECONDS / loop.train_on(batches[:1]).seconds))
        timed.append((loop, batches[:updates]))
    turns = []
    for turn in range(TURNS):
        show({"phase": f"turn {turn + 1} of {TURNS}"})
        turns.append([loop.train_on(batches).seconds / len(batches) for loop, batches in timed])
    return dict(zip(map(str, counts), zip(*turns, strict=True), strict=True))


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
