"""A custom step under GradientTape in a `tf.function`, called from Python once per update."""

import sys
from typing import Any

import tensorflow as tf

from benchmarks.variants.common import Learner, Options, Timed, batches, main, timed


def train(keras: Any, images: Any, labels: Any, options: Options) -> tuple[Timed, Any]:
    """Data on the device, the batch gathered inside the step, no loss fetched before the end."""
    learner = Learner(keras)
    on_device = tf.constant(images), tf.constant(labels)
    order = list(batches(options))

    step = tf.function(lambda samples: learner.update(*(tf.gather(each, samples) for each in on_device)))
    step(order[0])
    return timed(lambda: tf.stack([step(samples) for samples in order])), learner


if __name__ == "__main__":
    sys.exit(main("step", train))
