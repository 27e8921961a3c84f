"""Write arrays as the public data sets are written."""

import gzip
import io
import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.datasets import Data
from trainer.formats import CIFAR, IDX


def put_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def digits(train: int = 20, test: int = 10) -> Data:
    """Return random images of 4 x 6 grey pixels."""
    return _random(train, test, (4, 6))


def colour_images(train: int = 20, test: int = 4) -> Data:
    """Return random images as CIFAR-10 has them."""
    return _random(train, test, (32, 32, 3))


def _random(train: int, test: int, shape: tuple[int, ...]) -> Data:
    random = np.random.default_rng(1)
    x_train, x_test = (random.integers(0, 256, (count, *shape), np.uint8) for count in (train, test))
    y_train, y_test = (np.arange(count, dtype=np.uint8) % 10 for count in (train, test))
    return Data(x_train, y_train, x_test, y_test)


def npz_file(data: Data, **changed: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **vars(data) | changed)
    return stream.getvalue()


def idx_files(data: Data, compressed: bool = False) -> dict[str, bytes]:
    """Return MNIST's four files."""
    contents = (_idx(array) for array in vars(data).values())
    if compressed:
        return {f"{name}.gz": gzip.compress(content) for name, content in zip(IDX, contents, strict=True)}
    return dict(zip(IDX, contents, strict=True))


def _idx(array: NDArray[Any]) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def cifar_files(data: Data, binary: bool = False) -> dict[str, bytes]:
    """Return the six batches of CIFAR-10's binary version, or of that for Python."""
    batches = {}
    for number, name in enumerate(CIFAR):
        images, labels = (data.x_test, data.y_test) if name == "test_batch" else _fifth(data, number)
        pixels = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        if binary:
            batches[f"{name}.bin"] = np.column_stack([labels, pixels]).tobytes()
        else:
            batches[name] = _pickled_by_python_2(pixels, labels)
    return batches


def _fifth(data: Data, number: int) -> tuple[NDArray[Any], NDArray[Any]]:
    return np.split(data.x_train, 5)[number], np.split(data.y_train, 5)[number]


def _pickled_by_python_2(pixels: NDArray[Any], labels: NDArray[Any]) -> bytes:
    """Return a batch opcode by opcode: Python 3 has no way to pickle the byte strings that Python 2 wrote."""
    content = pixels.tobytes()
    return b"".join(
        [
            b"\x80\x02}q\x01(",
            b"U\x0bbatch_labelq\x02U\x15training batch 1 of 5q\x03",
            b"U\x06labelsq\x04]q\x05(",
            *(b"K" + bytes([label]) for label in labels.tolist()),
            b"e",
            b"U\x04dataq\x06",
            b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\x09U\x01bq\x0a\x87Rq\x0b",
            b"(K\x01M" + struct.pack("<H", len(pixels)) + b"M\x00\x0c\x86q\x0c",
            b"cnumpy\ndtype\nq\x0dU\x02u1K\x00K\x01\x87Rq\x0e(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
            b"\x89T" + struct.pack("<i", len(content)) + content + b"tb",
            b"u.",
        ]
    )


def tar_file(files: Mapping[str, bytes], folder: str, mode: Any = "w:gz") -> bytes:
    """Return an archive with the files in a folder, as the sets are downloaded."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()
