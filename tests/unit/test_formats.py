"""Arrays from files: the public formats as they are, and one sentence for everything else."""

import gzip
import pickle
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.data_files import cifar_files, colour_images, digits, idx_files, npz_file, put_files, tar_file
from trainer.datasets import Data, InvalidDataError, check
from trainer.formats import read_arrays

GREY, COLOUR = digits(), colour_images()
PYTHON, BINARY = cifar_files(COLOUR), cifar_files(COLOUR, binary=True)


def read(path: Path) -> dict[str, Any]:
    return {name: array.tolist() for name, array in read_arrays(path).items()}


def lists(data: Data) -> dict[str, Any]:
    return {name: array.tolist() for name, array in vars(data).items()}


@pytest.mark.parametrize("compressed", [False, True])
def test_idx_files_are_read_from_their_folder(tmp_path: Path, compressed: bool) -> None:
    assert read(put_files(tmp_path, idx_files(GREY, compressed))) == lists(GREY)


@pytest.mark.parametrize("files", [PYTHON, BINARY], ids=["pickled", "binary"])
def test_the_batches_of_cifar_10_are_read_from_their_folder_or_archive(tmp_path: Path, files: dict[str, bytes]) -> None:
    archive = tmp_path / "cifar-10-batches-py-target_archive"
    archive.write_bytes(tar_file(files, "cifar-10-batches-py"))

    assert read(put_files(tmp_path / "batches", files)) == lists(COLOUR)
    assert read(archive) == lists(COLOUR)


def test_the_pickles_of_these_tests_are_what_pickle_itself_reads() -> None:
    batch = pickle.loads(PYTHON["data_batch_1"], encoding="bytes")

    assert batch[b"data"].shape == (4, 3072)
    assert batch[b"labels"] == [0, 1, 2, 3]


def test_an_npz_may_have_any_name_and_more_arrays(tmp_path: Path) -> None:
    file = tmp_path / "mine.data"
    file.write_bytes(npz_file(GREY, extra=np.zeros(3)))

    assert read(file) == lists(GREY)


