"""Whether N ranks would do the work of one: the gradients of a batch's shares add up, or what couples the samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.datasets import Data
from trainer.schedule import share
from trainer.workloads.contract import Draw, Training
from trainer.workloads.facts import InvalidWorkloadError
from trainer.workloads.user_file import UserTraining

TOLERANCE = 1e-9
GRAPH_TOLERANCE = 1e-3
"""Of the loss, between single and double precision."""
SMALL = 1e-4
"""Of the whole gradient: a tensor whose own is smaller is measured by this, since it may be nothing but rounding."""

REMEDIES = {
    "prepare": "prepare(x) must change each sample by itself",
    "augment": "augment(x, seeds) must change each sample by itself, and take all that is random from its seeds",
    "outputs": "outputs(weights, x, seeds) must treat each sample by itself and take all that is random from its seeds",
    "loss": "loss(labels, outputs) must give a number for each sample, of that sample alone",
    "layer": "it must treat each sample by itself: keras.layers.GroupNormalization in the place of statistics over the "
    "batch (or keras.layers.BatchNormalization with BATCH_NORM = 'groups:N'), keras.layers.Dropout for random numbers",
    "": "what is added to the loss, such as an activity regulariser, must be a mean over the samples",
}


class Split:
    """A batch of a training in double precision, whole and in shares.

    Attributes:
        training: what is checked.
        seed: of the random numbers.
    """

    def __init__(self, training: Training, data: Data, samples: Sequence[int], seed: int) -> None:
        self.training, self.seed = training, seed
        self._x, self._y = data.x_train[samples], data.y_train[samples]
        self._weights = tf.constant(training.weights, tf.float64)
        self._state = tf.constant(training.state, tf.float64)
        self.whole, self.loss = self._gradient(slice(0, len(samples)))
        if not np.isfinite(self.whole).all() or not self.whole[: training.weights.size].any():
            raise InvalidWorkloadError(
                "the gradient of the first batch is zero or not a number: nothing can be trained"
            )

    def difference(self, workers: int) -> float:
        """Return how far the sum of the shares' gradients is from the whole batch's, relative, of the worst tensor.

        Raises InvalidWorkloadError that names what couples the samples where that is more than rounding.
        """
        shares = [share(rank, workers, len(self._x)) for rank in range(workers)]
        total = sum((self._gradient(positions)[0] for positions in shares), start=np.zeros(()))
        ends = np.cumsum(self.training.sizes)[:-1]
        least = SMALL * np.linalg.norm(self.whole)
        worst = max(
            float(np.linalg.norm(own - whole) / max(np.linalg.norm(whole), least))
            for own, whole in zip(np.split(total, ends), np.split(self.whole, ends), strict=True)
        )
        if not worst <= TOLERANCE:
            raise InvalidWorkloadError(
                f"{workers} shares of a batch do not do the whole batch's work, their gradients differ by {worst:.0e}: "
                f"{self._cause(shares)}"
            )
        return worst

    def require_graph(self) -> None:
        """Require that the training can be made into a graph, as it is where it trains, and is the same there."""
        weights, state, x, y, draw = self._batch(slice(0, len(self._x)))
        graph = tf.function(lambda w, s, x, y: self.training.loss(w, s, x, y, draw)[0], autograph=False)
        loss = float(graph(tf.cast(weights, tf.float32), tf.cast(state, tf.float32), x, y))
        if not abs(loss - self.loss) <= GRAPH_TOLERANCE * abs(self.loss):
            raise InvalidWorkloadError(
                f"the loss of the first batch is {loss:.6g} in a graph and single precision, and {self.loss:.6g} "
                "without a graph in double precision: expected the same, whatever the precision"
            )

    def _gradient(self, positions: slice) -> tuple[NDArray[np.float64], float]:
        """Return the gradient of these samples' share of the loss, what they add to the state, and the share."""
        weights, state, x, y, draw = self._batch(positions)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss, change = self.training.loss(weights, state, x, y, draw)
        gradient = tape.gradient(loss, weights)
        if gradient is None:
            raise InvalidWorkloadError("the loss does not depend on the weights: there is nothing to train")
        return np.concatenate([gradient.numpy(), change.numpy()]), float(loss)

    def _batch(self, positions: slice) -> tuple[Any, Any, Any, Any, Draw]:
        draw = Draw(self.seed, tf.constant(0, tf.int64), positions.start, len(self._x))
        x, y = tf.constant(self._x[positions]), tf.constant(self._y[positions])
        return self._weights, self._state, x, y, draw

    def _cause(self, shares: Sequence[slice]) -> str:
        """Name the first step on the way to the loss that gives a sample something else in its share."""
        if not isinstance(self.training, UserTraining):
            return "the built-in training is wrong"
        whole, again = (self.training.stages(*self._batch(slice(0, len(self._x)))) for _ in range(2))
        parts = [self.training.stages(*self._batch(positions)) for positions in shares]
        for number, (name, values) in enumerate(whole):
            own = tf.concat([stages[number][1] for stages in parts], 0)
            if _differ(values, own):
                how = "gives other random numbers each time" if _differ(values, again[number][1]) else "couples samples"
                return f"{name} {how}; {REMEDIES[name.partition(' ')[0]]}"
        return REMEDIES[""]


def _differ(values: Any, others: Any) -> bool:
    if values.shape != others.shape:
        return True
    apart = np.abs(np.asarray(values, np.float64) - np.asarray(others, np.float64)).max()
    return not apart <= TOLERANCE * max(np.abs(np.asarray(values, np.float64)).max(), 1e-30)
