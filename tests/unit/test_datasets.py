"""The arrays of a training: found by name or path, checked, named by their content."""

import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.data_files import cifar_files, colour_images, digits, idx_files, npz_file, put_files, tar_file
from trainer.datasets import SHIPPED, Data, InvalidDataError, check, digest, load_prepared, read, save

DATA, COLOUR = digits(), colour_images()
README = (SHIPPED / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras' cache, empty."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "datasets"


def test_a_path_is_relative_to_the_folder_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "mine.npz").write_bytes(npz_file(DATA))

    assert digest(read("mine.npz", tmp_path)) == digest(read(tmp_path / "mine.npz")) == digest(DATA)


@pytest.mark.parametrize(
    "place", ["cifar-10-batches-py-target/cifar-10-batches-py", "cifar-10-batches-py", "cifar-10-batches-bin"]
)
def test_cifar_10_is_found_where_keras_extracts_it(cache: Path, place: str) -> None:
    put_files(cache / place, cifar_files(COLOUR, binary=place.endswith("bin")))

    assert digest(read("cifar10")) == digest(COLOUR)


def test_cifar_10_is_found_in_the_archive_that_keras_keeps(cache: Path) -> None:
    archive = tar_file(cifar_files(COLOUR), "cifar-10-batches-py")
    put_files(cache, {"cifar-10-batches-py-target_archive": archive})

    assert digest(read("cifar10")) == digest(COLOUR)


def test_a_folder_that_is_given_comes_before_keras_cache(cache: Path, tmp_path: Path) -> None:
    other = digits(train=30)
    put_files(cache / "fashion-mnist", idx_files(DATA, compressed=True))
    folder = put_files(tmp_path / "own", idx_files(other))

    assert digest(read("fashion-mnist")) == digest(DATA)
    assert digest(read("fashion-mnist", folder)) == digest(other)
    assert digest(read("fashion-mnist", tmp_path)) == digest(DATA)


def test_a_set_that_is_missing_is_refused_with_the_places_and_the_commands(cache: Path) -> None:
    with pytest.raises(InvalidDataError) as refused:
        read("cifar10")

    assert str(refused.value).startswith(
        f"cifar10 is in none of {cache}/cifar-10-batches-py-target/cifar-10-batches-py,"
    )
    assert str(refused.value).endswith(
        ". Bring it with `python -c 'import keras; keras.datasets.cifar10.load_data()'`, or give its path with --data"
    )


def test_a_path_that_does_not_exist_is_refused_with_the_names_that_do(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidDataError, match=r"^cifra10 does not exist: expected a file, a folder or one of mnist, dig"
    ):
        read("cifra10")
    with pytest.raises(InvalidDataError, match=r"absent does not exist: expected a file or folder with the data"):
        read("cifar10", tmp_path / "absent")


