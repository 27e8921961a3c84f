"""Shares of a batch are timed by a real process: each as often, of any training, built-in or a user's."""

from pathlib import Path

import pytest

from tests.training.test_own_trainings import run
from tests.training.user_files import HEAD, MODEL, arrays
from trainer.datasets import save
from trainer.result import ShareTimes, decode_as
from trainer.shares import TURNS

pytestmark = pytest.mark.training


def test_each_share_of_a_users_training_is_timed_in_turn(tmp_path: Path) -> None:
    (tmp_path / "my_net.py").write_text(HEAD + MODEL.format("layers.BatchNormalization(), layers.Dropout(0.4)"))
    save(arrays(), tmp_path / "data.npz")

    timed = run(
        "trainer.shares", "--shares", "1,2,4", "--batch-size", "16", "--workload", str(tmp_path / "my_net.py"),
        "--data", str(tmp_path / "data.npz"), "--batch-norm", "groups:4",
    )  # fmt: skip

    assert timed.returncode == 0, timed.stderr
    updates = decode_as(ShareTimes, timed.stdout).updates
    assert {workers: len(seconds) for workers, seconds in updates.items()} == dict.fromkeys(("1", "2", "4"), TURNS)
