"""The one training function: the baseline calls it alone, every Ray Train worker calls it as a rank."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from trainer import data, datasets, gpu, schedule
from trainer.cgroup import cpu_quota
from trainer.collective import Collective, Delayed, connect
from trainer.loop import Loop
from trainer.machine import calibrate, hardware
from trainer.progress import Progress
from trainer.reading import from_dict, parse_json
from trainer.recovery import Checkpoints, Files, Saving
from trainer.result import ComputeResources, Gpu, Probe, RankRecord
from trainer.telemetry import Stopwatch
from trainer.work import Work
from trainer.workloads.cnn import Cnn
from trainer.workloads.contract import Training
from trainer.workloads.facts import CNN_MNIST, forbid_forks, workload_file

Report = Callable[[RankRecord], None]
"""Takes what a rank has done so far, after each epoch."""
PROBE_BYTES = 8  # bytes of a double: the probe computes in double precision


def configure_threads(threads: int) -> None:
    """Give TensorFlow as many threads as the rank has CPUs; to be called before its first operation.

    Stock wheels size their pools by the host's cores, whatever the quota or OMP_NUM_THREADS says.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def configure_gpu(work: Work) -> Gpu | None:
    """Let TensorFlow train on this process's GPU, or on none; to be called before its first operation.

    Raises UnusableGpuError. What proves that two sides do the same is trained in full precision, bit for bit alike.
    """
    if not work.gpus:
        tf.config.set_visible_devices([], "GPU")
        return None
    own = gpu.find_own()
    tf.config.experimental.enable_tensor_float_32_execution(work.rounded)
    if work.probe:
        tf.config.experimental.enable_op_determinism()
    return own


def train(
    work: Work,
    rank: int,
    world_size: int,
    marks: dict[str, float],
    progress: Progress,
    wait_for_start: Callable[[], None] = lambda: None,
    kept: tuple[Files, Checkpoints] | None = None,
    report: Report = lambda record: None,
) -> tuple[RankRecord, ...]:
    """Train as one rank and return the records of every rank.

    `marks` maps each phase that this process has finished to its unix time; this adds its own. `progress` and
    `report` are called outside the timed loop; the first epoch starts when `wait_for_start` returns; `kept` outlives
    this process.
    """
    configure_threads(work.threads)
    own_gpu = configure_gpu(work)
    training = load_training(work, marks)
    collective = _connect(work, training, rank, world_size)
    stopwatch = Stopwatch()
    timed = bool(work.monitor) and collective.timed_by(stopwatch)
    arrays, digest = load_data(work)
    marks["data"] = time.time()
    progress({"phase": "build"})
    loop = Loop(training, arrays, work, schedule.share(rank, world_size, work.batch_size), collective)
    loop.build()
    if own_gpu:
        gpu.require_used(own_gpu, len(tf.config.list_physical_devices("GPU")), loop.device)
    marks["build"] = time.time()
    probe = _run_probe(loop, rank, world_size, marks, progress) if work.probe else None
    calibration = calibrate()
    marks["calibrate"] = time.time()
    wait_for_start()
    saving = _resume(loop, Saving(work, rank, loop.updates, *kept, marks)) if kept else None
    progress({"phase": "epoch"})
    watch = _watch(work, own_gpu)
    own = RankRecord(
        rank=rank,
        world_size=world_size,
        host=socket.gethostname(),
        node=os.environ.get("RAY_TRAIN_E2E_NODE", ""),
        collective=collective.name,
        means=read_compute_resources(),
        epochs=(),
        probe=probe,
        marks=marks,
        hardware=hardware(),
        kernel=platform.release(),
        calibration_seconds=calibration,
        data=digest,
        **_describe(work, training),
        gpu=watch.record() if watch else None,
    )
    own = _train_epochs(loop, work, own, progress, report, stopwatch if timed else None, saving)
    own = replace(own, gpu=watch.record()) if watch else own
    return _gather(collective, saving.told_by(own) if saving else own)


