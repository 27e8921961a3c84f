"""What a user's file says before anything of it runs."""

from pathlib import Path

import pytest

from tests.unit.test_trainer_cli import run
from trainer.workloads.facts import (
    BUILT_IN,
    CNN_MNIST,
    InvalidWorkloadError,
    constants,
    group_size,
    is_built_in,
    workload_file,
)
from trainer.workloads.prepare import Asked, explain, require_divisible


def written(folder: Path, text: str) -> Path:
    file = folder / "my_net.py"
    file.write_text(text)
    return file


def test_a_files_constants_are_read_without_running_it(tmp_path: Path) -> None:
    file = written(
        tmp_path, "EPOCHS = 3\nBATCH_SIZE: int = 64\nTARGET = 0.9\nBATCH_NORM = 'groups:32'\nraise SystemExit"
    )

    assert constants(file) == {"EPOCHS": 3, "BATCH_SIZE": 64, "TARGET": 0.9, "BATCH_NORM": "groups:32"}


def test_constants_may_be_set_on_one_line(tmp_path: Path) -> None:
    file = written(tmp_path, "EPOCHS, BATCH_SIZE, TARGET = 3, 128, 0.60\nwidth, *others = 2, 3, 4")

    assert constants(file) == {"EPOCHS": 3, "BATCH_SIZE": 128, "TARGET": 0.6}


def test_a_file_needs_no_constants_and_has_others_of_its_own(tmp_path: Path) -> None:
    assert constants(written(tmp_path, "WIDTH = 2 ** 7\nEPOCHS_DONE = None\ndef model(seed): EPOCHS = 1\n")) == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("EPOCHS = 0", "my_net.py: EPOCHS = 0; expected a whole number from 1"),
        ("EPOCHS = True", "EPOCHS = True; expected a whole number"),
        ("BATCH_SIZE = 2 ** 7", "BATCH_SIZE is computed; expected a whole number from 1, written out"),
        ("TARGET = 'high'", "TARGET = 'high'; expected a number"),
        ("BATCH_NORM = 'groups:0'", "expected 'groups:N', statistics over N samples"),
        ("BATCH_NORM = 'global'", "expected 'groups:N'"),
        ("EPOCHS =", "my_net.py is not Python: invalid syntax"),
        ("import tensorflow as tf\nx = tf.keras.Model", "my_net.py, line 2: tf.keras is not the same in Ray's workers"),
        ("from tensorflow import keras", "line 1: tf.keras"),
        ("from tensorflow.keras.layers import Dense", "line 1: tf.keras"),
        ("import tensorflow.keras as keras", "line 1: tf.keras"),
        ("import tf_keras", "line 1: tf.keras"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_sentence(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InvalidWorkloadError, match=r"^[^\n]+$") as refused:
        constants(written(tmp_path, text))

    assert complaint in str(refused.value)


def test_keras_itself_and_attributes_of_that_name_are_fine(tmp_path: Path) -> None:
    assert constants(written(tmp_path, "import keras\nfrom keras import layers\nself.keras = layers")) == {}


def test_a_workload_is_a_name_or_a_file(tmp_path: Path) -> None:
    file = written(tmp_path, "")

    assert workload_file(str(file)) == file
    assert workload_file("cnn-mnist") is None
    assert is_built_in("cnn-mnist")
    with pytest.raises(InvalidWorkloadError, match=r"'cnn-mnits': expected a file such as my_net.py, or cnn-mnist, "):
        workload_file("cnn-mnits")
    with pytest.raises(InvalidWorkloadError, match=r"absent.py: there is no such file"):
        workload_file("absent.py")


def test_the_default_is_known_without_a_process() -> None:
    assert BUILT_IN["cnn-mnist"].file == ""
    assert sum(CNN_MNIST.sizes) == 225_034
    assert CNN_MNIST.arguments == ()
    assert group_size("groups:64") == 64


def test_the_facts_need_the_standard_library_alone() -> None:
    code = (
        "import sys, trainer.workloads.facts\n"
        "sys.exit(bool({'tensorflow', 'numpy', 'ray', 'keras'} & set(sys.modules)))"
    )
    run(code)


@pytest.mark.parametrize(
    ("workers", "text", "rule"),
    [
        ((2, 4), "", "groups:24"),
        ((2, 3), "", "groups:16"),
        ((1,), "", "groups:96"),
        ((2,), "BATCH_NORM = 'groups:8'", "groups:8"),
    ],
)
def test_every_share_has_whole_groups(tmp_path: Path, workers: tuple[int, ...], text: str, rule: str) -> None:
    file = written(tmp_path, text)

    assert require_divisible(Asked(str(file), "", workers, 96, 1, tmp_path), file, samples=96) == rule


def test_an_error_in_a_users_file_is_one_sentence_with_its_line(tmp_path: Path) -> None:
    file = written(tmp_path, "\n\nraise ValueError('first\\nsecond')")

    with pytest.raises(ValueError, match="first") as raised:
        exec(compile(file.read_text(), str(file), "exec"))

    assert explain(raised.value, str(file)) == "my_net.py, line 3: ValueError: first"
    assert explain(ValueError("of Keras"), str(file)) == "my_net.py: ValueError: of Keras"
    assert explain(ValueError("ours"), "cnn-fashion-mnist") == ""
