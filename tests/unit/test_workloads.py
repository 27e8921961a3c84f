"""A training of the user's before a cluster comes up: checked by the trainer, refused in a sentence, packed."""

import io
import json
import signal
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fixtures.errors import InfraError, UsageError
from fixtures.measure.packages import MOST_BYTES, Package
from fixtures.measure.workloads import PREFIX, Prepared, find_missing, prepared
from fixtures.plugin import suite
from fixtures.settings.settings import Settings
from fixtures.system.leases import Ownership
from fixtures.system.paths import ROOT
from fixtures.system.waiting import wait_while
from tests.unit.fake_jobs import FakeJobs, experiment, seconds
from tests.unit.trials import NET, SAID, SETTINGS, result, with_all_ranks
from trainer.workloads.facts import CNN_MNIST

pytest_plugins = ["pytester"]

FACTS = replace(CNN_MNIST, name="my_net", workload_sha256="f" * 64, split={"2": 3e-16}, batch_norm="groups:64")
GOOD = f"""
    import json, sys
    from pathlib import Path
    out = Path(sys.argv[sys.argv.index("--out") + 1])
    print("reading the data", *sys.argv[1:-1])
    (out / "data.npz").write_bytes(b"arrays")
    (out / "facts.json").write_text({json.dumps(asdict(FACTS))!r})
"""


@contextmanager
def preparing(folder: Path, script: str, *, seconds: float = 60.0, **changes: object) -> Iterator[Prepared]:
    """Prepare my_net.py with a trainer that does what the script says."""
    code = folder / "image" / "trainer" / "workloads" / "prepare.py"
    code.parent.mkdir(parents=True, exist_ok=True)
    for package in (code.parent, code.parent.parent):
        (package / "__init__.py").touch()
    code.write_text(textwrap.dedent(script))
    (folder / "my_net.py").write_text("import numpy\n")
    settings = replace(Settings(), workload=str(folder / "my_net.py"), data="digits", **changes)  # type: ignore[arg-type]
    told = LINES.get(folder, [])
    with prepared(settings, {}, told.append, image=folder / "image", place=folder, seconds=seconds) as ready:
        yield ready


LINES: dict[Path, list[str]] = {}


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[list[str]]:
    LINES[tmp_path] = []
    yield LINES[tmp_path]
    del LINES[tmp_path]


def refusal(folder: Path, script: str, *, seconds: float = 60.0, **changes: object) -> str:
    with pytest.raises(UsageError) as caught, preparing(folder, script, seconds=seconds, **changes):
        pass
    return str(caught.value)


def test_of_a_run_that_is_killed_its_data_are_removed(tmp_path: Path) -> None:
    with preparing(tmp_path, GOOD):  # writes the trainer
        pass
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from fixtures.measure.workloads import prepared\n"
        "from fixtures.settings.settings import Settings\n"
        "place = Path(sys.argv[1])\n"
        "settings = Settings(workload=str(place / 'my_net.py'), data='digits')\n"
        "with prepared(settings, {}, print, image=place / 'image', place=place) as ready:\n"
        "    print(ready.data, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    killed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    data = Path(killed.stdout.splitlines()[-1])

    assert (killed.returncode, data.name) == (-signal.SIGKILL, "data.npz")
    assert wait_while(lambda: "removal" if data.parent.exists() else "", 20, every=0.02) == ""


def test_nothing_is_prepared_for_cnn_mnist(tmp_path: Path) -> None:
    with prepared(Settings(), {}, print, place=tmp_path) as ready:
        assert ready == Prepared()
        assert ready.arguments == []
    assert list(tmp_path.iterdir()) == []


def test_a_training_is_read_once_and_its_data_are_there_until_the_run_is_over(tmp_path: Path, lines: list[str]) -> None:
    with preparing(tmp_path, GOOD) as ready:
        assert ready.facts == FACTS
        assert ready.arguments == ["--workload", str(tmp_path / "my_net.py"), "--batch-norm", "groups:64"]
        assert Path(ready.data).read_bytes() == b"arrays"
        assert ready.package is None

    assert not Path(ready.data).exists()
    assert f"--workload {tmp_path}/my_net.py --data digits --workers 2 --batch-size 128 --seed 1" in lines[-1]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "import sys; print('x', file=sys.stderr); print('trainer: no model', file=sys.stderr); sys.exit(2)",
            "no model",
        ),
        ("import sys; print('my own words', file=sys.stderr); sys.exit(2)", "my own words"),
    ],
)
def test_what_the_trainer_refuses_is_a_sentence(tmp_path: Path, script: str, message: str) -> None:
    assert refusal(tmp_path, script).startswith(f"{message}. docs/WORKLOADS.md says what a training needs.")


def test_where_the_users_file_failed_is_shown_before_it_is_said(tmp_path: Path, lines: list[str]) -> None:
    script = """
        import sys
        where = '    another file\\n  File "my_net.py", line 3, in model\\n    return 1 / 0\\nZeroDivisionError'
        print(f"I tensorflow: noise\\n{where}\\ntrainer: my_net.py, line 3: division by zero", file=sys.stderr)
        sys.exit(2)
    """

    assert refusal(tmp_path, script).startswith("my_net.py, line 3: division by zero.")
    assert lines[1:] == ['  File "my_net.py", line 3, in model', "    return 1 / 0", "ZeroDivisionError"]


