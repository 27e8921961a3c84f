"""The one training function: the baseline calls it alone, every Ray Train worker calls it as a rank."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from trainer import data, model, schedule
from trainer.cgroup import cpu_quota
from trainer.collective import Collective, Delayed, connect
from trainer.machine import calibrate, hardware
from trainer.progress import Progress
from trainer.reading import from_dict, parse_json
from trainer.result import ComputeResources, EpochRecord, Probe, RankRecord
from trainer.telemetry import Stopwatch
from trainer.work import Work

LEARNING_RATE = 0.001
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-7  # Kingma & Ba 2015, as Keras sets them
PROBE_UPDATES = 20
PROBE_LEARNING_RATE = 0.05
PROBE_BYTES = 8  # bytes of a double: the probe computes in double precision
TRACED_UPDATES = 32
EVALUATION_BATCH = 1000


def configure_threads(threads: int) -> None:
    """Give TensorFlow as many threads as the rank has CPUs; to be called before its first operation.

    Stock wheels size their pools by the host's cores, whatever the quota or OMP_NUM_THREADS says.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def train(
    work: Work,
    rank: int,
    world_size: int,
    marks: dict[str, float],
    progress: Progress,
    wait_for_start: Callable[[], None] = lambda: None,
) -> tuple[RankRecord, ...]:
    """Train as one rank and return the records of every rank.

    `marks` maps each phase that this process has finished to its unix time; this adds its own. `progress` is called
    outside the timed loop; the first epoch starts when `wait_for_start` returns.
    """
    configure_threads(work.threads)
    collective = connect(work.collective, rank, world_size, model.PARAMETERS * PROBE_BYTES)
    if work.slowdown:
        collective = Delayed(collective, work.slowdown)
    stopwatch = Stopwatch()
    timed = bool(work.monitor) and collective.timed_by(stopwatch)
    mnist = data.load(Path(work.data))
    marks["data"] = time.time()
    progress({"phase": "build"})
    loop = _Loop(work, mnist, schedule.share(rank, world_size, work.batch_size), collective)
    loop.build()
    marks["build"] = time.time()
    probe = None
    if work.probe:
        progress({"phase": "probe"})
        probe = loop.probe()
        marks["probe"] = time.time()
    calibration = calibrate()
    marks["calibrate"] = time.time()
    wait_for_start()
    progress({"phase": "epoch"})
    records = _train_epochs(loop, work, rank, world_size, progress, stopwatch if timed else None)
    marks["train"] = time.time()
    own = RankRecord(
        rank=rank,
        world_size=world_size,
        seed=work.seed,
        learning_rate=LEARNING_RATE,
        batch_size=work.batch_size,
        host=socket.gethostname(),
        node=os.environ.get("RAY_TRAIN_E2E_NODE", ""),
        collective=collective.name,
        means=read_compute_resources(),
        epochs=records,
        probe=probe,
        marks=marks,
        hardware=hardware(),
        kernel=platform.release(),
        calibration_seconds=calibration,
        slowdown=work.slowdown,
    )
    return _gather(collective, own)


def _train_epochs(
    loop: _Loop, work: Work, rank: int, world_size: int, progress: Progress, stopwatch: Stopwatch | None
) -> tuple[EpochRecord, ...]:
    """Train every epoch, and report each, with the time of its all-reduces if there is a stopwatch."""
    records = []
    for epoch in range(work.epochs):
        if stopwatch:
            stopwatch.lap()
        record = loop.epoch(epoch, evaluate=work.evaluate and rank == 0)
        records.append(record)
        progress(
            {
                "phase": "train",
                "epoch": epoch + 1,
                "epochs": work.epochs,
                "loss": record.loss,
                "images_per_second": record.samples * world_size / record.seconds,
                "accuracy": record.accuracy,
                "seconds": record.seconds,
                **({"all_reduce_seconds": stopwatch.lap()} if stopwatch else {}),
            }
        )
    return tuple(records)


def _gather(collective: Collective, own: RankRecord) -> tuple[RankRecord, ...]:
    """Exchange the records of all ranks, and leave the collective."""
    records = collective.gather(json.dumps(asdict(own)).encode())
    collective.barrier()  # no rank may close a socket from which a slower one still reads
    collective.close()
    return tuple(from_dict(RankRecord, parse_json(record.decode())) for record in records)


