"""Checkpoints by Ray Train's public interface, and the moment in which its controller notices a dead worker."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ray import train

from trainer.recovery import NOTICED, Files, State, write_json

STATE = "state.npz"


class RayCheckpoints:
    """One archive for each checkpoint, which rank 0 reports as Ray's documentation shows it."""

    def save(self, state: State | None) -> None:
        """Report a checkpoint; Ray Train lets no rank go on before all have reported."""
        with TemporaryDirectory(prefix="checkpoint-") as folder:
            checkpoint = None
            if state is not None:
                np.savez(Path(folder) / STATE, **state)
                checkpoint = train.Checkpoint.from_directory(folder)
            train.report({}, checkpoint=checkpoint)

    def load(self) -> State | None:
        """Return the latest checkpoint that Ray Train has; None where it has none."""
        checkpoint = train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder, np.load(Path(folder) / STATE) as arrays:
            return dict(arrays)


class Noticing(train.UserCallback):  # type: ignore[misc]
    """Writes down when Ray Train's controller, in which it runs, first hears of a failure."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Called for each poll of the workers that finds a failure."""
        if not self._files.exists(NOTICED):
            write_json(self._files, NOTICED, noticed_at=time.time())
