"""Read x_train, y_train, x_test and y_test from npz, IDX and CIFAR-10's files. Nothing in a file can run."""

from __future__ import annotations

import gzip
import io
import math
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
CIFAR = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
CIFAR_PIXELS = 3 * 32 * 32  # red, green and blue, row by row, a byte each
CIFAR_CLASSES = 10
CIFAR_GLOBALS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}
FILES = (*IDX, *(f"{name}.gz" for name in IDX), *CIFAR, *(f"{name}.bin" for name in CIFAR))
ACCEPTED = (
    f"an .npz with {', '.join(ARRAYS)}; MNIST's four IDX files, or .gz, in a folder; "
    "CIFAR-10's six batches, binary or pickled, in a folder or a tar archive"
)


class InvalidDataError(Exception):
    """The data cannot be read or not be trained on: one sentence with what was given and what is accepted."""


def read_arrays(path: Path) -> dict[str, Array]:
    """Read the four arrays that a file or folder holds. Raises InvalidDataError."""
    with _refusing(path):
        if path.is_file() and zipfile.is_zipfile(path):
            return read_npz(path)
        files = _files(path)
    if any(name.removesuffix(".gz") in IDX for name in files):
        return _read_idx(path, files)
    if files:
        return _read_cifar(path, files)
    raise InvalidDataError(f"{path} holds no data set that can be read: expected {ACCEPTED}")


def holds_data(path: Path) -> bool:
    """Tell whether a path is a file, or a folder with a file that read_arrays would read."""
    return path.is_file() or any((path / name).is_file() for name in FILES)


def read_npz(path: Path) -> dict[str, Array]:
    """Read the arrays of an .npz, none of them pickled. Raises InvalidDataError."""
    with _refusing(path), np.load(path, allow_pickle=False) as archive:
        if missing := [name for name in ARRAYS if name not in archive]:
            there = ", ".join(archive) or "nothing"
            raise InvalidDataError(
                f"{path} has no {', '.join(missing)}: it holds {there}; expected {', '.join(ARRAYS)}"
            )
        return {name: _read_member(path, archive, name) for name in ARRAYS}


def _read_member(path: Path, archive: Any, name: str) -> Array:
    with _refusing(f"{name} in {path}"):
        array: Array = archive[name]
        return array


def _files(path: Path) -> dict[str, bytes]:
    """Return name -> content of a known data set's files in a folder or tar archive."""
    if path.is_dir():
        return {name: (path / name).read_bytes() for name in FILES if (path / name).is_file()}
    if not tarfile.is_tarfile(path):
        return {}
    with tarfile.open(path) as archive:
        members = ((Path(member.name).name, archive.extractfile(member)) for member in archive if member.isfile())
        return {name: stream.read() for name, stream in members if stream and name in FILES}


def _read_idx(path: Path, files: Mapping[str, bytes]) -> dict[str, Array]:
    present = [name if name in files else f"{name}.gz" for name in IDX]
    _require(path, present, files)
    arrays = {}
    for array, name in zip(ARRAYS, present, strict=True):
        with _refusing(path / name):
            arrays[array] = _parse_idx(files[name])
    return arrays


def _parse_idx(content: bytes) -> Array:
    """Parse two zero bytes, a type, the number of axes, their lengths, and values, all big-endian."""
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    zeros, kind, axes = struct.unpack_from(">HBB", content)
    if zeros or kind not in IDX_TYPES:
        raise ValueError(f"it begins with {content[:4].hex()}, an IDX file of bytes with 000008")
    shape = struct.unpack_from(f">{axes}I", content, 4)
    start, dtype = 4 + 4 * axes, np.dtype(IDX_TYPES[kind])
    if len(content) != (expected := start + math.prod(shape) * dtype.itemsize):
        raise ValueError(f"it has {len(content):,} bytes, but {expected:,} by its header")
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


def _read_cifar(path: Path, files: Mapping[str, bytes]) -> dict[str, Array]:
    """Return images as (samples, 32, 32, 3), as Keras does."""
    binary = any(name.endswith(".bin") for name in files)
    names = [f"{name}.bin" for name in CIFAR] if binary else CIFAR
    _require(path, names, files)
    batches = []
    for name in names:
        with _refusing(path / name):
            pixels, labels = (_parse_binary if binary else _parse_pickled)(files[name])
            if len(pixels) != len(labels) or labels.max(initial=0) >= CIFAR_CLASSES:
                found = f"{len(pixels):,} images and {len(labels):,} labels up to {labels.max(initial=0)}"
                raise ValueError(f"it has {found}, a batch of CIFAR-10 as many of both, labels from 0 to 9")
            batches.append((pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels))
    *train, (x_test, y_test) = batches
    x_train, y_train = map(np.concatenate, zip(*train, strict=True))
    return dict(zip(ARRAYS, (x_train, y_train, x_test, y_test), strict=True))


def _parse_binary(content: bytes) -> tuple[Array, Array]:
    """Parse records of a label and the pixels."""
    if len(content) % (1 + CIFAR_PIXELS):
        raise ValueError(f"it has {len(content):,} bytes, not a multiple of {1 + CIFAR_PIXELS:,}")
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + CIFAR_PIXELS)
    return records[:, 1:], records[:, 0]


def _parse_pickled(content: bytes) -> tuple[Array, Array]:
    """Parse a dictionary with an array `data` and a list `labels`, as Python 2 pickled it."""
    batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    _, shape, _, fortran, pixels = batch[b"data"].state
    if math.prod(shape) != len(pixels):
        raise ValueError("its data are not bytes")
    pixels = np.frombuffer(pixels, np.uint8).reshape(shape, order="F" if fortran else "C")
    return pixels.reshape(-1, CIFAR_PIXELS), np.array(batch[b"labels"], np.uint8)


class _Stored:
    """Stand in for a NumPy array or type in a pickle: keep its state, so that not even NumPy's code runs."""

    def __init__(self, *_: object) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle._Unpickler):  # the one in C allocates memory by a number in the file: damage could take it all
    """Read numbers, text, containers and NumPy arrays; refuse every other class and function by name."""

    def find_class(self, module: str, name: str) -> type[_Stored]:
        if (module, name) not in CIFAR_GLOBALS:
            raise ValueError(f"it names {module}.{name}, which no batch of CIFAR-10 does")
        return _Stored


def _require(path: Path, names: Sequence[str], files: Mapping[str, bytes]) -> None:
    if missing := [name for name in names if name not in files]:
        raise InvalidDataError(f"{path} has no {', '.join(missing)}; expected {', '.join(names)}")


@contextmanager
def _refusing(what: object) -> Iterator[None]:
    """Make one sentence of whatever damaged bytes raise: the parsers have a dozen kinds of errors."""
    try:
        yield
    except InvalidDataError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InvalidDataError(f"{what} cannot be read: {' '.join(reason.split())}") from error