def test_the_digits_are_made_from_mnist_by_the_command_beside_them(tmp_path: Path) -> None:
    (tmp_path / "image" / "data").mkdir(parents=True)
    (tmp_path / "image" / "data" / "mnist.npz").symlink_to(SHIPPED / "mnist.npz")
    (command,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    subprocess.run([sys.executable, "-c", command], cwd=tmp_path, check=True)

    digits = read("digits")

    assert digest(read(tmp_path / "image/data/digits.npz")) == digest(digits)
    assert (digits.x_train.shape, digits.x_test.shape) == ((5000, 8, 8), (1000, 8, 8))
    assert digits.x_train.dtype == np.uint8


def test_the_page_beside_the_data_has_the_hash_of_each_file() -> None:
    for name in ("mnist.npz", "digits.npz"):
        assert f"`{name}`:** `{hashlib.sha256((SHIPPED / name).read_bytes()).hexdigest()}`" in README


def test_labels_of_any_integer_type_and_with_an_axis_of_one_become_one_type() -> None:
    checked = check(replace(DATA, y_train=DATA.y_train.reshape(-1, 1).astype(">i8"), y_test=DATA.y_test.astype(float)))

    assert checked.y_train.shape == (20,)
    assert checked.y_train.dtype == checked.y_test.dtype == np.int32
    assert digest(checked) == digest(check(DATA))


def test_arrays_become_contiguous_and_native() -> None:
    checked = check(replace(DATA, x_train=DATA.x_train.astype(">f4")[:, ::-1], x_test=DATA.x_test.astype("f4")))

    assert checked.x_train.flags.c_contiguous
    assert checked.x_train.dtype.isnative


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"x_train": [1, 2]}, "x_train is of type list: expected a NumPy array"),
    ({"x_train": DATA.x_train.astype(object)}, "x_train has the dtype object: expected booleans, integers or floats"),
    ({"x_test": DATA.x_test.astype(complex)}, "x_test has the dtype complex128"),
    ({"y_test": DATA.y_test.astype(str)}, "y_test has the dtype <U3"),
    ({"x_test": DATA.x_test[:0]}, "x_test has the shape (0, 4, 6): expected at least one sample"),
    ({"x_train": DATA.x_train[:, :0]}, "x_train has the shape (20, 0, 6)"),
    ({"y_test": np.array(3)}, "y_test has the shape (): expected at least one sample"),
    ({"x_train": np.full((20, 4, 6), np.nan)}, "x_train holds NaN or infinity: expected finite numbers"),
    ({"y_test": np.full(10, np.inf)}, "y_test holds NaN or infinity"),
    ({"y_train": DATA.y_train[1:]}, "x_train has 20 samples and y_train has 19: expected as many of both"),
    (
        {"x_test": DATA.x_test[:, 1:]},
        "a sample of x_train is uint8 (4, 6) and of x_test uint8 (3, 6): expected the same",
    ),
    ({"x_test": DATA.x_test / 255}, "a sample of x_train is uint8 (4, 6) and of x_test float64 (4, 6)"),
    (
        {"y_train": DATA.y_train - 1.0},
        "y_train holds -1.0: the default loss takes one whole number from 0 a sample; def",
    ),
    ({"y_test": DATA.y_test + 0.5}, "y_test holds 0.5: the default loss takes one whole number"),
    ({"y_test": DATA.y_test.astype(int) + 2**32}, "y_test holds 4294967296: "),
    ({"y_train": np.eye(20)}, "y_train has the shape (20, 20): the default loss takes one whole number"),
]


@pytest.mark.parametrize(("changed", "sentence"), WRONG)
def test_arrays_that_cannot_be_trained_on_are_refused_in_one_sentence(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidDataError, match=r"^[^\n]+$") as refused:
        check(replace(DATA, **changed))

    assert str(refused.value).startswith(sentence)


def test_anything_but_data_is_refused() -> None:
    with pytest.raises(InvalidDataError, match=r"^data\(\) returned tuple: expected Data\(x_train, y_train, x_test, y"):
        check((DATA.x_train, DATA.y_train))


def test_a_loss_of_its_own_may_have_any_numbers_as_labels() -> None:
    data = replace(DATA, y_train=np.full((20, 3), -0.5), y_test=np.full((10, 3), 2.5))

    assert digest(check(data, class_labels=False)) == digest(data)


def test_the_digest_is_of_names_types_shapes_and_bytes() -> None:
    others = [
        replace(DATA, x_train=DATA.x_train.reshape(20, 24)),
        replace(DATA, x_train=DATA.x_train.view(np.int8)),
        replace(DATA, x_train=DATA.x_train[::-1]),
        Data(DATA.x_test, DATA.y_test, DATA.x_train, DATA.y_train),
    ]

    assert len({digest(data) for data in (DATA, *others)}) == 5


def test_what_was_prepared_is_read_back(tmp_path: Path) -> None:
    save(DATA, tmp_path / "data.npz")

    assert digest(load_prepared(tmp_path / "data.npz")) == digest(DATA)
    with pytest.raises(InvalidDataError, match=r"absent.npz cannot be read: No such file or directory"):
        load_prepared(tmp_path / "absent.npz")
