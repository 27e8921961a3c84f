"""A Keras model as a function of one flat vector, in single and in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.workloads.contract import Draw
from trainer.workloads.facts import InvalidWorkloadError
from trainer.workloads.keras_layers import GroupedBatchNormalization, Place, by_position, is_plain
from trainer.workloads.precision import use_precision

KINDS = "keras.Sequential, or keras.Model(inputs, outputs)"


class KerasNetwork:
    """The model of a user's file; see contract.Network. Raises InvalidWorkloadError for one that cannot be equal."""

    def __init__(self, build: Callable[[int], Any], file: str, seed: int, group: int) -> None:
        self._build, self._file, self._seed = build, file, seed
        self._place = Place(group)
        self._models: dict[str, tuple[Any, list[tuple[str, Any]]]] = {}
        model = self._model("float32")
        trained, kept = model.trainable_variables, list(filter(_is_state, model.non_trainable_variables))
        if not trained:
            self._refuse("the model has no weights to train")
        self.tensors = tuple(variable.path for variable in (*trained, *kept))
        self.sizes = tuple(int(np.prod(variable.shape)) for variable in (*trained, *kept))
        self.weights, self.state = _flat(trained), _flat(kept)
        self.has_batch_norm = any(isinstance(layer, GroupedBatchNormalization) for layer in _all_layers(model))
        settings = (keras.config.backend(), keras.config.image_data_format(), "float32")
        self.libraries = f"keras {keras.__version__}, {', '.join(settings)}"

    def outputs(self, weights: Any, state: Any, x: Any, draw: Draw | None) -> tuple[Any, Any, Any]:
        """Return what the model gives, its new state, and the sum of its regularisers."""
        model = self._model(weights.dtype.name)
        if not _fits(x.shape[1:], model.input_shape[1:]):
            self._refuse(f"samples of shape {tuple(x.shape[1:])} for the model's input of {model.input_shape[1:]}")
        return self._call(model, weights, state, x, draw)

    def stages(self, weights: Any, state: Any, x: Any, draw: Draw) -> tuple[list[tuple[str, Any]], Any]:
        """Return what each layer gives, by name, and the outputs."""
        model, stages = self._models[weights.dtype.name]
        every = keras.Model(model.inputs, [*(tensor for _, tensor in stages), *model.outputs])
        values, _, _ = self._call(every, weights, state, x, draw)
        return [(f"layer {name}", value) for (name, _), value in zip(stages, values, strict=False)], values[-1]

    def _call(self, model: Any, weights: Any, state: Any, x: Any, draw: Draw | None) -> tuple[Any, Any, Any]:
        self._place.move(draw)
        kept = model.non_trainable_variables
        parts = iter(_tensors(state, [variable for variable in kept if _is_state(variable)]))
        given = [next(parts) if _is_state(variable) else tf.convert_to_tensor(variable) for variable in kept]
        trained = _tensors(weights, model.trainable_variables)
        outputs, new, losses = model.stateless_call(trained, given, x, training=draw is not None, return_losses=True)
        self._require_unchanged(model, given, new)
        new_state = [tf.reshape(part, [-1]) for variable, part in zip(kept, new, strict=True) if _is_state(variable)]
        return outputs, tf.concat(new_state, 0) if new_state else state, tf.add_n(losses) if losses else 0.0

    def _model(self, dtype: str) -> Any:
        """Return the model in this precision, which is built when it is first asked for."""
        if dtype not in self._models:
            if tf.executing_eagerly():
                keras.utils.clear_session()  # names count from the beginning
            with tf.init_scope():  # the probe asks from inside a graph
                use_precision(dtype)
                keras.utils.set_random_seed(self._seed)
                model = self._build(self._seed)
                self._require_known(model)
                self._require_precision(model, dtype)
                self._models[dtype] = by_position(model, self._place)
                self._require_same_shapes(dtype)
        return self._models[dtype][0]

    def _require_known(self, model: Any) -> None:
        kind = type(model)
        if not isinstance(model, keras.Model):
            self._refuse(f"model(seed) gives {kind.__module__}.{kind.__name__}; expected {KINDS}")
        if not is_plain(model):
            self._refuse(f"{kind.__name__} is a subclass, whose layers are not known; expected {KINDS}")
        if not model.built:
            self._refuse("the model has no shapes yet: begin it with keras.Input(shape)")
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            self._refuse(f"the model has {len(model.inputs)} inputs and {len(model.outputs)} outputs; expected 1 and 1")
        for variable in model.trainable_variables:
            if variable.constraint is not None:
                self._refuse(f"{variable.path} has a constraint, and all weights are one vector: use a regularizer")

    def _require_precision(self, model: Any, dtype: str) -> None:
        for layer in _all_layers(model):
            own = layer.dtype_policy.name
            if own.startswith("mixed") or (layer.compute_dtype != dtype and "float" in layer.compute_dtype):
                self._refuse(
                    f"layer {layer.name} computes in {own}: the proof builds the model in float32 and in float64, so "
                    "leave dtype and mixed precision out"
                )

    def _require_unchanged(self, model: Any, given: list[Any], new: list[Any]) -> None:
        """Refuse what changed beside the floats of the state: a generator of random numbers, or a counter."""
        for variable, before, after in zip(model.non_trainable_variables, given, new, strict=True):
            if after is not before and not _is_state(variable):
                layer = next(layer.name for layer in _all_layers(model) if _owns(layer, variable))
                self._refuse(
                    f"layer {layer} draws random numbers of its own, or counts ({variable.path}), differently on each "
                    "rank: set its own dropout to 0 and use keras.layers.Dropout, SpatialDropout, GaussianDropout or "
                    "GaussianNoise beside it, or augment(x, seeds)"
                )

    def _require_same_shapes(self, dtype: str) -> None:
        own, first = ([tuple(v.shape) for v in self._models[d][0].variables] for d in (dtype, "float32"))
        if own != first:
            self._refuse("model(seed) has other shapes in float64 than in float32: it must not look at the precision")

    def _refuse(self, sentence: str) -> None:
        raise InvalidWorkloadError(f"{self._file}: {sentence}")


def _fits(sample: Any, expected: Any) -> bool:
    """Return whether a model takes samples of this shape; Keras adds or drops a last axis of one."""
    shapes = [sample, (*sample, 1), *([sample[:-1]] if len(sample) and sample[-1] == 1 else [])]
    same = [shape for shape in shapes if len(shape) == len(expected)]
    return any(
        all(None in (own, size) or own == size for own, size in zip(shape, expected, strict=True)) for shape in same
    )


def _is_state(variable: Any) -> bool:
    """Return whether it goes into the flat vector; generators of random numbers hold whole numbers."""
    return "float" in variable.dtype


def _owns(layer: Any, variable: Any) -> bool:
    return any(own is variable for own in layer.variables)


def _flat(variables: list[Any]) -> Any:
    arrays = [variable.numpy().ravel() for variable in variables]
    return np.concatenate(arrays).astype(np.float32) if arrays else np.zeros(0, np.float32)


def _tensors(vector: Any, variables: list[Any]) -> list[Any]:
    """Return a flat vector as tensors of the variables' shapes."""
    if not variables:
        return []
    parts = tf.split(vector, [int(np.prod(variable.shape)) for variable in variables])
    return [tf.reshape(part, variable.shape) for part, variable in zip(parts, variables, strict=True)]


def _all_layers(model: Any) -> list[Any]:
    """Return the layers of a model and of the models in it."""
    found = []
    for layer in model.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            found += _all_layers(layer) if is_plain(layer) else [layer]
    return found
