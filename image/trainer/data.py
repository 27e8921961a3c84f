"""MNIST, checked against its hash before anything is trained on it."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np

from trainer.datasets import Data
from trainer.workloads.facts import CNN_MNIST

SHA256 = CNN_MNIST.data_sha256


class DamagedDataError(Exception):
    """The data file is missing or is not the MNIST that results can be compared on."""


def load(path: Path) -> Data:
    """Load the archive at `path`. Raises DamagedDataError that names the file, the expected and the actual hash."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedDataError(f"MNIST at {path}: {error.strerror}; expected a file with SHA-256 {SHA256}") from None
    actual = hashlib.sha256(content).hexdigest()
    if actual != SHA256:
        raise DamagedDataError(f"MNIST at {path} is damaged: expected SHA-256 {SHA256}, got {actual}")
    with np.load(io.BytesIO(content)) as arrays:
        return Data(
            x_train=arrays["x_train"].reshape(-1, 28, 28, 1),
            y_train=arrays["y_train"].astype(np.int32),
            x_test=arrays["x_test"].reshape(-1, 28, 28, 1),
            y_test=arrays["y_test"].astype(np.int32),
        )
