"""A user's file: what it must define, and the training that it makes."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import tensorflow as tf

from trainer.workloads.contract import Draw, Network, Updater
from trainer.workloads.facts import CONSTANTS, InvalidWorkloadError, constants, group_size
from trainer.workloads.optimizer import LEARNING_RATE, Adam
from trainer.workloads.positional import rows, whole_numbers
from trainer.workloads.precision import use_precision

AUGMENT = 0
"""What the first random numbers of an update are for; a network's own follow."""


@dataclass(frozen=True)
class Functions:
    """The functions that a file defines, by their names in the contract."""

    file: Path
    sha256: str
    module: ModuleType

    def get(self, name: str) -> Callable[..., Any] | None:
        """Return a function, or None where the file leaves it to the default."""
        return getattr(self.module, name, None)


def load(file: Path) -> Functions:
    """Run a user's file. Raises InvalidWorkloadError, and whatever the file raises."""
    read = constants(file)
    spec = importlib.util.spec_from_file_location(f"workload_{file.stem}", file)
    assert spec is not None, "it is a .py file"
    assert spec.loader is not None, "likewise"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    for name in CONSTANTS:
        if (value := getattr(module, name, None)) != read.get(name):
            raise InvalidWorkloadError(
                f"{file.name}: {name} is {value!r} once the file has run, and {read.get(name)!r} where it is read "
                f"without running it: expected one line `{name} = ...` that is not indented, before the functions"
            )
    functions = Functions(file, hashlib.sha256(file.read_bytes()).hexdigest(), module)
    plain = [name for name in ("weights", "outputs") if functions.get(name)]
    if bool(functions.get("model")) == bool(plain) or len(plain) == 1:
        has = ", ".join([*(["model"] if functions.get("model") else []), *plain]) or "none of them"
        raise InvalidWorkloadError(
            f"{file.name} defines {has}: expected either model(seed), or weights(seed) and outputs(weights, x, seeds)"
        )
    return functions


