"""Keras layers and optimiser, the whole epoch in one `tf.function` with the data on the device."""

import sys
from typing import Any

import tensorflow as tf

from benchmarks.variants.common import Learner, Options, Timed, batches, main, timed


def train(keras: Any, images: Any, labels: Any, options: Options) -> tuple[Timed, Any]:
    """No Python between two updates."""
    learner = Learner(keras)
    on_device = tf.constant(images), tf.constant(labels)
    order = batches(options)

    def graph(order: Any) -> Any:
        updates = tf.shape(order)[0]
        losses = tf.TensorArray(tf.float32, size=updates)
        for update in tf.range(updates):
            batch = (tf.gather(each, order[update]) for each in on_device)
            losses = losses.write(update, learner.update(*batch))
        return losses.stack()

    epoch = tf.function(graph, input_signature=[tf.TensorSpec((None, options.batch_size), tf.int32)])
    epoch(order[:1])
    return timed(lambda: epoch(order)), learner


if __name__ == "__main__":
    sys.exit(main("whole_epoch", train))
