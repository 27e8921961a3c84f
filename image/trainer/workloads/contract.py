"""What the training loop needs of a training, whoever wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Draw:
    """What the randomness of a sample is keyed by, so that it is the same whoever trains on the sample.

    Attributes:
        step: number of the update, a tensor.
        first: the rank's first position in the global batch.
        batch_size: global.
    """

    seed: int
    step: Any
    first: int
    batch_size: int


class Updater(Protocol):
    """An optimiser of one flat variable, to be called inside a graph."""

    @property
    def variables(self) -> Sequence[Any]:
        """Return what it keeps from update to update, beside the weights."""
        ...

    def apply(self, gradient: Any, step: Any, learning_rate: Any = None) -> None:
        """Update the weights; `step` counts from 1, and None keeps the optimiser's learning rate."""
        ...

    def reset(self) -> None:
        """Forget every update."""
        ...


class Training(Protocol):
    """A function of one flat vector: `weights`, which have gradients, and behind them `state`, which has none.

    Attributes:
        sha256: of the file that it was read from; "built-in" for the CNN.
        tensors: names of the tensors in the vector, in order.
        sizes: how many numbers each has.
        weights: the initial weights.
        state: what else changes while it trains, such as the moving statistics of a BatchNorm; often empty.
        learning_rate: of the first update.
        optimizer: with its settings, for people.
        batch_norm: see facts.WorkloadFacts.
        libraries: what it was built with beside TensorFlow; empty where that is all.
    """

    sha256: str
    tensors: tuple[str, ...]
    sizes: tuple[int, ...]
    weights: NDArray[np.float32]
    state: NDArray[np.float32]
    learning_rate: float
    optimizer: str
    batch_norm: str
    libraries: str

    def loss(self, weights: Any, state: Any, x: Any, y: Any, draw: Draw) -> tuple[Any, Any]:
        """Return these samples' share of the global batch's loss and of what it adds to the state.

        The shares of all ranks add up to what the whole batch gives, and so do their gradients.
        """
        ...

    def scores(self, weights: Any, state: Any, x: Any, y: Any) -> Any:
        """Return a number for each test sample, higher is better; their mean is the accuracy."""
        ...

    def updater(self, weights: Any, learning_rate: float | None = None) -> Updater:
        """Return the optimiser of the flat variable that holds the weights; None keeps its own learning rate."""
        ...


class Network(Protocol):
    """A user's network as a function of one flat vector; the fields are those of a Training."""

    tensors: tuple[str, ...]
    sizes: tuple[int, ...]
    weights: NDArray[np.float32]
    state: NDArray[np.float32]
    has_batch_norm: bool
    libraries: str

    def outputs(self, weights: Any, state: Any, x: Any, draw: Draw | None) -> tuple[Any, Any, Any]:
        """Return the outputs, the new state, and what is added to the mean loss; `draw` is None outside training."""
        ...

    def stages(self, weights: Any, state: Any, x: Any, draw: Draw) -> tuple[list[tuple[str, Any]], Any]:
        """Return what each layer gives, by name, and the outputs."""
        ...