def _describe(work: Work, training: Training) -> dict[str, Any]:
    """Return what a record says of the training itself, and of how it was asked to train."""
    return {
        "seed": work.seed,
        "batch_size": work.batch_size,
        "learning_rate": work.choose_rate(training.learning_rate),
        "rate_factor": work.rate_factor,
        "warm_up": work.warm_up,
        "slowdown": work.slowdown,
        "workload": training.sha256,
        "start": hashlib.sha256(training.weights.tobytes() + training.state.tobytes()).hexdigest(),
        "optimizer": training.optimizer,
        "batch_norm": training.batch_norm,
        "libraries": training.libraries,
        "tensors": training.tensors,
    }


def _connect(work: Work, training: Training, rank: int, world_size: int) -> Collective:
    largest = sum(training.sizes) * PROBE_BYTES
    collective = connect(work.collective, rank, world_size, largest, on_gpus=bool(work.gpus))
    return Delayed(collective, work.slowdown) if work.slowdown else collective


def load_training(work: Work, marks: dict[str, float]) -> Training:
    """Return what is to be trained; only a user's file may bring Keras, which is a phase of its own."""
    file = workload_file(work.workload)
    if file is None:
        return Cnn(work.seed)
    from trainer.workloads import user_file  # noqa: PLC0415 - the CNN needs nothing of it

    forbid_forks(work.workload)
    functions = user_file.load(file)
    if "keras" in sys.modules:
        marks["keras"] = time.time()
    return user_file.UserTraining(functions, work.seed, work.batch_norm)


def load_data(work: Work) -> tuple[datasets.Data, str]:
    """Return the arrays and their digest: of MNIST, of the archive, which is compared with the known one anyway."""
    if work.workload == CNN_MNIST.name:
        return data.load(Path(work.data)), data.SHA256
    arrays = datasets.load_prepared(Path(work.data))
    return arrays, datasets.digest(arrays)


def _watch(work: Work, own: Gpu | None) -> gpu.GpuWatch | None:
    return gpu.GpuWatch(own, tf32=work.rounded, deterministic=work.probe) if own else None


def _run_probe(loop: Loop, rank: int, world_size: int, marks: dict[str, float], progress: Progress) -> Probe:
    progress({"phase": "probe"})
    probe = loop.probe(rank, world_size)
    marks["probe"] = time.time()
    return probe


def _resume(loop: Loop, saving: Saving) -> Saving:
    saving.resume(loop)
    return saving


def _train_epochs(
    loop: Loop,
    work: Work,
    own: RankRecord,
    progress: Progress,
    report: Report,
    stopwatch: Stopwatch | None,
    saving: Saving | None,
) -> RankRecord:
    """Train every epoch, report each, with the time of its all-reduces if there is a stopwatch, and add it to `own`."""
    for epoch in range(work.epochs):
        if stopwatch:
            stopwatch.lap()
        record = saving.finished(epoch) if saving else None
        if record is None:
            record = loop.epoch(epoch, evaluate=work.evaluate and own.rank == 0, saving=saving)
        own = replace(own, epochs=(*own.epochs, record))
        progress(
            {
                "phase": "train",
                "epoch": epoch + 1,
                "epochs": work.epochs,
                "loss": record.loss,
                "images_per_second": record.samples * own.world_size / record.seconds,
                "accuracy": record.accuracy,
                "seconds": record.seconds,
                **({"all_reduce_seconds": stopwatch.lap()} if stopwatch else {}),
            }
        )
        report(own)
    own.marks["train"] = time.time()
    return own


def _gather(collective: Collective, own: RankRecord) -> tuple[RankRecord, ...]:
    """Exchange the records of all ranks, and leave the collective."""
    records = collective.gather(json.dumps(asdict(own)).encode())
    collective.barrier()  # no rank may close a socket from which a slower one still reads
    collective.close()
    return tuple(from_dict(RankRecord, parse_json(record.decode())) for record in records)


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
