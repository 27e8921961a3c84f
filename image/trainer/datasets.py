"""The arrays of a training: find them by name or path, check them, name their content, keep them. No network."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.formats import InvalidDataError, holds_data, read_arrays, read_npz

__all__ = ["Data", "InvalidDataError", "check", "digest", "load_prepared", "read", "save"]

SHIPPED = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class Data:
    """What is trained and tested on; sample i of x belongs to sample i of y.

    Attributes:
        x_train, x_test: (samples, ...), numbers of any type, such as pixels 0 to 255.
        y_train, y_test: (samples, ...); for the default loss the number of the class.
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]


@dataclass(frozen=True)
class KnownDataSet:
    """Where a data set may lie, the first place first, and how it gets there."""

    keras: tuple[str, ...] = ()  # below "datasets" in Keras' cache, or in a folder that is given
    elsewhere: tuple[Path, ...] = ()
    remedy: str = "Restore it with git"


KNOWN = {
    "mnist": KnownDataSet(elsewhere=(SHIPPED / "mnist.npz",)),
    "digits": KnownDataSet(elsewhere=(SHIPPED / "digits.npz",)),
    "fashion-mnist": KnownDataSet(
        ("fashion-mnist",),
        (Path("/usr/share/datasets/fashion-mnist"),),
        "Bring it with `apt-get install dataset-fashion-mnist` (Debian, Ubuntu) "
        "or `python -c 'import keras; keras.datasets.fashion_mnist.load_data()'`",
    ),
    "cifar10": KnownDataSet(
        (  # Keras 3 extracts to the first and keeps the archive beside it; Keras 2 to the third
            "cifar-10-batches-py-target/cifar-10-batches-py",
            "cifar-10-batches-py-target_archive",
            "cifar-10-batches-py",
            "cifar-10-batches-py.tar.gz",
            "cifar-10-batches-bin",
        ),
        remedy="Bring it with `python -c 'import keras; keras.datasets.cifar10.load_data()'`",
    ),
}


def read(name_or_path: str | Path, folder: Path | None = None) -> Data:
    """Read a known data set, from `folder` if it is there, or a file or folder by its path, relative to `folder`.

    Raises InvalidDataError, with the commands that bring a known data set where it is missing.
    """
    if folder is not None and not folder.exists():
        raise InvalidDataError(f"{folder} does not exist: expected a file or folder with the data")
    known = KNOWN.get(str(name_or_path))
    if known is None:
        path = (folder or Path()) / Path(name_or_path).expanduser()
        if not path.exists():
            raise InvalidDataError(f"{path} does not exist: expected a file, a folder or one of {', '.join(KNOWN)}")
        return Data(**read_arrays(path))
    places = list(_places(known, folder))
    for place in places:
        if holds_data(place):
            return Data(**read_arrays(place))
    where = ", ".join(map(str, places))
    raise InvalidDataError(f"{name_or_path} is in none of {where}. {known.remedy}, or give its path with --data")


def _places(known: KnownDataSet, folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        yield from (folder / name for name in known.keras)
    cache = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets"
    yield from (cache / name for name in known.keras)
    yield from known.elsewhere


def check(data: object, class_labels: bool = True) -> Data:
    """Return the arrays as every process will see them; with `class_labels`, y as (samples,) whole numbers from 0.

    Raises InvalidDataError for whatever cannot be trained on.
    """
    if not isinstance(data, Data):
        raise InvalidDataError(
            f"data() returned {type(data).__name__}: expected Data(x_train, y_train, x_test, y_test)"
        )
    arrays = {name: _as_numbers(name, array) for name, array in vars(data).items()}
    if class_labels:
        arrays |= {name: _as_classes(name, arrays[name]) for name in ("y_train", "y_test")}
    for x, y in (("x_train", "y_train"), ("x_test", "y_test")):
        if len(arrays[x]) != len(arrays[y]):
            counts = f"{len(arrays[x]):,} samples and {y} has {len(arrays[y]):,}"
            raise InvalidDataError(f"{x} has {counts}: expected as many of both")
    for train, test in (("x_train", "x_test"), ("y_train", "y_test")):
        samples = [f"{arrays[name].dtype} {arrays[name].shape[1:]}" for name in (train, test)]
        if samples[0] != samples[1]:
            raise InvalidDataError(f"a sample of {train} is {samples[0]} and of {test} {samples[1]}: expected the same")
    return Data(**arrays)


def _as_numbers(name: str, array: object) -> NDArray[Any]:
    """Return an array of finite numbers in the byte order of this machine, without gaps."""
    if not isinstance(array, np.ndarray):
        raise InvalidDataError(f"{name} is of type {type(array).__name__}: expected a NumPy array")
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise InvalidDataError(
            f"{name} has the dtype {array.dtype}: expected booleans, integers or floats of up to 64 bit"
        )
    if array.size == 0 or array.ndim == 0:
        raise InvalidDataError(f"{name} has the shape {array.shape}: expected at least one sample, and numbers in it")
    if not np.isfinite(array).all():
        raise InvalidDataError(f"{name} holds NaN or infinity: expected finite numbers")
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def _as_classes(name: str, labels: NDArray[Any]) -> NDArray[np.int32]:
    expected = "the default loss takes one whole number from 0 a sample; define loss(labels, outputs) for others"
    if labels.size != len(labels):
        raise InvalidDataError(f"{name} has the shape {labels.shape}: {expected}")
    with np.errstate(invalid="ignore"):  # what does not fit differs afterwards
        classes = labels.ravel().astype(np.int32)
    if wrong := labels.ravel()[(classes != labels.ravel()) | (classes < 0)][:1].tolist():
        raise InvalidDataError(f"{name} holds {wrong[0]}: {expected}")
    return classes


def digest(data: Data) -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes of the arrays: the same for every file format."""
    sha = hashlib.sha256()
    for name, array in vars(data).items():
        sha.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def save(data: Data, file: Path) -> None:
    """Write the arrays, not compressed, so that each process reads them as fast as the disk does."""
    np.savez(file, **vars(data))


def load_prepared(file: Path) -> Data:
    """Read what `save` wrote. Raises InvalidDataError."""
    return Data(**read_npz(file))
