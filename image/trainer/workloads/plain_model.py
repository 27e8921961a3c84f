"""A network in plain TensorFlow: `weights(seed)` and `outputs(weights, x, seeds)` of a user's file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.workloads.contract import Draw
from trainer.workloads.facts import InvalidWorkloadError
from trainer.workloads.positional import rows, whole_numbers

OUTPUTS = 1
"""What the random numbers of `outputs` are for, see positional.rows."""


class PlainNetwork:
    """Tensors by name, taken from the flat vector; see contract.Network."""

    has_batch_norm, libraries = False, ""

    def __init__(
        self, weights: Callable[[int], Any], outputs: Callable[[Any, Any, Any], Any], file: str, seed: int
    ) -> None:
        tensors = weights(seed)
        if not isinstance(tensors, dict) or not tensors or not all(map(_is_floats, tensors.values())):
            raise InvalidWorkloadError(
                f"{file}: weights(seed) gives {_kind(tensors)}; expected names with float arrays"
            )
        self._outputs, self._shapes = outputs, {name: array.shape for name, array in tensors.items()}
        self.tensors, self.sizes = tuple(tensors), tuple(array.size for array in tensors.values())
        self.weights = np.concatenate([array.ravel() for array in tensors.values()]).astype(np.float32)
        self.state: NDArray[np.float32] = np.zeros(0, np.float32)

    def outputs(self, weights: Any, state: Any, x: Any, draw: Draw | None) -> tuple[Any, Any, Any]:
        """Return what the file's function gives, the same state, and nothing that is added to the loss."""
        parts = zip(self._shapes.items(), tf.split(weights, self.sizes), strict=True)
        tensors = {name: tf.reshape(part, shape) for (name, shape), part in parts}
        seeds = rows(draw, OUTPUTS, (x.shape[0], 2), whole_numbers) if draw else None
        return self._outputs(tensors, x, seeds), state, 0.0

    def stages(self, weights: Any, state: Any, x: Any, draw: Draw) -> tuple[list[tuple[str, Any]], Any]:
        """Return the outputs alone: what lies before them has no names."""
        outputs, _, _ = self.outputs(weights, state, x, draw)
        return [("outputs", outputs)], outputs


def _is_floats(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size > 0


def _kind(tensors: Any) -> str:
    if not isinstance(tensors, dict):
        return type(tensors).__name__
    wrong = next((name for name, value in tensors.items() if not _is_floats(value)), None)
    return f"no float array for {wrong!r}" if wrong is not None else "no arrays"
