"""Checkpoints of a training, and a rank that goes on from them in a second life. No TensorFlow."""

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer import recovery
from trainer.progress import parse
from trainer.recovery import NOTICED, Done, LocalFiles, Saving, State, cut
from trainer.result import EpochRecord
from trainer.work import Work

UPDATES = 10
WORK = Work(1, 2, 4, 1, "", "auto", probe=False, evaluate=False, checkpoint_every=4)
KILLED = replace(WORK, kill_rank=1, kill_update=15)


class KilledError(Exception):
    """Stands for the end of a process."""


class Folder:
    """Keeps the latest checkpoint, of which rank 0 gives the state."""

    state: State | None = None

    def save(self, state: State | None) -> None:
        self.state = state or self.state

    def load(self) -> State | None:
        return self.state


class Counting:
    """Trains by counting, and keeps every batch that it saw."""

    def __init__(self) -> None:
        self.step = 0
        self.seen: list[int] = []

    def train_on(self, batches: Any) -> Done:
        self.step += len(batches)
        self.seen += list(batches[:, 0])
        return Done(batches[:, 0].astype(np.float32), batches, 1.0)

    def save(self) -> State:
        return {"step": np.array(self.step)}

    def load(self, saved: Mapping[str, Any]) -> None:
        self.step = int(saved["step"])


@pytest.fixture(autouse=True)
def _no_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(process: int, number: int) -> None:
        raise KilledError

    monkeypatch.setattr(os, "kill", end)


def live(work: Work, rank: int, folder: Path, checkpoints: Folder) -> tuple[Counting, Saving, list[list[int]]]:
    """One life of a rank: what it trained, and the batches that count, by epoch."""
    loop, saving, counted = Counting(), Saving(work, rank, UPDATES, LocalFiles(str(folder)), checkpoints, {}), []
    saving.resume(loop)
    for epoch in range(work.epochs):
        record = saving.finished(epoch)
        if record is None:
            batches = np.arange(epoch * UPDATES, (epoch + 1) * UPDATES, dtype=np.int32)[:, None]
            done = saving.train(epoch, batches, loop)
            counted.append(done.used[:, 0].tolist())
            saving.keep(epoch, EpochRecord(len(done.losses), 1, "", 0.0, (), done.seconds, "", None))
        else:
            counted.append([epoch])
    return loop, saving, counted


def test_a_training_is_cut_at_its_checkpoints_at_its_epochs_and_where_a_rank_is_killed() -> None:
    ends = [(piece.epoch, piece.end, piece.saved) for piece in cut(2, 10, 4, kill=15)]

    assert ends == [
        *((0, 4, True), (0, 8, True), (0, 10, True)),
        *((1, 14, True), (1, 15, False), (1, 18, True), (1, 20, True)),
    ]
    assert cut(2, 10, 4, kill=14) == cut(2, 10, 4), "where a checkpoint is, there is a cut already"


def test_an_undisturbed_training_saves_after_each_piece_and_sees_every_batch_once(tmp_path: Path) -> None:
    loop, saving, counted = live(WORK, 0, tmp_path, Folder())

    assert loop.seen == [number for epoch in counted for number in epoch] == list(range(20))
    assert len(saving.seconds) == 6
    assert saving.second_life is None


def test_the_rank_that_is_killed_ends_right_before_its_update_and_others_go_on(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        live(KILLED, 1, tmp_path, Folder())
    other, _, _ = live(replace(KILLED, kill_rank=2), 1, tmp_path / "..", Folder())

    assert (tmp_path / recovery.KILLED).exists()
    assert other.step == 20


def test_a_rank_that_is_to_lose_its_node_names_it_and_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)

    with pytest.raises(RuntimeError, match="its node was not taken away within 300 s"):
        live(replace(KILLED, lose_node=True), 1, tmp_path, Folder())

    event = parse(capsys.readouterr().out)
    assert event is not None
    assert event["lose_node"] == socket.gethostname()
    assert slept == [300.0]


def test_a_second_life_goes_on_from_the_checkpoint_and_counts_every_update_once(tmp_path: Path) -> None:
    checkpoints = Folder()
    checkpoints.state = {"step": np.array(14)}  # rank 0's
    with pytest.raises(KilledError):
        live(KILLED, 1, tmp_path, (first := Folder()))
    recovery.write_json(LocalFiles(str(tmp_path)), NOTICED, noticed_at=time.time())
    assert first.state is None, "rank 1 gives no state"

    loop, saving, counted = live(KILLED, 1, tmp_path, checkpoints)

    assert loop.seen == [14, 15, 16, 17, 18, 19], "update 14 is done again, the first epoch is not"
    assert counted == [[0], list(range(10, 20))]
    assert saving.second_life is not None
    life = saving.second_life
    assert (life.rank, life.update, life.restored) == (1, 15, 14)
    assert life.killed_at <= life.noticed_at


def test_without_a_checkpoint_a_second_life_begins_again(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        live(KILLED, 1, tmp_path, Folder())
    recovery.write_json(LocalFiles(str(tmp_path)), NOTICED, noticed_at=time.time())

    loop, saving, _ = live(KILLED, 1, tmp_path, Folder())

    assert loop.seen == list(range(20))
    assert saving.second_life is not None
    assert saving.second_life.restored == 0
