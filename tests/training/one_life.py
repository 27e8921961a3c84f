"""One real trainer process with checkpoints in a folder, without Ray: one_life.py FOLDER CHEAT WORK.

WORK is a trainer.work.Work as JSON. A cheat shows in the second life.
"""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainer.recovery import KILLED, NOTICED, LocalFiles, State, write_json
from trainer.result import TrialResult, encode
from trainer.work import Work

EVERY = 8


class Folder:
    """Keeps the latest checkpoint; the cheat changes what comes back."""

    def __init__(self, folder: Path, cheat: str) -> None:
        self._file, self._cheat = folder / "state.npz", cheat

    def save(self, state: State | None) -> None:
        if state is not None:
            np.savez(self._file, **state)

    def load(self) -> State | None:
        if not self._file.exists():
            return None
        with np.load(self._file) as arrays:
            state: Mapping[str, Any] = dict(arrays)
        if self._cheat == "forgets Adam's moments":
            state = {**state, "updater-0": 0 * state["updater-0"], "updater-1": 0 * state["updater-1"]}
        if self._cheat == "forgets the weights":
            state = {**state, "weights": 0 * state["weights"]}
        if self._cheat == "does updates twice":
            state = {**state, "step": state["step"] - EVERY}
        return state


def main(folder: Path, cheat: str, work: Work) -> None:
    from trainer import training  # noqa: PLC0415 - pytest imports this file, too, and is not to wait for TensorFlow

    if (folder / KILLED).exists():
        write_json(LocalFiles(str(folder)), NOTICED, noticed_at=time.time())
    kept = (LocalFiles(str(folder)), Folder(folder, cheat)) if work.checkpoint_every else None
    ranks = training.train(work, 0, 1, {"worker": time.time()}, lambda event: None, kept=kept)
    print(encode(TrialResult(1, 1, work.seed, work.epochs, work.batch_size, ranks, {}, {})))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Work(**json.loads(sys.argv[3])))
