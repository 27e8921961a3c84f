"""--workload and --data: what is accepted, what is refused and how, and what a training's file sets by default."""

from pathlib import Path
from typing import Any

import pytest

from fixtures.errors import UsageError
from fixtures.settings.settings import Settings, build
from fixtures.settings.workload import from_root
from trainer.workloads.facts import BUILT_IN

NAMES = ", ".join(BUILT_IN)
EITHER = f"expected one of {NAMES}, or a Python file such as my_net.py"
NOTHING: dict[str, str] = {}
NET = "EPOCHS = 5\nBATCH_SIZE = 64\nTARGET = 0.6\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_net.py").write_text(NET)
    return tmp_path


def settings(environ: dict[str, str] = NOTHING, **values: Any) -> Settings:
    return build(values, environ)


def refusal(**values: Any) -> str:
    with pytest.raises(UsageError) as caught:
        settings(**values)
    return str(caught.value)


def test_cnn_mnist_is_trained_unless_another_is_named() -> None:
    assert settings().workload == "cnn-mnist"
    assert settings().min_accuracy == 0.98


def test_a_trainings_file_sets_defaults_that_everything_else_beats() -> None:
    own = settings(workload="my_net.py")
    given = settings({"BATCH_SIZE": "256"}, workload="my_net.py", min_accuracy="0.7", quick=True)

    assert (own.epochs, own.batch_size, own.min_accuracy) == (5, 64, 0.6)
    assert (given.epochs, given.batch_size, given.min_accuracy) == (2, 256, 0.7)


def test_a_target_is_asked_for_after_as_many_epochs_as_the_file_says(folder: Path) -> None:
    (folder / "my_net.py").write_text(NET)

    assert settings(workload="my_net.py", quick=True).min_accuracy == 0
    assert settings(workload="my_net.py", epochs="4").min_accuracy == 0
    assert settings(workload="my_net.py", epochs="5").min_accuracy == 0.6
    assert settings(workload="my_net.py", quick=True, min_accuracy="0.5").min_accuracy == 0.5
    assert settings(quick=True).min_accuracy == 0.98


def test_a_training_without_a_target_is_asked_for_no_accuracy(folder: Path) -> None:
    (folder / "my_net.py").write_text("")

    assert settings(workload="my_net.py").min_accuracy == 0
    assert settings(workload="cnn-fashion-mnist").min_accuracy == 0


def test_a_refusal_of_a_files_constant_names_the_file(folder: Path) -> None:
    (folder / "my_net.py").write_text("BATCH_SIZE = 63\n")

    assert refusal(workload="my_net.py").startswith("--batch-size='63' (my_net.py): expected a batch that 2 workers")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cnn-minst", f"--workload='cnn-minst': {EITHER} (did you mean cnn-mnist?)."),
        ("", f"--workload='': {EITHER}."),
        (
            "my_met.py",
            f"--workload='my_met.py': {EITHER}, not 'my_met.py', which does not exist (did you mean my_net.py?).",
        ),
        ("code.py", f"--workload='code.py': {EITHER}, not 'code.py', which is a folder."),
    ],
)
def test_what_is_no_training_is_refused_with_what_is(folder: Path, text: str, message: str) -> None:
    (folder / "code.py").mkdir()

    assert refusal(workload=text) == message


@pytest.mark.parametrize("content", ["def model(:\n", "EPOCHS = 2 + n\n", "import tensorflow as tf\ntf.keras\n"])
def test_a_file_that_cannot_be_used_is_refused_without_running_it(folder: Path, content: str) -> None:
    (folder / "my_net.py").write_text(content)

    message = refusal(workload="my_net.py")

    assert message.startswith("my_net.py")
    assert message.endswith("(see TROUBLESHOOTING: workload-refused)")


def test_data_are_a_known_name_or_a_path_that_exists(folder: Path) -> None:
    (folder / "x.npz").touch()

    assert settings(workload="my_net.py", data="x.npz").data == "x.npz"
    assert settings(workload="my_net.py", data="cifar10").data == "cifar10"
    assert "(did you mean cifar10?)" in refusal(workload="my_net.py", data="cifar")
    assert refusal(workload="my_net.py", data="no/such").startswith("--data='no/such': expected one of mnist,")


def test_cnn_mnist_trains_on_no_other_data() -> None:
    message = "--data='digits': expected none, cnn-mnist trains on MNIST; name a --workload."

    assert refusal(data="digits") == message


def test_only_the_batch_of_cnn_mnist_is_bound_to_mnist() -> None:
    assert settings(workload="my_net.py", batch_size="100000").batch_size == 100_000
    assert refusal(batch_size="100000").startswith("--batch-size='100000': expected a whole number from 1 to 60,000")


def test_an_ini_file_means_a_path_from_the_projects_root() -> None:
    assert from_root("nets/my_net.py", Path("/project")) == "/project/nets/my_net.py"
    assert from_root("mlp-digits", Path("/project")) == "mlp-digits"
    assert from_root("", Path("/project")) == ""


def test_a_recorded_run_is_read_where_its_training_is_no_more() -> None:
    recorded = settings(workload="my_net.py", timing_updates="50").recorded()
    Path("my_net.py").unlink()

    again = Settings.from_recorded(recorded)

    assert (again.workload, again.timing_updates, again.epochs) == ("my_net.py", 50, 5)