def test_a_training_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    assert "was not ready after 1 s and was ended" in refusal(tmp_path, "import time; time.sleep(60)", seconds=1.0)


def test_a_trainer_that_breaks_is_nobodys_training(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="exit code 7"), preparing(tmp_path, "raise SystemExit(7)"):
        pass
    with pytest.raises(InfraError, match="cannot be read"), preparing(tmp_path, ""):
        pass


def test_data_of_killed_runs_are_removed_and_those_of_others_stay(tmp_path: Path) -> None:
    left, used = (tmp_path / f"{PREFIX}{name}" for name in ("left", "used"))
    left.mkdir()
    used.mkdir()
    owner = Ownership.take(used)

    with preparing(tmp_path, GOOD):
        assert not left.exists()
        assert used.exists()
    assert owner is not None


def test_on_kubernetes_file_and_data_travel_in_a_package_named_by_its_content(tmp_path: Path) -> None:
    with preparing(tmp_path, GOOD, cluster="kind") as ready:
        assert (ready.workload, ready.data) == ("training/my_net.py", "data.npz")
        assert ready.package is not None
        with zipfile.ZipFile(io.BytesIO(ready.package.content)) as archive:
            assert {name: archive.read(name) for name in archive.namelist()} == {
                "data.npz": b"arrays",
                "training/my_net.py": b"import numpy\n",
            }
    with preparing(tmp_path, GOOD, cluster="kind") as again:
        assert again.package == ready.package


def test_what_the_image_lacks_is_said_before_a_cluster_comes_up(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "import keras.layers, json\nfrom trainer.workload import Data\nimport torch.nn\nfrom .mine import x\n"
    )

    assert find_missing(file) == ["torch", ".mine"]


def test_a_training_that_needs_another_package_is_refused_for_kubernetes(tmp_path: Path) -> None:
    with preparing(tmp_path, GOOD):
        pass
    (tmp_path / "my_net.py").write_text("import torch\n")
    settings = replace(Settings(), workload=str(tmp_path / "my_net.py"), cluster="minikube")

    with pytest.raises(UsageError, match="imports torch, which the image of the nodes lacks"):
        prepared(settings, {}, print, image=tmp_path / "image", place=tmp_path).__enter__()


def test_a_package_that_ray_does_not_take_is_refused() -> None:
    with pytest.raises(UsageError, match=r"are 101 MiB packed; Ray takes 100 MiB"):
        Package.of_content(bytes(MOST_BYTES + (1 << 20)))


def test_every_trial_of_a_training_is_told_of_it_and_of_its_data() -> None:
    jobs = FakeJobs(answer=lambda of: with_all_ranks(result(of, seconds(of)), **SAID))
    package = Package.of_content(b"a zip")
    training = Prepared(replace(NET, probe_samples=8), "training/my_net.py", "data.npz", package)

    experiment(jobs, replace(SETTINGS, rounds=1, timing_updates=7), training=training).run()

    assert all("--workload training/my_net.py --probe-samples 8" in " ".join(command) for command in jobs.commands)
    assert all(command[command.index("--data") + 1] == "data.npz" for command in jobs.commands)
    assert jobs.packages == {package}
    assert {of.kind: of.updates for of in jobs.submitted} == {"accuracy": 0, "timing": 7, "ceiling": 7}


@pytest.mark.parametrize(("seconds_per_epoch", "later"), [(5.0, 180), (60.0, 1200)])
def test_a_training_has_an_hour_for_each_epoch_until_one_was_seen(seconds_per_epoch: float, later: int) -> None:
    jobs = FakeJobs(answer=lambda of: with_all_ranks(result(of, seconds_per_epoch * of.epochs), **SAID))

    experiment(jobs, replace(SETTINGS, rounds=1), training=Prepared(NET, "my_net.py", "data.npz")).run()

    first, second, *_ = jobs.deadlines
    assert (first, second) == (180 + 2 * 3600, 180 + 2 * later)


def test_the_command_line_of_cnn_mnist_names_no_training() -> None:
    jobs = FakeJobs()

    experiment(jobs, replace(SETTINGS, rounds=1)).run()

    assert not {"--workload", "--timing-updates", "--timeout"} & {word for command in jobs.commands for word in command}


def test_a_run_with_a_training_that_is_refused_starts_nothing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def refuses(*_: object) -> Iterator[Prepared]:
        raise UsageError("my_net.py has no model.")
        yield

    monkeypatch.setattr(suite, "prepared", refuses)
    monkeypatch.setattr(suite, "Signals", object)  # the pytest that runs this test keeps its own
    pytester.makeini("[pytest]\nmarkers =\n    e2e: never runs\n")
    pytester.makeconftest('pytest_plugins = ["fixtures.plugin.options", "fixtures.plugin.suite"]')
    pytester.makepyfile("import pytest\n\n@pytest.mark.e2e\ndef test_one(provider): ...")

    ran = pytester.runpytest_inprocess("-m", "e2e", "-p", "no:hypothesispytest", "-p", "no:cacheprovider")

    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: my_net.py has no model." in ran.errlines
    assert "test_one" not in ran.stdout.str()
