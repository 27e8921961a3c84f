"""A real trainer process that is killed and goes on, against the proof that nothing but time was lost; no Ray."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fixtures.analysis.measurement import Measurement
from fixtures.analysis.plan import TrialSpec
from fixtures.analysis.recovery import Recovery, prove_recovered
from fixtures.errors import UnequalWorkError
from fixtures.settings.settings import Settings
from tests.training import one_life
from tests.training.test_own_trainings import FILE
from tests.training.user_files import arrays
from tests.unit.trials import QUIET
from trainer.__main__ import MNIST
from trainer.datasets import save
from trainer.result import decode
from trainer.work import Work
from trainer.workloads.facts import CNN_MNIST

pytestmark = pytest.mark.training

ROOT = Path(__file__).parents[2]
EVERY, KILL = one_life.EVERY, 38
SETTINGS = Settings(timing_epochs=2, timing_updates=25)
PLAIN = Work(2, 2, 128, 1, str(MNIST), "auto", probe=False, evaluate=False, updates=25)
SAVED = replace(PLAIN, checkpoint_every=EVERY)
KILLED = replace(SAVED, kill_update=KILL)


def live(work: Work, folder: Path, cheat: str = "") -> subprocess.CompletedProcess[str]:
    """One life of a training, whose checkpoints lie in a folder."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'image'}",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    folder.mkdir(exist_ok=True)
    command = [sys.executable, one_life.__file__, str(folder), cheat, json.dumps(asdict(work))]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def finish(work: Work, folder: Path, cheat: str = "") -> Measurement:
    """A life that ends well."""
    done = live(work, folder, cheat)
    assert done.returncode == 0, done.stderr[-2000:]
    spec = TrialSpec("recovery", 1, 1, work.epochs, work.seed, probe=False, updates=work.updates)
    spec = replace(spec, checkpoint_every=work.checkpoint_every, kill_update=work.kill_update)
    return Measurement(spec, 1, decode(done.stdout), 0.0, 0.0, 1.0, QUIET)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Measurement, Measurement]:
    """Without checkpoints, and with them."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return finish(PLAIN, folder), finish(SAVED, folder)


def prove(undisturbed: tuple[Measurement, Measurement], folder: Path, cheat: str = "") -> tuple[str, ...]:
    """Kill it in its first life, and hold the second one against the undisturbed trainings."""
    first = live(KILLED, folder, cheat)
    assert first.returncode == -signal.SIGKILL, first.stderr[-2000:]
    return prove_recovered(Recovery(*undisturbed, finish(KILLED, folder, cheat)), SETTINGS)


def test_a_killed_training_ends_with_the_undisturbed_ones_weights_bit_for_bit(
    undisturbed: tuple[Measurement, Measurement], tmp_path: Path
) -> None:
    proof = prove(undisturbed, tmp_path)

    assert proof[0] == "rank 0 killed before update 39, all ranks restored after update 33, 5 updates done again"
    assert proof[2].startswith("weights, losses and samples after 2 epochs equal the undisturbed training's")


def test_so_does_a_training_of_the_users_with_batch_norm_noise_and_an_optimiser_of_keras(tmp_path: Path) -> None:
    (tmp_path / "my_net.py").write_text(FILE)
    save(arrays(), tmp_path / "data.npz")
    own = replace(PLAIN, batch_size=16, updates=0, data=str(tmp_path / "data.npz"), batch_norm="groups:8")
    plain = replace(own, workload=str(tmp_path / "my_net.py"))
    saved = replace(plain, checkpoint_every=2)
    killed = replace(saved, kill_update=7)
    undisturbed = finish(plain, tmp_path), finish(saved, tmp_path / "saved")

    assert live(killed, tmp_path).returncode == -signal.SIGKILL
    recovery = Recovery(*undisturbed, finish(killed, tmp_path))

    proof = prove_recovered(recovery, Settings(batch_size=16, timing_epochs=2), replace(CNN_MNIST, train_samples=64))
    assert proof[0] == "rank 0 killed before update 8, all ranks restored after update 6, 1 update done again"


@pytest.mark.parametrize("cheat", ["forgets Adam's moments", "forgets the weights", "does updates twice"])
def test_a_recovery_that_lost_more_than_time_is_found(
    cheat: str, undisturbed: tuple[Measurement, Measurement], tmp_path: Path
) -> None:
    with pytest.raises(UnequalWorkError, match="After epoch 2 rank 0 has other loss than in the undisturbed training"):
        prove(undisturbed, tmp_path, cheat)
