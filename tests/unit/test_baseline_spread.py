"""The command that records how far equal baselines end apart, where a run finds it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import baseline_spread
from fixtures.analysis.spread import Spread
from fixtures.measure.workloads import Prepared
from fixtures.settings.settings import Settings
from tests.unit.trials import NET, result, spec, with_all_epochs
from trainer.result import TrialResult


@pytest.fixture(autouse=True)
def _trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of two epochs whose first loss is a hundredth of the seed."""

    def train(seed: int, settings: Settings, training: Prepared) -> TrialResult:
        return with_all_epochs(result(spec(0, seed=seed)), loss=seed / 100)

    @contextmanager
    def prepared(*_: object) -> Iterator[Prepared]:
        yield Prepared(NET, "my_net.py", "data.npz")

    monkeypatch.setattr(baseline_spread, "train", train)
    monkeypatch.setattr(baseline_spread, "prepared", prepared)


def test_the_spread_of_a_training_is_kept_where_its_runs_look_for_it(tmp_path: Path) -> None:
    own = tmp_path / "my_net.py"
    own.touch()

    code = baseline_spread.main(
        ["--workload", str(own), "--batch-size", "64", "--seeds", "3", "--reports", str(tmp_path)]
    )

    spread = Spread.find(tmp_path, NET, 64)
    assert code == 0
    assert spread is not None
    assert spread.loss == pytest.approx((0.01, 0.0))
    assert spread.accuracy == (0.0, 0.0)


def test_without_a_training_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    baseline_spread.main(["--seeds", "3"])

    recorded = json.loads(capsys.readouterr().out)
    assert recorded["loss"][0] == [0.01, 0.02, 0.03]
    assert recorded["batch_size"] == 128


def test_too_few_seeds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        baseline_spread.main(["--seeds", "2"])

    assert "--seeds=2: expected a whole number from 3" in capsys.readouterr().err