IDX_FILES, GZ_FILES = idx_files(GREY), idx_files(GREY, compressed=True)
PIXELS, LABELS = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "{path} holds no data set that can be read: expected an .npz with x_train, y_train,"),
        ({"notes.txt": b"x"}, "{path} holds no data set that can be read"),
        ({LABELS: IDX_FILES[LABELS]}, f"{{path}} has no {PIXELS}.gz, train-labels-idx1"),
        (IDX_FILES | {LABELS: b""}, f"{{path}}/{LABELS} cannot be read: unpack_from requires a buffer"),
        (IDX_FILES | {LABELS: b"\x89PNG"}, f"{{path}}/{LABELS} cannot be read: it begins with 89504e47, an IDX file"),
        (IDX_FILES | {PIXELS: IDX_FILES[PIXELS][:-1]}, "cannot be read: it has 495 bytes, but 496 by its header"),
        (IDX_FILES | {PIXELS: b"\0\0\x08\x03" + b"\xff" * 12}, "it has 16 bytes, but 79,228,162,458,924"),
        (GZ_FILES | {f"{PIXELS}.gz": GZ_FILES[f"{PIXELS}.gz"][:-9]}, "idx3-ubyte.gz cannot be read: Compressed"),
        (GZ_FILES | {f"{PIXELS}.gz": b"text"}, f"{PIXELS}.gz cannot be read: it begins with 74657874"),
        (BINARY | {"test_batch.bin": b"x" * 3074}, "test_batch.bin cannot be read: it has 3,074 bytes, not"),
        (BINARY | {"test_batch.bin": b"\x0a" * 3073}, "it has 1 images and 1 labels up to 10, a batch of CIFAR-10"),
        ({"test_batch": PYTHON["test_batch"]}, "{path} has no data_batch_1, data_batch_2, data_batch_3"),
        (PYTHON | {"test_batch": PYTHON["test_batch"][:-2]}, "{path}/test_batch cannot be read: "),
        (PYTHON | {"test_batch": pickle.dumps([1])}, "{path}/test_batch cannot be read: "),
        (PYTHON | {"test_batch": pickle.dumps(Path("x"))}, "it names pathlib.PosixPath, which no batch"),
        (PYTHON | {"test_batch": b"cos\nsystem\n(S'false'\ntR."}, "it names os.system, which no batch"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_one_sentence(tmp_path: Path, files: dict[str, bytes], sentence: str) -> None:
    folder = put_files(tmp_path / "data", files)

    with pytest.raises(InvalidDataError, match=r"^[^\n]+$") as refused:
        read_arrays(folder)

    assert sentence.format(path=folder) in str(refused.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "{path} holds no data set that can be read"),
        (b"text", "{path} holds no data set that can be read"),
        (gzip.compress(b"text"), "{path} holds no data set that can be read"),
        (npz_file(GREY)[:-30], "{path} holds no data set that can be read"),
        (tar_file({"a.txt": b"x"}, "a"), "{path} holds no data set that can be read"),
        (tar_file(PYTHON, "a")[:-3000], "{path} cannot be read: "),
        (tar_file(PYTHON | {"test_batch": b""}, "a"), "{path}/test_batch cannot be read: "),
        (npz_file(GREY, x_test=np.array([{}])), "x_test in {path} cannot be read: Object arrays cannot be loaded"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "data"
    file.write_bytes(content)

    with pytest.raises(InvalidDataError, match=r"^[^\n]+$") as refused:
        read_arrays(file)

    assert sentence.format(path=file) in str(refused.value)


def test_an_npz_without_an_array_says_what_it_holds_and_what_is_expected(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=GREY.x_train, x_train=GREY.x_train)

    with pytest.raises(InvalidDataError) as refused:
        read_arrays(tmp_path / "a.npz")

    file, expected = tmp_path / "a.npz", "expected x_train, y_train, x_test, y_test"
    assert str(refused.value) == f"{file} has no y_train, x_test, y_test: it holds images, x_train; {expected}"


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match=r"absent cannot be read: No such file or directory$"):
        read_arrays(tmp_path / "absent")
    looped = tmp_path / "looped"
    looped.symlink_to(looped)
    with pytest.raises(InvalidDataError, match=r"looped cannot be read: "):
        read_arrays(looped)


def test_a_pickle_that_would_run_a_command_runs_nothing(tmp_path: Path) -> None:
    class Command:
        def __reduce__(self) -> Any:
            return subprocess.check_call, (["touch", str(tmp_path / "ran")],)

    folder = put_files(tmp_path / "data", PYTHON | {"data_batch_3": pickle.dumps({b"data": Command()})})

    with pytest.raises(InvalidDataError, match=r"data_batch_3 cannot be read: it names subprocess.check_call"):
        read_arrays(folder)
    assert not (tmp_path / "ran").exists()


WHOLE = {
    "npz": {"data": npz_file(GREY)},
    "idx": IDX_FILES,
    "gz": GZ_FILES,
    "binary": BINARY,
    "pickled": PYTHON,
    "tar": {"data": tar_file(PYTHON, "a", "w")},
    "tar.gz": {"data": tar_file(BINARY, "a")},
}
DAMAGE = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=9), st.integers(0, 9)), min_size=1)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(WHOLE)), st.integers(0, 5), st.booleans(), DAMAGE)
def test_damaged_files_are_read_or_refused_and_nothing_else(
    kind: str, number: int, at_the_start: bool, damage: list[tuple[float, bytes, int]]
) -> None:
    files = dict(WHOLE[kind])
    name = sorted(files)[number % len(files)]
    content = bytearray(files[name])
    for place, inserted, removed in damage:
        start = int(place * min(len(content), 300 if at_the_start else len(content)))
        content[start : start + removed] = inserted
    files[name] = bytes(content)

    with tempfile.TemporaryDirectory() as folder:
        path = put_files(Path(folder), files)
        with suppress(InvalidDataError):
            check(Data(**read_arrays(path / "data" if "data" in files else path)))
