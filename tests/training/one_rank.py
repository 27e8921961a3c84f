"""One real trainer process without Ray, which may cheat: one_rank.py RANK WORLD_SIZE CHEAT WORK.

The ranks find each other by TF_CONFIG; WORK is a trainer.work.Work as JSON.
"""

import json
import sys
from dataclasses import replace
from typing import Any

from trainer.result import TrialResult, encode
from trainer.work import Work


def main(rank: int, world_size: int, cheat: str, work: Work) -> None:
    from trainer import training  # noqa: PLC0415 - pytest imports this file, too, and is not to wait for TensorFlow
    from trainer.workloads.cnn import Cnn  # noqa: PLC0415 - likewise
    from trainer.workloads.optimizer import Adam  # noqa: PLC0415 - likewise

    patched: Any = training
    connect = patched.connect

    def tampered(*arguments: Any, **named: Any) -> Any:
        honest: Any = connect(*arguments, **named)
        add_up = honest.all_reduce
        if cheat == "skips the all-reduce":
            honest.all_reduce = lambda vector: vector
        if cheat == "takes the sum twice":
            honest.all_reduce = lambda vector: 2 * add_up(vector)
        return honest

    patched.connect = tampered
    if cheat == "trains twice as fast":
        Cnn.learning_rate *= 2
    if cheat == "keeps its learning rate":
        adam: Any = Adam
        grow = adam.apply
        adam.apply = lambda updater, gradient, step, learning_rate: grow(updater, gradient, step)
    if cheat == "has its data in another order" and rank:
        patched.load_data = reversing(patched.load_data)
    ranks = training.train(work, rank, world_size, {}, lambda event: None)
    print(encode(TrialResult(world_size, 1, work.seed, 1, work.batch_size, ranks, {}, {})))


def reversing(load_data: Any) -> Any:
    """Load the training samples last first, each with its label, and say of them what the trainer would say."""

    def load(work: Work) -> Any:
        from trainer import datasets  # noqa: PLC0415 - as above
        from trainer.workloads.facts import CNN_MNIST  # noqa: PLC0415 - likewise

        arrays, digest = load_data(work)
        other = replace(arrays, x_train=arrays.x_train[::-1], y_train=arrays.y_train[::-1])
        return other, digest if work.workload == CNN_MNIST.name else datasets.digest(other)

    return load


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Work(**json.loads(sys.argv[4])))
