"""MNIST, checked against its hash before anything is trained on it."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHA256 = "06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64"


class DamagedDataError(Exception):
    """The data file is missing or is not the MNIST that results can be compared on."""


@dataclass(frozen=True)
class Mnist:
    """Pixels 0..255, shape (samples, 28, 28, 1); labels, shape (samples,)."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int32]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int32]


def load(path: Path) -> Mnist:
    """Load the archive at `path`. Raises DamagedDataError that names the file, the expected and the actual hash."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedDataError(f"MNIST at {path}: {error.strerror}; expected a file with SHA-256 {SHA256}") from None
    actual = hashlib.sha256(content).hexdigest()
    if actual != SHA256:
        raise DamagedDataError(f"MNIST at {path} is damaged: expected SHA-256 {SHA256}, got {actual}")
    with np.load(io.BytesIO(content)) as arrays:
        return Mnist(
            train_images=arrays["x_train"].reshape(-1, 28, 28, 1),
            train_labels=arrays["y_train"].astype(np.int32),
            test_images=arrays["x_test"].reshape(-1, 28, 28, 1),
            test_labels=arrays["y_test"].astype(np.int32),
        )
