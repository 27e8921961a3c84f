"""Files of users' trainings, arrays for them, and what `prepare` says of both."""

from pathlib import Path
from typing import Any

import numpy as np

from trainer.datasets import Data, save
from trainer.workloads.facts import WorkloadFacts
from trainer.workloads.prepare import Asked, prepare

HEAD = """
import random, time
import keras, numpy as np, tensorflow as tf
from keras import layers

def sequential(*middle):
    return keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(3, 3), *middle, layers.Flatten(), layers.Dense(3)])
"""
MODEL = """
def model(seed):
    return sequential({})
"""


def arrays(**changes: Any) -> Data:
    """64 images of noise to train on, and 5 to test."""
    random = np.random.default_rng(1)
    given = {
        "x_train": random.integers(0, 256, (64, 4, 4, 1), np.uint8),
        "y_train": random.integers(0, 3, 64, np.int32),
        "x_test": random.integers(0, 256, (5, 4, 4, 1), np.uint8),
        "y_test": random.integers(0, 3, 5, np.int32),
    }
    return Data(**given | changes)


class Prepare:
    """Prepares a file of this text on such arrays."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(
        self, text: str, *, workers: tuple[int, ...] = (2, 4), batch_size: int = 32, data: Data | None = None
    ) -> WorkloadFacts:
        file = self._folder / "my_net.py"
        file.write_text(HEAD + text)
        save(data or arrays(), self._folder / "noise.npz")
        return prepare(Asked(str(file), str(self._folder / "noise.npz"), workers, batch_size, 1, self._folder / "out"))