class _Loop:
    """Weights, optimiser state and the graph of a whole epoch."""

    def __init__(self, work: Work, mnist: data.Mnist, positions: slice, collective: Collective) -> None:
        self._work, self._positions, self._collective = work, positions, collective
        self._images, self._labels = tf.constant(mnist.train_images), tf.constant(mnist.train_labels)
        self._test_images = tf.constant(mnist.test_images)
        self._test_labels = mnist.test_labels
        self._initial = model.initial_weights(work.seed)
        self._weights = tf.Variable(self._initial)
        self._mean = tf.Variable(tf.zeros_like(self._weights))
        self._variance = tf.Variable(tf.zeros_like(self._weights))
        self._step = tf.Variable(0, dtype=tf.int64)
        per_replica = positions.stop - positions.start
        # AutoGraph is off: translating takes a while, and leaves files behind.
        self._epoch = tf.function(
            self._epoch_graph, input_signature=[tf.TensorSpec((None, per_replica), tf.int32)], autograph=False
        )
        self._classify = tf.function(
            lambda images: tf.argmax(model.logits(self._weights, tf.cast(images, tf.float32) / 255), 1, tf.int32),
            input_signature=[tf.TensorSpec((EVALUATION_BATCH, 28, 28, 1), tf.uint8)],
            autograph=False,
        )

    def _reduced_gradient(self, weights: Any, samples: Any) -> tuple[Any, Any]:
        """Return this rank's share of the loss, and the global batch's gradient, in the weights' precision."""
        images = tf.cast(tf.gather(self._images, samples), weights.dtype) / 255
        labels = tf.gather(self._labels, samples)
        mask = model.dropout_mask(self._work.seed, self._step, self._positions)
        mask = tf.cast(mask, weights.dtype)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = model.loss(weights, images, labels, mask, self._work.batch_size)
        return loss, self._collective.all_reduce(tape.gradient(loss, weights))

    def _epoch_graph(self, batches: Any) -> tuple[Any, Any]:
        """Run an Adam update per row of `batches` (updates, per-replica batch); return losses and samples used."""
        updates = tf.shape(batches)[0]

        def update(number: Any, losses: Any, used: Any) -> tuple[Any, Any, Any]:
            samples = batches[number]
            loss, gradient = self._reduced_gradient(self._weights.read_value(), samples)
            self._step.assign_add(1)
            step = tf.cast(self._step, tf.float32)
            tf.raw_ops.ResourceApplyAdam(
                var=self._weights.handle,
                m=self._mean.handle,
                v=self._variance.handle,
                beta1_power=tf.pow(BETA1, step),
                beta2_power=tf.pow(BETA2, step),
                lr=LEARNING_RATE,
                beta1=BETA1,
                beta2=BETA2,
                epsilon=EPSILON,
                grad=gradient,
            )
            return number + 1, losses.write(number, loss), used.write(number, samples)

        arrays = tuple(tf.TensorArray(kind, size=updates) for kind in (tf.float32, tf.int32))
        _, losses, used = tf.while_loop(lambda number, *_: number < updates, update, (0, *arrays))
        return losses.stack(), used.stack()

    def build(self) -> None:
        """Build the graph and run one step, on state that is then restored."""
        self._epoch(self._batches(epoch=0)[:1])
        if self._work.evaluate:
            self._classify(self._test_images[:EVALUATION_BATCH])
        self._restore()

    def probe(self) -> Probe:
        """Return the first reduced gradient and the change of the weights over plain SGD updates.

        Plain SGD, since Adam divides by the gradient's size and so would hide a sum in place of a mean.
        Double precision, since ReLU and max-pooling have kinks: in single precision, rounding sometimes puts one of
        millions of activations on the other side of a kink, and two equal processes can differ by 0.004 of the
        change after twenty updates (measured); in double precision they agree to 3e-15.
        """
        gradient_of = tf.function(self._reduced_gradient, autograph=False)
        weights = tf.Variable(tf.cast(self._initial, tf.float64))
        gradients = []
        for batch in self._batches(epoch=0)[:PROBE_UPDATES]:
            _, gradient = gradient_of(weights.read_value(), batch)
            gradients.append(gradient)
            weights.assign_sub(PROBE_LEARNING_RATE * gradient)
            self._step.assign_add(1)
        self._restore()
        change = weights.numpy() - self._initial
        return Probe(gradient=model.sketch(gradients[0].numpy()), weights=model.sketch(change))

    def epoch(self, number: int, *, evaluate: bool) -> EpochRecord:
        """Train on every batch of an epoch; time only the loop itself."""
        batches = self._batches(number)
        before = int(self._step.numpy())
        self._collective.barrier()
        started = time.perf_counter()
        losses, used = self._epoch(batches)
        losses = losses.numpy()  # waits for the last update
        seconds = time.perf_counter() - started
        weights = hashlib.sha256(self._weights.numpy().tobytes()).hexdigest()
        used = used.numpy().tolist()
        return EpochRecord(
            updates=int(self._step.numpy()) - before,
            samples=sum(map(len, used)),
            coverage=schedule.coverage(used, self._positions.start),
            loss=float(losses.mean(dtype=np.float64)) * self._work.batch_size / batches.shape[1],
            first_losses=tuple(map(float, losses[:TRACED_UPDATES])),
            seconds=seconds,
            weights=weights,
            accuracy=self._accuracy() if evaluate else None,
        )

    def _accuracy(self) -> float:
        slices = range(0, len(self._test_labels), EVALUATION_BATCH)
        predicted = [self._classify(self._test_images[i : i + EVALUATION_BATCH]).numpy() for i in slices]
        return float(np.mean(np.concatenate(predicted) == self._test_labels))

    def _batches(self, epoch: int) -> Any:
        batches = schedule.global_batches(self._work.seed, epoch, self._work.batch_size)
        return tf.constant(np.array(batches, np.int32)[:, self._positions])

    def _restore(self) -> None:
        self._weights.assign(self._initial)
        self._mean.assign(tf.zeros_like(self._mean))
        self._variance.assign(tf.zeros_like(self._variance))
        self._step.assign(0)


def read_compute_resources() -> ComputeResources:
    """Return what this process computes with, read from the process itself."""
    return ComputeResources(
        intra_threads=tf.config.threading.get_intra_op_parallelism_threads(),
        inter_threads=tf.config.threading.get_inter_op_parallelism_threads(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        quota=cpu_quota(),
        niceness=os.getpriority(os.PRIO_PROCESS, 0),
        onednn=os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
    )
