"""Keras layers that give a sample the same, whichever rank trains on it: they take the place of Keras' own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from trainer.workloads.contract import Draw
from trainer.workloads.facts import InvalidWorkloadError
from trainer.workloads.positional import dropout_factors, normal, rows


class Place:
    """Where in the global batch the samples are that the network sees now, and how often it drew for them.

    Attributes:
        group: samples of a BatchNormalization's statistics.
    """

    def __init__(self, group: int) -> None:
        self.group = group
        self._draw: Draw | None = None
        self._number = 0

    def move(self, draw: Draw | None) -> None:
        """Tell what random numbers are keyed by from now on."""
        self._draw, self._number = draw, 1

    def next(self) -> tuple[Draw, int]:
        """Return the key, and a number for those who draw next."""
        assert self._draw is not None, "it is training"
        self._number += 1
        return self._draw, self._number


class Positional(layers.Layer):  # type: ignore[misc]
    """A layer that changes its inputs while it trains, by random numbers of the samples' place."""

    def __init__(self, name: str, change: Callable[[Any], Any]) -> None:
        super().__init__(name=name)
        self._change = change
        self.supports_masking = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Change the inputs while it trains."""
        return self._change(inputs) if training else inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the inputs."""
        return input_shape


class GroupedBatchNormalization(layers.BatchNormalization):  # type: ignore[misc]
    """BatchNormalization whose statistics are those of groups of consecutive samples of the global batch.

    A rank holds whole groups, so every rank and the baseline normalise alike, with no traffic. The moving
    statistics follow the mean of all groups.
    """

    def __init__(self, place: Place, **settings: Any) -> None:
        super().__init__(**settings)
        self._place = place

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise each group by itself while it trains."""
        if mask is not None or self.renorm:
            raise InvalidWorkloadError(f"layer {self.name} uses masks or renorm: expected a plain BatchNormalization")
        if not training or not self.trainable:
            return super().call(inputs, training=False)
        grouped = tf.reshape(inputs, (-1, self._place.group, *inputs.shape[1:]))
        channel = self.axis % inputs.shape.rank + 1
        axes = [axis for axis in range(1, grouped.shape.rank) if axis != channel]
        mean, variance = tf.nn.moments(grouped, axes, keepdims=True)
        for moving, of_groups in ((self.moving_mean, mean), (self.moving_variance, variance)):
            now = tf.reshape(tf.reduce_mean(of_groups, 0), moving.shape)
            moving.assign(moving * self.momentum + now * (1 - self.momentum))
        shape = [1] * grouped.shape.rank
        shape[channel] = -1
        scale, offset = (None if weight is None else tf.reshape(weight, shape) for weight in (self.gamma, self.beta))
        normalised = tf.nn.batch_normalization(grouped, mean, variance, offset, scale, self.epsilon)
        return tf.reshape(normalised, inputs.shape)


def by_position(model: Any, place: Place) -> tuple[Any, list[tuple[str, Any]]]:
    """Return a Functional model with the same layers, but those that depend on the rank; and what each layer gives."""
    stages: list[tuple[str, Any]] = []
    replaced: list[tuple[Any, Any]] = []

    def replacement(layer: Any) -> Any:
        replaced.append((layer, _replacement(layer, place)))
        return replaced[-1][1]

    def call(layer: Any, *arguments: Any, **named: Any) -> Any:
        result = layer(*arguments, **named)
        stages.extend((layer.name, tensor) for tensor in keras.tree.flatten(result))
        return result

    clone = keras.models.clone_model(_as_functional(model), clone_function=replacement, call_function=call)
    for own, other in replaced:
        if isinstance(other, GroupedBatchNormalization):
            other.set_weights(own.get_weights())
    return clone, stages


def _as_functional(model: Any) -> Any:
    if not isinstance(model, keras.Sequential):
        return model
    outputs = inputs = keras.Input(batch_shape=model.inputs[0].shape, dtype=model.inputs[0].dtype)
    for layer in model.layers:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs, name=model.name)


def _replacement(layer: Any, place: Place) -> Any:
    """Return what stands for a layer; itself where it treats each sample alone, or is not known to us."""
    kind = type(layer)
    if is_plain(layer):
        return by_position(layer, place)[0]
    if kind is layers.BatchNormalization:
        return GroupedBatchNormalization(place, **layer.get_config())
    if kind in (layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D):
        return Positional(layer.name, lambda x: x * _factors(layer, x, place))
    if kind is layers.GaussianDropout:
        deviation = math.sqrt(layer.rate / (1 - layer.rate))
        return Positional(layer.name, lambda x: x * (1 + deviation * _noise(x, place)))
    if kind is layers.GaussianNoise:
        return Positional(layer.name, lambda x: x + layer.stddev * _noise(x, place))
    return layer


def is_plain(model: Any) -> bool:
    """Return whether this is one of Keras' own Sequential or Functional models, whose layers are known."""
    kind = type(model)
    return kind.__name__ in ("Sequential", "Functional") and kind.__module__.startswith("keras.")


def _factors(layer: Any, x: Any, place: Place) -> Any:
    """Return 0 or 1 / keep: for each number, or for each channel of a sample where the layer is a spatial one."""
    shape, channel = list(x.shape), x.shape.rank - 1
    if type(layer) is layers.Dropout:
        given = layer.noise_shape or [None] * len(shape)
        shape = [size if fixed is None else fixed for size, fixed in zip(shape, given, strict=True)]
    else:
        channel = 1 if getattr(layer, "data_format", "") == "channels_first" else channel
        shape = [size if axis in (0, channel) else 1 for axis, size in enumerate(shape)]
    if shape[0] != x.shape[0]:
        raise InvalidWorkloadError(f"layer {layer.name} has noise_shape={layer.noise_shape}: its first must be None")
    return tf.cast(dropout_factors(*place.next(), tuple(shape), 1 - layer.rate), x.dtype)


def _noise(x: Any, place: Place) -> Any:
    return tf.cast(rows(*place.next(), tuple(x.shape), normal), x.dtype)
