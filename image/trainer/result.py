"""What a trial hands back, and the one line that carries it. Standard library only: the harness reads it too."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from trainer.reading import BrokenResultError, Count, SecondsSpent, UnixTime, WholeFromOne, from_dict, parse_json

T = TypeVar("T")

MARKER = "TRIAL-RESULT"
DAMAGED_DATA = 3
"""Exit code of the trainer when MNIST is missing or damaged, which is the machine's fault and not the training's."""
INVALID_WORKLOAD = 2
"""Likewise when a user's training or data cannot be measured; argparse's code for what a user can mend."""
DIVERGED = 4
"""Likewise when a loss is not a number."""
UNUSABLE_GPU = 5
"""Likewise when there is no GPU for a process alone, or TensorFlow does not use it."""


class DamagedLogError(BrokenResultError):
    """A result line is not as it was printed: the log lost it, not the training."""


class DivergedError(ArithmeticError):
    """A loss is not a number: nothing can be compared with it."""


@dataclass(frozen=True)
class EpochRecord:
    """What one rank did in one epoch.

    Attributes:
        updates: optimiser steps, counted by the optimiser's own step variable.
        samples: that this rank trained on.
        coverage: hash of (update, position, sample) of every sample, see schedule.coverage.
        loss: mean over the rank's samples.
        first_losses: the rank's share of the global loss in each of the first updates.
        seconds: training-loop clock of this rank.
        weights: SHA-256 of the weights and of what else changed, taken as soon as the last update was done.
        accuracy: mean score of all test samples; rank 0 evaluates, the others have None.
    """

    updates: Count
    samples: Count
    coverage: str
    loss: float
    first_losses: tuple[float, ...]
    seconds: SecondsSpent
    weights: str
    accuracy: float | None


@dataclass(frozen=True)
class Probe:
    """Sketches of the first gradient and of the weights' change over some plain SGD updates, by tensor."""

    gradient: tuple[tuple[float, ...], ...]
    weights: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class ComputeResources:
    """What one rank computed with: it must be equal on both sides.

    Attributes:
        intra_threads: TensorFlow's threads inside an operation, as TensorFlow reports them.
        cores: cores that the process may run on (affinity).
        quota: CPUs by cgroup quota; None where there is none.
        niceness: priority by which the kernel shares a core; Ray gives its workers 15 unless told otherwise.
        onednn: the oneDNN setting; "default" when nothing sets it.
    """

    intra_threads: int
    inter_threads: int
    cores: int
    quota: float | None
    niceness: int
    onednn: str

    @property
    def cpus(self) -> float:
        """Return the CPUs that it could use at the same time."""
        return self.cores if self.quota is None else min(self.cores, self.quota)


@dataclass(frozen=True)
class Gpu:
    """A GPU, before a process uses it.

    Attributes:
        compute: capability, such as "9.0".
        used_mib: of its memory, by others; what the driver reserves for itself does not count.
        processes: that compute on it.
        mig: whether it is cut into slices.
    """

    uuid: str
    name: str
    compute: str
    driver: str
    memory_mib: WholeFromOne
    used_mib: Count
    processes: Count
    mig: bool

    @property
    def label(self) -> str:
        """For people: which one it is."""
        return f"{self.name} ({self.uuid})"


@dataclass(frozen=True)
class GpuState:
    """A GPU at one moment; None where it does not say.

    Attributes:
        clock_mhz: of its multiprocessors.
        limits: what holds the clock back, if anything does.
    """

    clock_mhz: Count | None
    celsius: int | None
    watts: float | None
    limits: tuple[str, ...]


@dataclass(frozen=True)
class GpuRecord:
    """The GPU that a rank trained on.

    Attributes:
        tf32: whether products of matrices were rounded to TF32.
        deterministic: whether TensorFlow was held to operations that give the same bits each time.
        begin: right before the first update; `end`, right after the last.
        slowed: share of the time for which heat or a fault held it back.
    """

    found: Gpu
    tf32: bool
    deterministic: bool
    begin: GpuState
    end: GpuState
    slowed: float

    @property
    def kind(self) -> str:
        """What must be equal on both sides."""
        found = self.found
        precision = f"TF32 {'on' if self.tf32 else 'off'}, {'' if self.deterministic else 'not '}deterministic"
        model = f"{found.name}, {found.memory_mib} MiB, compute capability {found.compute}"
        return f"{model}, driver {found.driver}, {precision}"


@dataclass(frozen=True)
class Hardware:
    """The machine that a rank ran on; its memory is the cgroup's where that is less."""

    cpu: str
    architecture: str
    cores: int
    memory_gib: int


@dataclass(frozen=True)
class SecondLife:
    """What a rank knows that was started again, after one of them was killed on purpose.

    Attributes:
        rank: which rank was killed.
        update: right before which update, counted from 0 over the whole training.
        killed_at: when, by the clock of the one that was killed.
        noticed_at: when Ray Train's controller first heard of it.
        restored: how many updates the checkpoint held from which training went on.
    """

    rank: Count
    update: Count
    killed_at: UnixTime
    noticed_at: UnixTime
    restored: Count


