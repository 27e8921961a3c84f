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

from trainer.workloads.contract import Draw
from trainer.workloads.facts import CNN_MNIST, CNN_SHAPES
from trainer.workloads.optimizer import LEARNING_RATE, Adam
from trainer.workloads.positional import dropout_factors

SHAPES = tuple(CNN_SHAPES.values())
IMAGE = (28, 28, 1)
HIDDEN = 128
KEEP = 0.5


class Cnn:
    """The CNN as a training; see contract.Training."""

    sha256 = CNN_MNIST.workload_sha256
    tensors, sizes = CNN_MNIST.tensors, CNN_MNIST.sizes
    learning_rate, optimizer = LEARNING_RATE, CNN_MNIST.optimizer
    batch_norm = libraries = ""

    def __init__(self, seed: int) -> None:
        self.weights = initial_weights(seed)
        self.state: NDArray[np.float32] = np.zeros(0, np.float32)

    def loss(self, weights: Any, state: Any, x: Any, y: Any, draw: Draw) -> tuple[Any, Any]:
        """Return the share of the global batch's mean cross-entropy."""
        images = tf.cast(x, weights.dtype) / 255
        factors = dropout_factors(draw, 0, (x.shape[0], HIDDEN), KEEP)
        scores = logits(weights, images, tf.cast(factors, weights.dtype))
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(y, scores)
        return tf.reduce_sum(entropy) / draw.batch_size, tf.zeros_like(state)

    def scores(self, weights: Any, state: Any, x: Any, y: Any) -> Any:
        """Return 1 for each image whose largest score is its label's."""
        predicted = tf.argmax(logits(weights, tf.cast(x, tf.float32) / 255), 1)
        return tf.cast(predicted == tf.cast(y, tf.int64), tf.float32)

    def updater(self, weights: Any, learning_rate: float | None = None) -> Adam:
        """Return Adam."""
        return Adam(weights, self.learning_rate if learning_rate is None else learning_rate)


def initial_weights(seed: int) -> NDArray[np.float32]:
    """Return Glorot-uniform kernels (Glorot & Bengio 2010) and zero biases as one flat vector."""
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


def logits(weights: Any, images: Any, mask: Any | None = None) -> Any:
    """Return scores (batch, 10) of images (batch, 28, 28[, 1]); without a mask nothing is dropped."""
    images = tf.reshape(images, (-1, *IMAGE))
    split = zip(tf.split(weights, Cnn.sizes), SHAPES, strict=True)
    conv1, bias1, conv2, bias2, dense, bias3, softmax, bias4 = (tf.reshape(part, shape) for part, shape in split)
    hidden = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(images, conv1, 1, "VALID"), bias1))
    hidden = tf.nn.max_pool2d(hidden, 2, 2, "VALID")
    hidden = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(hidden, conv2, 1, "VALID"), bias2))
    hidden = tf.nn.max_pool2d(hidden, 2, 2, "VALID")
    hidden = tf.nn.relu(tf.matmul(tf.reshape(hidden, (-1, 1600)), dense) + bias3)
    if mask is not None:
        hidden *= mask
    return tf.matmul(hidden, softmax) + bias4
