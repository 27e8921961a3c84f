"""What a trial hands back, and the one line that carries it. Standard library only: the harness reads it too."""

from __future__ import annotations

import hashlib
import json
import types
import typing
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from typing import Any, TypeVar

MARKER = "TRIAL-RESULT"
DAMAGED_DATA = 3
"""Exit code of the trainer when MNIST is missing or damaged, which is the machine's fault and not the training's."""

T = TypeVar("T")


class BrokenResultError(ValueError):
    """The result line is absent, damaged, or lacks a figure."""


@dataclass(frozen=True)
class EpochRecord:
    """What one rank did in one epoch.

    Attributes:
        updates: optimiser steps, counted by the optimiser's own step variable.
        samples: images that this rank trained on.
        coverage: hash of (update, position, sample) of every image, see schedule.coverage.
        loss: mean over the rank's images.
        first_losses: the rank's share of the global loss in each of the first updates.
        seconds: training-loop clock of this rank.
        weights: SHA-256 of the weights, taken as soon as the last update was done.
        accuracy: on the 10,000 test images; rank 0 evaluates, the others have None.
    """

    updates: int
    samples: int
    coverage: str
    loss: float
    first_losses: tuple[float, ...]
    seconds: float
    weights: str
    accuracy: float | None


@dataclass(frozen=True)
class Probe:
    """Random projections of the first gradient and of the weights' change over twenty plain SGD updates."""

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
class Hardware:
    """The machine that a rank ran on; its memory is the cgroup's where that is less."""

    cpu: str
    architecture: str
    cores: int
    memory_gib: int


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
    """

    rank: int
    world_size: int
    seed: int
    learning_rate: float
    batch_size: int
    host: str
    node: str
    collective: str
    means: ComputeResources
    epochs: tuple[EpochRecord, ...]
    probe: Probe | None
    marks: dict[str, float]
    hardware: Hardware | None = None
    kernel: str = ""
    calibration_seconds: float | None = None
    slowdown: float = 0.0


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

    workers: int
    copies: int
    seed: int
    epochs: int
    batch_size: int
    ranks: tuple[RankRecord, ...]
    marks: dict[str, float]
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


def encode(result: TrialResult) -> str:
    """Return the result line: marker, length in bytes, SHA-256, JSON."""
    body = json.dumps(asdict(result), separators=(",", ":"), allow_nan=False)
    return f"{MARKER} {len(body)} {hashlib.sha256(body.encode()).hexdigest()} {body}"


def decode(log: str) -> TrialResult:
    """Return the result in a job's complete log. Raises BrokenResultError when it is absent, damaged or incomplete."""
    lines = [line for line in log.splitlines() if line.startswith(MARKER + " ")]
    if len(lines) != 1:
        raise BrokenResultError(f"expected one {MARKER} line in the job's log, found {len(lines)}")
    parts = lines[0].split(" ", 3)
    if len(parts) != 4 or not (parts[1].isascii() and parts[1].isdigit()):
        raise BrokenResultError(f"the {MARKER} line is cut short: {lines[0][:80]!r}")
    _, length, digest, body = parts
    if len(body) != int(length):
        raise BrokenResultError(f"the {MARKER} line announces {length} bytes and has {len(body)}: the log is cut")
    if hashlib.sha256(body.encode()).hexdigest() != digest:
        raise BrokenResultError(f"the {MARKER} line does not match its SHA-256: the log is damaged")
    result = from_dict(TrialResult, parse_json(body))
    _require_epochs(result.ranks)
    return result


def _require_epochs(ranks: tuple[RankRecord, ...]) -> None:
    """Refuse a rank without epochs: it must not count as one that took 0 s."""
    if not ranks:
        raise BrokenResultError("no rank reported its work: the trial has no training time")
    for rank in ranks:
        if not rank.epochs:
            raise BrokenResultError(f"rank {rank.rank} reported no epoch: the trial has no training time")


def parse_json(text: str) -> Any:
    """Parse JSON without NaN and infinities, which are no figures. Raises BrokenResultError."""

    def refuse(constant: str) -> None:
        raise BrokenResultError(f"{constant} is not a figure")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise BrokenResultError(f"not JSON: {error}") from error


def from_dict(kind: type[T], value: object, at: str = "") -> T:
    """Build a dataclass from parsed JSON. Raises BrokenResultError that names a missing or mistyped figure."""
    return typing.cast("T", _build(kind, value, at or kind.__name__))


def _build(kind: Any, value: Any, at: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind):
        if isinstance(value, kind):  # type: ignore[arg-type]
            return value  # read already
        return _build_dataclass(kind, _require(dict, value, at, "an object"), at)
    if origin is tuple:
        items = _require(list, value, at, "a list")
        return tuple(_build(arguments[0], item, f"{at}[{number}]") for number, item in enumerate(items))
    if origin is dict:
        entries = _require(dict, value, at, "an object")
        return {key: _build(arguments[1], item, f"{at}.{key}") for key, item in entries.items()}
    if origin is typing.Literal:
        if value not in arguments:
            raise BrokenResultError(f"{at}: expected one of {', '.join(map(str, arguments))}, got {value!r}")
        return value
    if origin in (types.UnionType, typing.Union):
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if value is None else _build(inner, value, at)
    if kind is not bool and isinstance(value, bool):
        raise BrokenResultError(f"{at}: expected {kind.__name__}, got {value!r}")
    if kind is float and isinstance(value, int):
        return float(value)
    return _require(kind, value, at, kind.__name__)


def _build_dataclass(kind: Any, value: dict[str, Any], at: str) -> Any:
    hints = typing.get_type_hints(kind)
    # What has a default may be absent: data written before the field was there.
    names = [field.name for field in fields(kind) if field.name in value or field.default is MISSING]
    for name in names:
        if name not in value:
            raise BrokenResultError(f"{at}.{name} is missing from the result")
    return kind(**{name: _build(hints[name], value[name], f"{at}.{name}") for name in names})


def _require(kind: Any, value: Any, at: str, expected: str) -> Any:
    if not isinstance(value, kind):
        raise BrokenResultError(f"{at}: expected {expected}, got {value!r}")
    return value