class UserTraining:
    """What a user's file trains; see contract.Training.

    Attributes:
        classes: outputs of the network, known once the default loss or score has seen them; 0 before.
    """

    def __init__(self, functions: Functions, seed: int, batch_norm: str) -> None:
        self._functions, self._network = functions, _network(functions, seed, group_size(batch_norm))
        self.sha256, self.classes = functions.sha256, 0
        self.tensors, self.sizes = self._network.tensors, self._network.sizes
        self.weights, self.state = self._network.weights, self._network.state
        self.batch_norm = batch_norm if self._network.has_batch_norm else ""
        self.libraries = self._network.libraries
        self.learning_rate, self.optimizer = LEARNING_RATE, f"Adam(learning_rate={LEARNING_RATE})"
        if make := functions.get("optimizer"):
            from trainer.workloads.keras_optimizer import describe, read_learning_rate  # noqa: PLC0415

            use_precision("float32")
            self.optimizer, self.learning_rate = describe(make()), read_learning_rate(make())

    def updater(self, weights: Any, learning_rate: float | None = None) -> Updater:
        """Return the file's optimiser, or Adam."""
        if make := self._functions.get("optimizer"):
            from trainer.workloads.keras_optimizer import KerasUpdater  # noqa: PLC0415

            return KerasUpdater(make(), weights, learning_rate)
        return Adam(weights, self.learning_rate if learning_rate is None else learning_rate)

    def loss(self, weights: Any, state: Any, x: Any, y: Any, draw: Draw) -> tuple[Any, Any]:
        """Return the share of the mean of the samples' losses, and of what is added to the state."""
        use_precision(weights.dtype.name)
        share = x.shape[0] / draw.batch_size
        outputs, new_state, added = self._network.outputs(weights, state, self._inputs(x, weights.dtype, draw), draw)
        losses = self._losses(y, outputs, weights.dtype)
        return tf.reduce_sum(losses) / draw.batch_size + added * share, (new_state - state) * share

    def scores(self, weights: Any, state: Any, x: Any, y: Any) -> Any:
        """Return what the file's score says of each sample; by default 1 where the largest output is the label's."""
        use_precision("float32")
        outputs, _, _ = self._network.outputs(weights, state, self._inputs(x, weights.dtype, None), None)
        if score := self._functions.get("score"):
            return tf.cast(self._by_sample("score", score(y, outputs), x.shape[0]), tf.float32)
        self._require_classes("score", y, outputs)
        return tf.cast(tf.argmax(outputs, 1) == tf.cast(y, tf.int64), tf.float32)

    def stages(self, weights: Any, state: Any, x: Any, y: Any, draw: Draw) -> list[tuple[str, Any]]:
        """Return what each step on the way to the loss gives, with its name, to find the first that differs."""
        use_precision(weights.dtype.name)
        inputs = self._inputs(x, weights.dtype, draw)
        layers, outputs = self._network.stages(weights, state, inputs, draw)
        losses = self._losses(y, outputs, weights.dtype)
        return [("prepare", self._inputs(x, weights.dtype, None)), ("augment", inputs), *layers, ("loss", losses)]

    def _inputs(self, x: Any, dtype: Any, draw: Draw | None) -> Any:
        """Return what the network gets: prepared, augmented where it trains, floats in the weights' precision."""
        if prepare := self._functions.get("prepare"):
            inputs = self._by_sample("prepare", prepare(x), x.shape[0])
        else:
            inputs = tf.cast(x, dtype) / 255 if x.dtype == tf.uint8 else x
        augment = self._functions.get("augment")
        if draw is not None and augment:
            seeds = rows(draw, AUGMENT, (x.shape[0], 2), whole_numbers)
            inputs = self._by_sample("augment", augment(inputs, seeds), x.shape[0])
        return tf.cast(inputs, dtype) if inputs.dtype.is_floating else inputs

    def _losses(self, y: Any, outputs: Any, dtype: Any) -> Any:
        if loss := self._functions.get("loss"):
            losses = self._by_sample("loss", loss(y, outputs), y.shape[0])
            if losses.shape.rank != 1:
                self._refuse("loss", f"shape {losses.shape}", "one number for each sample, shape (samples,)")
            return tf.cast(losses, dtype)
        self._require_classes("loss", y, outputs)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(y, outputs)

    def _by_sample(self, name: str, value: Any, samples: int) -> Any:
        """Require that a function of the file gives something for each sample."""
        value = tf.convert_to_tensor(value)
        if value.shape.rank and value.shape[0] is None:  # a graph may not know
            value = tf.ensure_shape(value, [samples, *value.shape[1:]])
        if not value.shape.rank or value.shape[0] != samples:
            self._refuse(name, f"shape {value.shape} for {samples} samples", "a first dimension of the samples")
        return value

    def _require_classes(self, name: str, y: Any, outputs: Any) -> None:
        """Require what the defaults need: a score for each class, and the number of a class as label."""
        if outputs.shape.rank != 2 or y.shape.rank != 1:
            self._refuse(
                "the network",
                f"shape {outputs.shape} for labels of shape {y.shape}",
                f"(samples, classes) and (samples,), or {name}(labels, outputs) in the file",
            )
        self.classes = outputs.shape[1]

    def _refuse(self, name: str, given: str, expected: str) -> NoReturn:
        raise InvalidWorkloadError(f"{self._functions.file.name}: {name} gives {given}; expected {expected}")


def _network(functions: Functions, seed: int, group: int) -> Network:
    if model := functions.get("model"):
        from trainer.workloads.keras_model import KerasNetwork  # noqa: PLC0415 - brings Keras

        return KerasNetwork(model, functions.file.name, seed, group)
    from trainer.workloads.plain_model import PlainNetwork  # noqa: PLC0415 - only where it is needed

    return PlainNetwork(functions.module.weights, functions.module.outputs, functions.file.name, seed)
