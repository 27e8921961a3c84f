"""MNIST: whole, or an error that names the file and both hashes."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from trainer import data
from trainer.__main__ import MNIST, main
from trainer.formats import InvalidDataError
from trainer.workloads.facts import InvalidWorkloadError


def test_the_archive_in_the_repository_is_mnist() -> None:
    mnist = data.load(MNIST)

    assert mnist.x_train.shape == (60_000, 28, 28, 1)
    assert mnist.x_test.shape == (10_000, 28, 28, 1)
    assert mnist.x_train.dtype == np.uint8
    assert (mnist.x_train.min(), mnist.x_train.max()) == (0, 255)
    assert sorted(set(mnist.y_train.tolist())) == sorted(set(mnist.y_test.tolist())) == list(range(10))


@pytest.mark.parametrize("content", [b"", b"not an archive"])
def test_a_damaged_archive_is_an_error_that_names_file_expected_and_actual_hash(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mnist.npz"
    file.write_bytes(content)

    with pytest.raises(data.DamagedDataError) as error:
        data.load(file)

    expected, actual = data.SHA256, hashlib.sha256(content).hexdigest()
    assert str(error.value) == f"MNIST at {file} is damaged: expected SHA-256 {expected}, got {actual}"


def test_a_missing_archive_is_an_error_that_names_file_and_expected_hash(tmp_path: Path) -> None:
    with pytest.raises(
        data.DamagedDataError, match=f"No such file or directory; expected a file with SHA-256 {data.SHA256}"
    ):
        data.load(tmp_path / "mnist.npz")
    with pytest.raises(data.DamagedDataError, match="Is a directory"):
        data.load(tmp_path)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (data.DamagedDataError("MNIST at /gone: no such file"), 3),
        (InvalidWorkloadError("absent.py: there is no such file"), 2),
        (InvalidDataError("x_train holds NaN"), 2),
    ],
)
def test_the_trainer_ends_with_the_sentence_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("trainer.__main__.run", refuse)

    assert main(["--workers", "0"]) == code
    assert capsys.readouterr().err == f"trainer: {error}\n"
