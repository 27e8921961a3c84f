"""Random numbers that belong to a sample's place in the global batch, whichever rank trains on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainer.workloads.contract import Draw

PHILOX, PHILOX_NUMBERS = 1, 4  # TensorFlow's number for the generator; what it draws for each count

uniform = tf.raw_ops.StatelessRandomUniformV2
normal = tf.raw_ops.StatelessRandomNormalV2


def whole_numbers(**given: Any) -> Any:
    """Draw int32 from the full range."""
    return tf.raw_ops.StatelessRandomUniformFullIntV2(dtype=tf.int32, **given)


def rows(draw: Draw, number: int, shape: tuple[int, ...], distribution: Callable[..., Any] = uniform) -> Any:
    """Return this rank's rows, `shape`, of what `distribution` draws for the whole batch.

    The generator counts, four numbers a count (Philox, Salmon et al. 2011), so a rank begins at its own count and
    draws no more than its own rows. `number` tells what the numbers are for: each has a sequence of its own.
    """
    size = math.prod(shape[1:])
    count, skipped = divmod(draw.first * size, PHILOX_NUMBERS)
    start = tf.raw_ops.StatelessRandomGetKeyCounter(seed=tf.stack([tf.constant(draw.seed, tf.int64), draw.step]))
    counter = start.counter + tf.constant([count, number], tf.uint64)
    if not skipped:
        return distribution(shape=shape, key=start.key, counter=counter, alg=PHILOX)
    flat = distribution(shape=(skipped + shape[0] * size,), key=start.key, counter=counter, alg=PHILOX)
    return tf.reshape(flat[skipped:], shape)


def dropout_factors(draw: Draw, number: int, shape: tuple[int, ...], keep: float) -> Any:
    """Return a factor for each number of this shape: 0 for what is dropped, 1 / keep for the others."""
    return tf.cast(rows(draw, number, shape) < keep, tf.float32) / keep
