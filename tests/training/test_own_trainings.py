"""Users' trainings as trials: real processes that train, alone and as two ranks, and what they say of themselves."""

import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.analysis.plan import TrialSpec
from fixtures.analysis.spread import Spread
from fixtures.analysis.work import prove_same_work
from fixtures.errors import UnequalWorkError
from tests.training.ranks import ROOT, finish, start
from tests.training.test_refused_trainings import CHEATS
from tests.training.user_files import HEAD, MODEL, arrays
from trainer import schedule
from trainer.collective import Alone
from trainer.datasets import digest, save
from trainer.loop import Loop
from trainer.reading import BrokenResultError
from trainer.result import DivergedError, TrialResult, decode
from trainer.work import Work
from trainer.workloads.facts import WorkloadFacts
from trainer.workloads.user_file import UserTraining, load

pytestmark = pytest.mark.training

BATCH, UPDATES = 16, 3
FILE = (
    HEAD
    + MODEL.format(
        "layers.BatchNormalization(), layers.Dropout(0.4), layers.GaussianNoise(0.1), "
        "layers.Conv2D(2, 1, kernel_regularizer='l2')"
    )
    + """
def augment(x, seeds):
    flip = lambda sample: tf.image.stateless_random_flip_left_right(sample[0], sample[1])
    return tf.map_fn(flip, (x, seeds), fn_output_signature=x.dtype)

def optimizer():
    return keras.optimizers.AdamW(0.01, weight_decay=0.1)
"""
)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """A user's training, short."""
    folder = tmp_path_factory.mktemp("workload")
    (folder / "my_net.py").write_text(FILE)
    save(arrays(), folder / "data.npz")
    return Work(
        7, 1, BATCH, 1, str(folder / "data.npz"), "auto", probe=True, evaluate=True,
        workload=str(folder / "my_net.py"), batch_norm="groups:8", updates=UPDATES,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trials(work: Work) -> tuple[TrialResult, TrialResult]:
    """It, by one process and by two ranks."""
    alone, together = start(1, work), start(2, work)
    return finish(alone), finish(together)


def test_a_learning_rate_in_the_place_of_the_files_own_is_trained_with(
    work: Work, trials: tuple[TrialResult, TrialResult]
) -> None:
    own, other = trials[0].ranks[0], finish(start(1, replace(work, learning_rate=0.05))).ranks[0]

    assert (own.learning_rate, other.learning_rate) == (0.01, 0.05)
    assert own.epochs[0].first_losses[0] == other.epochs[0].first_losses[0]
    assert own.epochs[0].first_losses[1] != other.epochs[0].first_losses[1]


def test_so_is_one_that_grows_with_the_batch_over_its_updates_of_warm_up(
    work: Work, trials: tuple[TrialResult, TrialResult]
) -> None:
    kept, grown = (replace(work, learning_rate=0.02), replace(work, rate_factor=2.0, warm_up=2))
    at_once = replace(work, rate_factor=2.0)
    started = [start(1, kept), start(1, grown), start(1, at_once)]
    fixed, warmed, sudden = (finish(trial).ranks[0].epochs[0] for trial in started)

    assert sudden.first_losses == fixed.first_losses
    assert sudden.weights == fixed.weights
    own = trials[0].ranks[0].epochs[0]
    assert warmed.first_losses[0] == own.first_losses[0]
    assert own.first_losses[1] != warmed.first_losses[1] != fixed.first_losses[1]


def test_two_ranks_hold_the_same_weights_and_moving_statistics(trials: tuple[TrialResult, TrialResult]) -> None:
    first, second = trials[1].ranks

    assert first.collective == "memory"
    assert first.epochs[0].weights == second.epochs[0].weights


def test_they_follow_the_baselines_path(trials: tuple[TrialResult, TrialResult]) -> None:
    baseline, (first, second) = trials[0].ranks[0], trials[1].ranks
    losses = [sum(pair) for pair in zip(first.epochs[0].first_losses, second.epochs[0].first_losses, strict=True)]

    assert len(losses) == UPDATES
    assert losses == pytest.approx(baseline.epochs[0].first_losses, rel=1e-5)
    assert baseline.probe is not None
    assert first.probe is not None
    for own, other in ((baseline.probe.gradient, first.probe.gradient), (baseline.probe.weights, first.probe.weights)):
        whole = math.hypot(*(number for tensor in own for number in tensor))
        for tensor, numbers in zip(own, other, strict=True):
            assert math.dist(tensor, numbers) <= 1e-12 * whole


def test_every_rank_says_what_it_trained_and_on_what(trials: tuple[TrialResult, TrialResult]) -> None:
    baseline, ranks = trials[0].ranks[0], trials[1].ranks

    for rank in ranks:
        for name in ("workload", "data", "start", "optimizer", "batch_norm", "libraries", "tensors", "learning_rate"):
            assert getattr(rank, name) == getattr(baseline, name)
    assert baseline.data == digest(arrays())
    assert baseline.batch_norm == "groups:8"
    assert baseline.libraries.startswith("keras 3.")
    assert baseline.optimizer.startswith("AdamW(learning_rate=0.01")
    assert baseline.tensors[-2:] == ("batch_normalization/moving_mean", "batch_normalization/moving_variance")
    assert "keras" in baseline.marks
    assert baseline.epochs[0].accuracy in {hits / 5 for hits in range(6)}


def test_a_rank_whose_data_are_in_another_order_is_named(work: Work, trials: tuple[TrialResult, TrialResult]) -> None:
    own = trials[0].ranks[0]
    facts = WorkloadFacts(
        "my_net", own.workload, "data.npz", own.data, train_samples=64, test_samples=5, tensors=own.tensors,
        sizes=(), split={}, batch_norm=own.batch_norm, optimizer=own.optimizer,
    )  # fmt: skip
    spec = TrialSpec("timing", workers=2, copies=1, epochs=1, seed=work.seed, probe=True, updates=UPDATES)
    other = finish(start(2, work, "has its data in another order"))

    prove_same_work(spec, *trials, Spread((), ()), facts)
    with pytest.raises(UnequalWorkError, match=f"SHA-256 of the data: [0-9a-f]+ on rank 1, {own.data} in the baseline"):
        prove_same_work(spec, trials[0], other, Spread((), ()), facts)


def test_the_first_updates_of_each_epoch_alone_are_trained_on(trials: tuple[TrialResult, TrialResult]) -> None:
    epochs = [rank.epochs[0] for rank in trials[1].ranks]
    expected = schedule.global_batches(7, 0, BATCH, 64)[:UPDATES]

    assert [epoch.updates for epoch in epochs] == [UPDATES] * 2
    assert schedule.add_coverage(epoch.coverage for epoch in epochs) == schedule.coverage(expected)


def test_a_training_whose_loss_is_no_number_any_more_ends_there(tmp_path: Path) -> None:
    (tmp_path / "my_net.py").write_text(HEAD + MODEL.format("") + "def optimizer(): return keras.optimizers.SGD(1e30)")
    training = UserTraining(load(tmp_path / "my_net.py"), 1, "")
    work = Work(1, 1, BATCH, 1, "", "auto", probe=False, evaluate=False)
    loop = Loop(training, arrays(), work, slice(0, BATCH), Alone())
    loop.build()

    with pytest.raises(DivergedError, match=r"the loss is not a number after update [1-3]: try a smaller"):
        loop.epoch(0, evaluate=False)


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={"PYTHONPATH": str(ROOT / "image"), "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def prepare(folder: Path, text: str, batch_size: int = 16) -> subprocess.CompletedProcess[str]:
    (folder / "my_net.py").write_text(HEAD + text)
    save(arrays(), folder / "noise.npz")
    return run(
        "trainer.workloads.prepare", "--workload", str(folder / "my_net.py"), "--data", str(folder / "noise.npz"),
        "--batch-size", str(batch_size), "--out", str(folder / "out"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "import os\nos.fork()\n",
            "trainer: {folder}/my_net.py calls os.fork: a copy of the process would train as well",
        ),
        (
            "def model(seed):\n    return undefined",
            "trainer: my_net.py, line 9: NameError: name 'undefined' is not defined",
        ),
        ("import not_installed", "trainer: my_net.py, line 8: ModuleNotFoundError: No module named 'not_installed'"),
    ],
)
def test_what_a_user_can_mend_is_the_last_line_and_ends_with_code_2(tmp_path: Path, text: str, said: str) -> None:
    finished = prepare(tmp_path, text)

    assert finished.returncode == 2, finished.stderr
    assert finished.stderr.splitlines()[-1] == said.format(folder=tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "cheat",
    [
        *("BatchNorm by rank", "own dropout with a hidden seed", "mean over the local batch", "contrastive loss"),
        *("random numbers in augment", "the time", "another shape in float64"),
    ],
)
def test_a_cheat_is_refused_in_the_process_that_checks_it_for_a_run(tmp_path: Path, cheat: str) -> None:
    text, message = CHEATS[cheat]

    finished = prepare(tmp_path, text)

    assert finished.returncode == 2, finished.stderr
    assert re.match(f"trainer: .*{message}", finished.stderr.splitlines()[-1])
    assert not (tmp_path / "out").exists()


def test_a_share_of_one_sample_with_batch_norm_is_refused_in_that_process(tmp_path: Path) -> None:
    finished = prepare(tmp_path, MODEL.format("layers.BatchNormalization()"), batch_size=2)

    assert finished.returncode == 2, finished.stderr
    assert finished.stderr.splitlines()[-1].startswith("trainer: BatchNormalization over groups of one sample gives")


def test_a_training_that_prints_a_result_of_its_own_is_refused(tmp_path: Path) -> None:
    prepared = prepare(tmp_path, MODEL.format("") + "print('TRIAL-RESULT 2 ab {}')")
    trial = run(
        "trainer", "--workers", "0", "--epochs", "1", "--batch-size", "16", "--workload", str(tmp_path / "my_net.py"),
        "--data", str(tmp_path / "out" / "data.npz"),
    )  # fmt: skip

    assert prepared.returncode == trial.returncode == 0, trial.stderr
    with pytest.raises(BrokenResultError, match="expected one TRIAL-RESULT line in the job's log, found 2"):
        decode(trial.stdout)
