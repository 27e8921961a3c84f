"""A tf.data pipeline that shuffles, batches and prefetches, consumed by one graph for the whole epoch."""

import sys
from typing import Any

import tensorflow as tf

from benchmarks.variants.common import Learner, Options, Timed, main, timed


def train(keras: Any, images: Any, labels: Any, options: Options) -> tuple[Timed, Any]:
    """Shuffle indices, which is faster than to shuffle images, and gather a batch at a time."""
    learner = Learner(keras)
    on_device = tf.constant(images), tf.constant(labels)
    dataset = (
        tf.data.Dataset.range(len(images))
        .shuffle(len(images), seed=options.seed)
        .batch(options.batch_size, drop_remainder=True)
        .map(lambda samples: tuple(tf.gather(each, samples) for each in on_device))
        .prefetch(tf.data.AUTOTUNE)
    )

    def graph(batches: Any, updates: Any) -> Any:
        losses = tf.TensorArray(tf.float32, size=updates)
        for update in tf.range(updates):
            losses = losses.write(update, learner.update(*next(batches)))
        return losses.stack()

    epoch = tf.function(graph)
    epoch(iter(dataset), tf.constant(1))
    return timed(lambda: epoch(iter(dataset), tf.constant(options.updates))), learner


if __name__ == "__main__":
    sys.exit(main("pipeline", train))