@dataclass(frozen=True)
class RankRecord:
    """Everything that one rank hands over about itself.

    What has a default is absent from records of an older trainer.

    Attributes:
        collective: how it added its gradient to the others'; "none" when it is alone.
        means: what it computed with.
        marks: unix time at which each phase of this process ended, in order.
        hardware: what it ran on; None when it did not say.
        kernel: release of the operating system's kernel; empty when it did not say.
        calibration_seconds: of a fixed computation, right before training; None when it was not made.
        slowdown: share by which each step was delayed on purpose; 0 for a rank that was left alone.
        rate_factor: see work.Work, as is warm_up.
        workload: SHA-256 of the training's file; "built-in" for the CNN.
        data: digest of the arrays that it trained on.
        start: SHA-256 of the initial weights and state.
        optimizer: with its settings.
        batch_norm: over which samples a BatchNorm takes its statistics; empty where there is none.
        libraries: Keras' version and settings; empty where it is not loaded.
        tensors: names of the tensors in the probe's order.
        checkpoint_seconds: of each checkpoint that this process took part in.
        second_life: of a rank that was started again; None for one that ran through.
        gpu: that it trained on; None for the CPU.
    """

    rank: Count
    world_size: WholeFromOne
    seed: int
    learning_rate: float
    batch_size: WholeFromOne
    host: str
    node: str
    collective: str
    means: ComputeResources
    epochs: tuple[EpochRecord, ...]
    probe: Probe | None
    marks: dict[str, UnixTime]
    hardware: Hardware | None = None
    kernel: str = ""
    calibration_seconds: SecondsSpent | None = None
    slowdown: float = 0.0
    workload: str = ""
    data: str = ""
    start: str = ""
    optimizer: str = ""
    batch_norm: str = ""
    libraries: str = ""
    tensors: tuple[str, ...] = ()
    checkpoint_seconds: tuple[SecondsSpent, ...] = ()
    second_life: SecondLife | None = None
    rate_factor: float = 1.0
    warm_up: Count = 0
    gpu: GpuRecord | None = None

    @property
    def gpu_kind(self) -> str:
        """What of its GPU must be equal on both sides."""
        return self.gpu.kind if self.gpu else "none"


@dataclass(frozen=True)
class TrialResult:
    """One training run: `workers` is 0 for the baseline, N for N Ray Train workers.

    Attributes:
        copies: independent baselines that ran side by side; 1 except when the ceiling is measured.
        batch_size: global batch, divided among the ranks.
        ranks: by rank; of several copies, by copy.
        marks: unix time at which each phase of the driver ended, in order.
        versions: of what the numbers depend on.
    """

    workers: Count
    copies: WholeFromOne
    seed: int
    epochs: WholeFromOne
    batch_size: WholeFromOne
    ranks: tuple[RankRecord, ...]
    marks: dict[str, UnixTime]
    versions: dict[str, str]

    @property
    def train_seconds(self) -> float:
        """Return the slowest rank's training-loop time. Raises BrokenResultError without epochs or ranks."""
        _require_epochs(self.ranks)
        return max(sum(epoch.seconds for epoch in rank.epochs) for rank in self.ranks)

    @property
    def accuracy(self) -> float | None:
        """Return rank 0's accuracy after the last epoch; None when it was not evaluated."""
        return self.ranks[0].epochs[-1].accuracy


@dataclass(frozen=True)
class ShareTimes:
    """Seconds of an update in each turn, in one process, by how many workers share the batch."""

    updates: dict[str, tuple[SecondsSpent, ...]]


def encode(result: Any) -> str:
    """Return the result line of a dataclass: marker, length in bytes, SHA-256, JSON."""
    body = json.dumps(asdict(result), separators=(",", ":"), allow_nan=False)
    return f"{MARKER} {len(body)} {hashlib.sha256(body.encode()).hexdigest()} {body}"


def decode(log: str) -> TrialResult:
    """Return the trial's result in a job's complete log. Raises BrokenResultError when it is absent or incomplete."""
    result = decode_as(TrialResult, log)
    _require_epochs(result.ranks)
    return result


def decode_as(kind: type[T], log: str) -> T:
    """Return the dataclass that `encode` wrote into a log. Raises BrokenResultError."""
    lines = [line for line in log.splitlines() if line.startswith(MARKER + " ")]
    if len(lines) != 1:
        raise BrokenResultError(f"expected one {MARKER} line in the job's log, found {len(lines)}")
    parts = lines[0].split(" ", 3)
    if len(parts) != 4 or not (parts[1].isascii() and parts[1].isdigit()):
        raise DamagedLogError(f"the {MARKER} line is cut short: {lines[0][:80]!r}")
    _, length, digest, body = parts
    if len(body) != int(length):
        raise DamagedLogError(f"the {MARKER} line announces {length} bytes and has {len(body)}: the log is cut")
    if hashlib.sha256(body.encode()).hexdigest() != digest:
        raise DamagedLogError(f"the {MARKER} line does not match its SHA-256: the log is damaged")
    return from_dict(kind, parse_json(body))


def _require_epochs(ranks: tuple[RankRecord, ...]) -> None:
    """Refuse a rank without epochs: it must not count as one that took 0 s."""
    if not ranks:
        raise BrokenResultError("no rank reported its work: the trial has no training time")
    for rank in ranks:
        if not rank.epochs:
            raise BrokenResultError(f"rank {rank.rank} reported no epoch: the trial has no training time")
