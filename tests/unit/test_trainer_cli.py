"""The trainer's command line, and what it imports for which side."""

import subprocess
import sys
from pathlib import Path

import pytest

from trainer.__main__ import MNIST, _without, parse

IMAGE = Path(__file__).parents[2] / "image"


def run(code: str, libraries: Path = IMAGE) -> None:
    """Run Python code in a process of its own that finds the trainer, and before it what lies in `libraries`.

    Its own assertions fail the test: a failure ends the process with a code, which is an error here.
    """
    environ = {"PYTHONPATH": f"{libraries}:{IMAGE}"}
    subprocess.run([sys.executable, "-c", code], env=environ, cwd=libraries, check=True, timeout=30)


def test_the_defaults_are_those_of_the_suite() -> None:
    options = parse(["--workers", "0"])

    assert (options.epochs, options.batch_size, options.seed, options.cpus, options.copies) == (3, 128, 1, 1, 1)
    assert (options.collective, options.ray_train, options.probe) == ("auto", "shipped", False)
    assert options.data == str(MNIST)
    assert MNIST.is_file()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("", "the following arguments are required: --workers"),
        ("--workers -1", "--batch-size 128 cannot be divided among --workers -1"),
        ("--workers 3", "--batch-size 128 cannot be divided among --workers 3"),
        ("--workers 2 --batch-size 0", "--batch-size 0 cannot be divided among --workers 2"),
        ("--workers two", "argument --workers: invalid int value: 'two'"),
        ("--workers 0 --epochs 0", "--epochs, --cpus and --copies start at 1"),
        ("--workers 0 --cpus 0", "--epochs, --cpus and --copies start at 1"),
        ("--workers 0 --copies 0", "--epochs, --cpus and --copies start at 1"),
        ("--workers 2 --cores 0,1", "--cores is for one process alone"),
        ("--workers 0 --copies 2 --cores 0,1", "--cores is for one process alone"),
        ("--workers 0 --cores zero", "argument --cores: invalid"),
        ("--workers 2 --copies 2", "--copies needs --workers 0"),
        ("--workers 2 --collective telepathy", "argument --collective: invalid choice: 'telepathy'"),
        ("--workers 2 --ray-train fast", "argument --ray-train: invalid choice: 'fast'"),
        ("--workers 2 --slowdown 1.5", "--slowdown is a share from 0 to 1, of workers alone"),
        ("--workers 0 --slowdown 0.15", "a baseline is never slowed down"),
        ("--workers 2 --timing-updates -1", "--timing-updates and --probe-samples start at 0"),
        ("--workers 2 --probe-samples 256", "a probe has no more than --batch-size"),
        ("--workers 4 --probe-samples 6", "--probe-samples 6 cannot be divided among --workers 4"),
        ("--workers 2 --fast", "unrecognized arguments: --fast"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(arguments.split())

    assert end.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["--workers", "0", "--copies", "2", "--probe"], ["--workers", "0", "--probe"]),
        (["--copies=2", "--workers=0"], ["--workers=0"]),
        (["--workers", "0", "--copies", "2"], ["--workers", "0"]),
        (["--data", "a --copies b"], ["--data", "a --copies b"]),
        ([], []),
    ],
)
def test_each_copy_gets_the_command_line_without_the_number_of_copies(arguments: list[str], kept: list[str]) -> None:
    assert _without(arguments, "--copies") == kept


def test_the_command_line_alone_imports_neither_tensorflow_nor_ray() -> None:
    code = "import sys, trainer.__main__; sys.exit(bool({'tensorflow', 'ray', 'keras'} & set(sys.modules)))"

    run(code)


def test_the_stand_in_for_tensorflow_gives_way_to_the_real_one() -> None:
    code = (
        "import sys\n"
        "from trainer import deferred\n"
        "deferred.defer()\n"
        "import tensorflow as tf\n"
        "assert tf.keras.Model and tf.data.Dataset and 'keras' not in sys.modules\n"
        "deferred.restore()\n"
        "assert 'tensorflow' not in sys.modules\n"
        "sys.modules['tensorflow'] = real = object()\n"
        "deferred.defer(); deferred.restore()\n"
        "assert sys.modules['tensorflow'] is real\n"
    )

    run(code)


def test_ray_train_as_it_ships_has_the_real_ray_data_and_pandas(tmp_path: Path) -> None:
    (tmp_path / "ray" / "data").mkdir(parents=True)
    (tmp_path / "ray" / "__init__.py").touch()
    (tmp_path / "ray" / "data" / "__init__.py").write_text("Dataset = 'real'\n")
    (tmp_path / "pandas.py").write_text("DataFrame = 'real'\n")
    code = (
        "import sys\n"
        "from trainer import deferred, ray_private\n"
        "deferred.defer()\n"
        "assert not {'pandas', 'ray.data'} & set(sys.modules)\n"
        "import pandas, ray.data\n"
        "assert ray.data.Dataset == sys.modules['pandas'].DataFrame == 'real'\n"
    )

    run(code, tmp_path)


def test_trimmed_it_has_classes_that_do_nothing_in_the_place_of_ray_datas(tmp_path: Path) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").touch()
    code = (
        "import sys\n"
        "from trainer import ray_private\n"
        "ray_private.trim_imports()\n"
        "ray_private.trim_imports()\n"
        "assert len([finder for finder in sys.meta_path if type(finder).__module__ == 'trainer.ray_private']) == 1\n"
        "import ray.data\n"
        "from ray.data import Dataset\n"
        "from ray.data._internal.execution import interfaces, context\n"
        "from ray.data.context import DataContext\n"
        "assert not isinstance(3, Dataset) and Dataset is ray.data.Dataset\n"
        "assert DataContext.get_current() is None\n"
        "assert DataContext.__name__ == 'DataContext' and DataContext.__module__ == 'ray.data.context'\n"
    )

    run(code, tmp_path)


def test_whoever_uses_pandas_after_all_gets_the_real_one(tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text("DataFrame = 'real'\n")
    code = (
        "import sys\n"
        "from trainer import ray_private\n"
        "ray_private.trim_imports()\n"
        "import pandas\n"
        "assert pandas.DataFrame == 'real' and sys.modules['pandas'] is not pandas\n"
    )

    run(code, tmp_path)


def test_tensorflow_is_imported_without_keras_which_can_be_imported_later(tmp_path: Path) -> None:
    (tmp_path / "keras.py").touch()
    (tmp_path / "tensorflow.py").write_text("try:\n    import keras\nexcept ImportError:\n    alone = True\n")
    code = "from trainer import deferred; deferred.import_tensorflow(); import tensorflow, keras; tensorflow.alone"

    run(code, tmp_path)


def test_keras_is_the_same_in_rays_workers_which_ask_for_keras_2(tmp_path: Path) -> None:
    (tmp_path / "keras.py").touch()
    (tmp_path / "tensorflow.py").write_text("import os\nasked = os.environ.get('TF_USE_LEGACY_KERAS')\n")
    code = (
        "import os; os.environ |= {'TF_USE_LEGACY_KERAS': '1', 'KERAS_BACKEND': 'jax'}\n"
        "from trainer import deferred; deferred.import_tensorflow(); import tensorflow\n"
        "assert tensorflow.asked is None and os.environ['KERAS_BACKEND'] == 'tensorflow'"
    )

    run(code, tmp_path)
