"""Adam as one operation: what a training is updated by unless its file names another optimiser."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

LEARNING_RATE = 0.001
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-7  # Kingma & Ba 2015, as Keras sets them


class Adam:
    """Adam over one flat variable."""

    def __init__(self, weights: Any, learning_rate: float = LEARNING_RATE) -> None:
        self._weights, self._learning_rate = weights, learning_rate
        self._mean = tf.Variable(tf.zeros_like(weights))
        self._variance = tf.Variable(tf.zeros_like(weights))
        self.variables = (self._mean, self._variance)

    def apply(self, gradient: Any, step: Any, learning_rate: Any = None) -> None:
        """Update the weights; `step` counts from 1, and None keeps the optimiser's learning rate."""
        step = tf.cast(step, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=self._weights.handle,
            m=self._mean.handle,
            v=self._variance.handle,
            beta1_power=tf.pow(BETA1, step),
            beta2_power=tf.pow(BETA2, step),
            lr=self._learning_rate if learning_rate is None else learning_rate,
            beta1=BETA1,
            beta2=BETA2,
            epsilon=EPSILON,
            grad=gradient,
        )

    def reset(self) -> None:
        """Forget every update."""
        for variable in self.variables:
            variable.assign(tf.zeros_like(variable))
