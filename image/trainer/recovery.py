"""Checkpoints of a training, and a rank that is killed on purpose: what a rank keeps from life to life."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.progress import LOSE_NODE, show
from trainer.reading import from_dict, parse_json
from trainer.result import EpochRecord, RankRecord, SecondLife
from trainer.work import Work

State = Mapping[str, Any]
KILLED, NOTICED = "killed.json", "noticed.json"
NODE_SECONDS = 300.0
"""In which a node that a rank asks to be rid of must be gone."""


@dataclass(frozen=True)
class Piece:
    """Updates of one epoch that are one call of the graph, counted from 0 over the whole training.

    Attributes:
        saved: whether a checkpoint follows.
    """

    epoch: int
    first: int
    end: int
    saved: bool


class Done(NamedTuple):
    """What some updates of one rank came to: the losses, the samples used, and the graph's seconds."""

    losses: NDArray[np.float32]
    used: NDArray[np.int32]
    seconds: float


class Checkpoints(Protocol):
    """Where checkpoints are kept; every rank calls both."""

    def save(self, state: State | None) -> None:
        """Keep a state, which rank 0 alone gives; return when every rank has called it."""
        ...

    def load(self) -> State | None:
        """Return the latest state that was kept; None where there is none."""
        ...


class Files(Protocol):
    """Small files that outlive every process of a trial, and that the ranks of both lives find."""

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        ...

    def read(self, name: str) -> bytes:
        """Return its content."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write one that is whole or not there."""
        ...


@dataclass(frozen=True)
class LocalFiles:
    """Files in a folder: for ranks of one machine."""

    path: str

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        return Path(self.path, name).exists()

    def read(self, name: str) -> bytes:
        """Return its content."""
        return Path(self.path, name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Write one that is whole or not there."""
        partial = Path(self.path, f"{name}.partial")
        partial.write_bytes(content)
        partial.replace(Path(self.path, name))


class Loop(Protocol):
    """What is trained: what it depends on, and one call of its graph."""

    def train_on(self, batches: Any) -> Done:
        """Train on some batches of an epoch."""
        ...

    def save(self) -> State:
        """Return everything that the next update depends on, and the number of updates so far as `step`."""
        ...

    def load(self, saved: State) -> None:
        """Go on from what was saved."""
        ...


def cut(epochs: int, updates: int, every: int, kill: int = 0) -> tuple[Piece, ...]:
    """Cut a training into pieces: at each checkpoint, at the end of each epoch, and where a rank is killed.

    >>> [(piece.first, piece.end, piece.saved) for piece in cut(1, 10, 4, kill=5)]
    [(0, 4, True), (4, 5, False), (5, 8, True), (8, 10, True)]
    """
    pieces: list[Piece] = []
    for epoch in range(epochs):
        begin, end = epoch * updates, (epoch + 1) * updates
        saved = {*range(begin + every, end, every), end}
        cuts = sorted({begin, kill, *saved} if begin < kill < end else {begin, *saved})
        pieces += [Piece(epoch, first, last, last in saved) for first, last in pairwise(cuts)]
    return tuple(pieces)


class Saving:
    """Trains in pieces with a checkpoint after each, and goes on from the last one when it is started again.

    Attributes:
        seconds: of each checkpoint of this life.
        second_life: what happened before this life; None in the first.

    Args:
        updates: of an epoch.
        files: of this trial, the same in every life.
        marks: of this process; the second life adds when it was restored, and when all was done again.
    """

    def __init__(
        self,
        work: Work,
        rank: int,
        updates: int,
        files: Files,
        checkpoints: Checkpoints,
        marks: dict[str, float],
    ) -> None:
        self._work, self._rank, self._updates = work, rank, updates
        self._files, self._checkpoints, self._marks = files, checkpoints, marks
        self._restored = 0
        self.seconds: list[float] = []
        self.second_life: SecondLife | None = None

    def resume(self, loop: Loop) -> None:
        """Load the latest checkpoint; in the first life there is none."""
        state = self._checkpoints.load()
        if state is not None:
            loop.load(state)
            self._restored = int(state["step"])
        if self._files.exists(KILLED):
            before = self._read_json(KILLED) | self._read_json(NOTICED)
            self.second_life = from_dict(SecondLife, before | {"restored": self._restored})
            self._marks["restored"] = time.time()

    def finished(self, epoch: int) -> EpochRecord | None:
        """Return the record of an epoch that was over at the checkpoint; None for one that is to be trained."""
        if (epoch + 1) * self._updates > self._restored:
            return None
        return from_dict(EpochRecord, self._read_json(self._record_of(epoch)))

    def train(self, epoch: int, batches: Any, loop: Loop) -> Done:
        """Train what an epoch still lacks, and return what the whole of it came to, over all lives."""
        done, begin = [], epoch * self._updates
        for piece in cut(self._work.epochs, self._updates, self._work.checkpoint_every, self._work.kill_update):
            if piece.epoch != epoch:
                continue
            if piece.end <= self._restored:
                done.append(self._read(piece))
                continue
            if piece.first == self._work.kill_update > 0:
                self._meet_kill()
            part = loop.train_on(batches[piece.first - begin : piece.end - begin])
            self._write(piece, part)
            done.append(part)
            if piece.saved:
                self._save(loop)
        losses, used, seconds = zip(*done, strict=True)
        return Done(np.concatenate(losses), np.concatenate(used), sum(seconds))

    def keep(self, epoch: int, record: EpochRecord) -> None:
        """Keep the record of an epoch for the next life."""
        write_json(self._files, self._record_of(epoch), **asdict(record))

    def told_by(self, record: RankRecord) -> RankRecord:
        """Return a rank's record with what it has to tell of its checkpoints and its lives."""
        return replace(record, checkpoint_seconds=tuple(self.seconds), second_life=self.second_life)

    def _save(self, loop: Loop) -> None:
        began = time.perf_counter()
        self._checkpoints.save(loop.save() if self._rank == 0 else None)
        self.seconds.append(time.perf_counter() - began)

    def _meet_kill(self) -> None:
        """Die right before this update, in the first life; in the second, all that was lost is done again."""
        if self.second_life:
            self._marks["redone"] = time.time()
        elif self._rank == self._work.kill_rank:
            killed = {"rank": self._rank, "update": self._work.kill_update, "killed_at": time.time()}
            write_json(self._files, KILLED, **killed)
            if not self._work.lose_node:
                os.kill(os.getpid(), signal.SIGKILL)
            show({"phase": "waiting for the loss of its node", LOSE_NODE: socket.gethostname()})
            time.sleep(NODE_SECONDS)
            raise RuntimeError(f"its node was not taken away within {NODE_SECONDS:.0f} s")

    def _record_of(self, epoch: int) -> str:
        return f"rank-{self._rank}-epoch-{epoch}.json"

    def _piece_of(self, piece: Piece) -> str:
        return f"rank-{self._rank}-update-{piece.first}-{piece.end}.npz"

    def _write(self, piece: Piece, part: Done) -> None:
        archive = BytesIO()
        np.savez(archive, **part._asdict())
        self._files.write(self._piece_of(piece), archive.getvalue())

    def _read(self, piece: Piece) -> Done:
        with np.load(BytesIO(self._files.read(self._piece_of(piece)))) as arrays:
            return Done(arrays["losses"], arrays["used"], float(arrays["seconds"]))

    def _read_json(self, name: str) -> Any:
        return parse_json(self._files.read(name).decode())


def write_json(files: Files, name: str, **values: object) -> None:
    """Write a small JSON file."""
    files.write(name, json.dumps(values).encode())
