"""The CNN: Conv 32, pool, Conv 64, pool, Dense 128, dropout, softmax 10; 225,034 parameters.

Written on TensorFlow's own operations over one flat weight vector, so that a step has one gradient to
reduce and one vector to update; it computes what the Keras layers of the same names compute, as fast.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

SHAPES: tuple[tuple[int, ...], ...] = (
    (3, 3, 1, 32),
    (32,),
    (3, 3, 32, 64),
    (64,),
    (1600, 128),
    (128,),
    (128, 10),
    (10,),
)
TENSORS = ("conv1", "conv1 bias", "conv2", "conv2 bias", "dense", "dense bias", "softmax", "softmax bias")
SIZES = tuple(math.prod(shape) for shape in SHAPES)
PARAMETERS = sum(SIZES)
HIDDEN = 128
KEEP = 0.5
PHILOX, PHILOX_NUMBERS = 1, 4  # TensorFlow's number for the generator; what it draws for each count


def initial_weights(seed: int) -> NDArray[np.float32]:
    """Return Glorot-uniform kernels (Glorot & Bengio 2010) and zero biases as one vector of PARAMETERS floats."""
    random = np.random.default_rng(seed)
    tensors = []
    for shape in SHAPES:
        if len(shape) == 1:
            tensors.append(np.zeros(shape, np.float32))
            continue
        receptive_field = math.prod(shape[:-2])
        limit = math.sqrt(6 / ((shape[-2] + shape[-1]) * receptive_field))
        tensors.append(random.uniform(-limit, limit, shape).astype(np.float32))
    return np.concatenate([tensor.ravel() for tensor in tensors])


def dropout_mask(seed: int, step: Any, positions: slice) -> Any:
    """Return factors (positions, HIDDEN) for the hidden layer, keyed by (seed, step) and a sample's position.

    Every sample of a global batch meets the same mask, whoever trains on it: these are the rows `positions` of
    what tf.random.stateless_uniform draws for the whole batch. The generator counts, four numbers a count
    (Philox, Salmon et al. 2011), so a rank begins at its own count and draws no more than its own rows.
    """
    start = tf.raw_ops.StatelessRandomGetKeyCounter(seed=tf.stack([tf.constant(seed, tf.int64), step]))
    own = tf.constant([positions.start * HIDDEN // PHILOX_NUMBERS, 0], tf.uint64)
    uniform = tf.raw_ops.StatelessRandomUniformV2(
        shape=(positions.stop - positions.start, HIDDEN), key=start.key, counter=start.counter + own, alg=PHILOX
    )
    return tf.cast(uniform < KEEP, tf.float32) / KEEP


def logits(weights: Any, images: Any, mask: Any | None = None) -> Any:
    """Return scores (batch, 10) of images (batch, 28, 28, 1); without a mask nothing is dropped."""
    split = zip(tf.split(weights, SIZES), SHAPES, strict=True)
    conv1, bias1, conv2, bias2, dense, bias3, softmax, bias4 = (tf.reshape(part, shape) for part, shape in split)
    hidden = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(images, conv1, 1, "VALID"), bias1))
    hidden = tf.nn.max_pool2d(hidden, 2, 2, "VALID")
    hidden = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(hidden, conv2, 1, "VALID"), bias2))
    hidden = tf.nn.max_pool2d(hidden, 2, 2, "VALID")
    hidden = tf.nn.relu(tf.matmul(tf.reshape(hidden, (-1, 1600)), dense) + bias3)
    if mask is not None:
        hidden *= mask
    return tf.matmul(hidden, softmax) + bias4


def loss(weights: Any, images: Any, labels: Any, mask: Any, batch_size: int) -> Any:
    """Return this rank's share of the global batch's mean cross-entropy: shares and their gradients add up."""
    scores = logits(weights, images, mask)
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
    return tf.reduce_sum(entropy) / batch_size


def sketch(vector: NDArray[np.floating[Any]], projections: int = 32) -> tuple[tuple[float, ...], ...]:
    """Return random +-1 projections of each weight tensor in a flat vector, scaled to keep Euclidean length.

    Two vectors' sketches differ by as much as the vectors do (Achlioptas 2003; within about 25 % with
    32 projections), so that two processes can be compared without moving 225,034 numbers through a log.
    """
    rows, start = [], 0
    for number, size in enumerate(SIZES):
        signs = np.random.default_rng(number).integers(0, 2, (projections, size), np.int8) * 2.0 - 1.0
        rows.append(tuple((signs @ vector[start : start + size].astype(np.float64)) / math.sqrt(projections)))
        start += size
    return tuple(tuple(map(float, row)) for row in rows)
