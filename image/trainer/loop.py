"""The training loop: weights, optimiser state and the graph of a whole epoch."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np
import tensorflow as tf

from trainer import schedule
from trainer.collective import Collective
from trainer.recovery import Done, Saving, State
from trainer.result import DivergedError, EpochRecord, Probe
from trainer.sketch import sketch
from trainer.work import PROBE_UPDATES, SHORT_PROBE_UPDATES, Work
from trainer.workload import Data
from trainer.workloads.contract import Draw, Training

PROBE_LEARNING_RATE = 0.05
TRACED_UPDATES = 32
EVALUATION_BATCH = 1000


class Loop:
    """A training on the samples that a rank has of each global batch."""

    def __init__(self, training: Training, data: Data, work: Work, positions: slice, collective: Collective) -> None:
        self._training, self._work, self._collective = training, work, collective
        self._positions = positions
        self._x, self._y = tf.constant(data.x_train), tf.constant(data.y_train)
        self._x_test, self._y_test = tf.constant(data.x_test), tf.constant(data.y_test)
        self._weights, self._state = tf.Variable(training.weights), tf.Variable(training.state)
        self._rate = work.choose_rate(training.learning_rate)
        own = work.learning_rate if work.rate_factor == 1 else self._rate  # which an optimiser's schedule refuses
        self._updater = training.updater(self._weights, own)
        self._step = tf.Variable(0, dtype=tf.int64)
        per_replica = positions.stop - positions.start
        # AutoGraph is off: translating takes a while, and leaves files behind.
        self.run = tf.function(
            self._epoch_graph, input_signature=[tf.TensorSpec((None, per_replica), tf.int32)], autograph=False
        )
        self._scores = tf.function(
            lambda x, y: training.scores(self._weights.read_value(), self._state.read_value(), x, y), autograph=False
        )

    def _reduced_gradient(self, weights: Any, state: Any, samples: Any, first: int, batch_size: int) -> Any:
        """Return this rank's share of the loss, the global batch's gradient, and the new state."""
        x, y = tf.gather(self._x, samples), tf.gather(self._y, samples)
        draw = Draw(self._work.seed, self._step, first, batch_size)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss, change = self._training.loss(weights, state, x, y, draw)
        gradient = tape.gradient(loss, weights)
        if not self._training.state.size:
            return loss, self._collective.all_reduce(gradient), state
        reduced = self._collective.all_reduce(tf.concat([gradient, change], 0))
        gradient, change = tf.split(reduced, [self._training.weights.size, self._training.state.size])
        return loss, gradient, state + change

    def _epoch_graph(self, batches: Any) -> tuple[Any, Any]:
        """Run an update per row of `batches` (updates, per-replica batch); return losses and samples used."""
        updates = tf.shape(batches)[0]

        def update(number: Any, losses: Any, used: Any) -> tuple[Any, Any, Any]:
            samples = batches[number]
            loss, gradient, state = self._reduced_gradient(
                self._weights.read_value(),
                self._state.read_value(),
                samples,
                self._positions.start,
                self._work.batch_size,
            )
            self._step.assign_add(1)
            self._updater.apply(gradient, self._step, self._grown_rate())
            if self._training.state.size:
                self._state.assign(state)
            return number + 1, losses.write(number, loss), used.write(number, samples)

        arrays = tuple(tf.TensorArray(kind, size=updates) for kind in (tf.float32, tf.int32))
        _, losses, used = tf.while_loop(lambda number, *_: number < updates, update, (0, *arrays))
        return losses.stack(), used.stack()

    def _grown_rate(self) -> Any:
        """Return the learning rate of this update; None where it does not grow."""
        factor, warm_up = self._work.rate_factor, self._work.warm_up
        if factor == 1:
            return None
        warm = tf.minimum(tf.cast(self._step, tf.float32) / max(1, warm_up), 1)
        return self._rate * (1 + (factor - 1) * warm)

    def build(self) -> None:
        """Build the graph and run one step, on state that is then restored."""
        self.run(self.batches(epoch=0)[:1])
        if self._work.evaluate:
            for start in {0, (len(self._y_test) - 1) // EVALUATION_BATCH * EVALUATION_BATCH}:  # the last may be smaller
                self._scores_from(start)
        self._restore()

    def probe(self, rank: int, world_size: int) -> Probe:
        """Return the first reduced gradient and the change of the weights over plain SGD updates.

        Plain SGD, since Adam divides by the gradient's size and so would hide a sum in place of a mean.
        Double precision, since ReLU and max-pooling have kinks: in single precision, rounding sometimes puts one of
        millions of activations on the other side of a kink, and two equal processes can differ by 0.004 of the
        change after twenty updates (measured); in double precision they agree to 3e-15.
        """
        size = self._work.probe_samples or self._work.batch_size
        positions = schedule.share(rank, world_size, size)
        graph = tf.function(
            lambda weights, state, samples: self._reduced_gradient(weights, state, samples, positions.start, size),
            autograph=False,
        )
        weights = tf.Variable(tf.cast(self._training.weights, tf.float64))
        state = tf.Variable(tf.cast(self._training.state, tf.float64))
        gradients: list[tuple[tuple[float, ...], ...]] = []
        updates = SHORT_PROBE_UPDATES if self._work.probe_samples else PROBE_UPDATES
        for batch in self._global_batches(0)[:updates]:
            samples = tf.constant(batch[positions])
            _, gradient, new_state = graph(weights.read_value(), state.read_value(), samples)
            if not gradients:
                gradients.append(sketch(np.concatenate([gradient.numpy(), new_state.numpy()]), self._training.sizes))
            weights.assign_sub(PROBE_LEARNING_RATE * gradient)
            state.assign(new_state)
            self._step.assign_add(1)
        self._restore()
        change = np.concatenate([weights.numpy() - self._training.weights, state.numpy() - self._training.state])
        return Probe(gradient=gradients[0], weights=sketch(change, self._training.sizes))

    def train_on(self, batches: Any) -> Done:
        """Train on some batches of an epoch; time only the graph itself."""
        started = time.perf_counter()
        losses, used = self.run(batches)
        losses = losses.numpy()  # waits for the last update
        return Done(losses, used.numpy(), time.perf_counter() - started)

    def save(self) -> State:
        """Return everything that the next update depends on, as arrays."""
        return {name: variable.numpy() for name, variable in self._variables.items()}

    def load(self, saved: State) -> None:
        """Go on from what was saved."""
        for name, variable in self._variables.items():
            variable.assign(saved[name])

    @property
    def _variables(self) -> dict[str, Any]:
        own = {"weights": self._weights, "state": self._state, "step": self._step}
        return own | {f"updater-{number}": variable for number, variable in enumerate(self._updater.variables)}

    def epoch(self, number: int, *, evaluate: bool, saving: Saving | None = None) -> EpochRecord:
        """Train on every batch of an epoch, in pieces where checkpoints are saved. Raises DivergedError."""
        batches = self.batches(number)
        self._collective.barrier()
        losses, used, seconds = saving.train(number, batches, self) if saving else self.train_on(batches)
        digest = hashlib.sha256(self._weights.numpy().tobytes() + self._state.numpy().tobytes()).hexdigest()
        if not np.isfinite(losses).all():
            update = int(np.isfinite(losses).argmin())
            raise DivergedError(f"the loss is not a number after update {update}: try a smaller learning rate")
        record = EpochRecord(
            updates=int(self._step.numpy()) - number * len(batches),
            samples=used.size,
            coverage=schedule.coverage(used.tolist(), self._positions.start),
            loss=float(losses.mean(dtype=np.float64)) * self._work.batch_size / batches.shape[1],
            first_losses=tuple(map(float, losses[:TRACED_UPDATES])),
            seconds=seconds,
            weights=digest,
            accuracy=self._accuracy() if evaluate else None,
        )
        if saving:
            saving.keep(number, record)
        return record

    @property
    def device(self) -> str:
        """Return the device that has the weights, by TensorFlow's name."""
        return str(self._weights.device)

    @property
    def updates(self) -> int:
        """Return the updates of an epoch."""
        return schedule.updates_per_epoch(self._work.batch_size, len(self._y), self._work.updates)

    def batches(self, epoch: int) -> Any:
        """Return the samples of this rank in every update of an epoch, (updates, per-replica batch)."""
        return tf.constant(self._global_batches(epoch)[:, self._positions])

    def _global_batches(self, epoch: int) -> Any:
        work = self._work
        batches = schedule.global_batches(work.seed, epoch, work.batch_size, len(self._y))
        return np.array(batches[: work.updates or None], np.int32)

    def _scores_from(self, start: int) -> Any:
        part = slice(start, start + EVALUATION_BATCH)
        return self._scores(self._x_test[part], self._y_test[part]).numpy()

    def _accuracy(self) -> float:
        scores = [self._scores_from(start) for start in range(0, len(self._y_test), EVALUATION_BATCH)]
        return float(np.mean(np.concatenate(scores), dtype=np.float64))

    def _restore(self) -> None:
        self._weights.assign(self._training.weights)
        self._state.assign(self._training.state)
        self._updater.reset()
        self._step.assign(0)
