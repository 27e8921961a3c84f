"""MNIST, checked against its hash before anything is trained on it."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHA256 = "06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64"


class DamagedData(Exception):  # noqa: N818 - reads better where it is raised
    """The data file is missing or is not the MNIST that results can be compared on."""


@dataclass(frozen=True)
class Mnist:
    """Images as float32 in 0..1, shape (samples, 28, 28, 1); labels as int32, shape (samples,)."""

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int32]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int32]


def load(path: Path) -> Mnist:
    """The archive at `path`. Raises DamagedData that names the file, the expected and the actual hash."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedData(f"MNIST at {path}: {error.strerror}; expected a file with SHA-256 {SHA256}") from None
    actual = hashlib.sha256(content).hexdigest()
    if actual != SHA256:
        raise DamagedData(f"MNIST at {path} is damaged: expected SHA-256 {SHA256}, got {actual}")
    with np.load(io.BytesIO(content)) as arrays:
        return Mnist(
            train_images=_images(arrays["x_train"]),
            train_labels=arrays["y_train"].astype(np.int32),
            test_images=_images(arrays["x_test"]),
            test_labels=arrays["y_test"].astype(np.int32),
        )


def _images(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return pixels.reshape(-1, 28, 28, 1).astype(np.float32) / np.float32(255)
