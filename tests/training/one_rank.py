"""One real trainer process without Ray, which may cheat: one_rank.py RANK WORLD_SIZE COLLECTIVE CHEAT SEED.

The ranks find each other by TF_CONFIG. An epoch is shortened to SAMPLES; nothing else is.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

from trainer import schedule
from trainer.result import TrialResult, encode
from trainer.work import Work

SAMPLES = 3200
BATCH = 128
MNIST = Path(__file__).parents[2] / "image" / "data" / "mnist.npz"


def shorten(schedule: Any) -> None:
    """Let an epoch hold SAMPLES samples."""
    schedule.updates_per_epoch = lambda batch_size, samples=SAMPLES: samples // batch_size
    schedule.global_batches = partial(schedule.global_batches, samples=SAMPLES)


def main(rank: int, world_size: int, collective: str, cheat: str, seed: int) -> None:
    from trainer import training  # noqa: PLC0415 - pytest imports this file, too, and is not to wait for TensorFlow

    shorten(schedule)
    patched: Any = training
    connect = patched.connect

    def tampered(*arguments: Any) -> Any:
        honest: Any = connect(*arguments)
        add_up = honest.all_reduce
        if cheat == "skips the all-reduce":
            honest.all_reduce = lambda vector: vector
        if cheat == "takes the sum twice":
            honest.all_reduce = lambda vector: 2 * add_up(vector)
        return honest

    patched.connect = tampered
    if cheat == "trains twice as fast":
        patched.LEARNING_RATE *= 2
    work = Work(seed, 1, BATCH, 1, str(MNIST), collective, probe=True, evaluate=False)
    ranks = training.train(work, rank, world_size, {}, lambda event: None)
    print(encode(TrialResult(world_size, 1, seed, 1, BATCH, ranks, {}, {})))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
