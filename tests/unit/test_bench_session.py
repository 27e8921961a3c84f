"""The rounds of a bench as they run: what is repeated, what is set aside, and what is left when it is cut off."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import session as module
from benchmarks import without_ray
from benchmarks.rounds import Bench, Configuration, Trial, VariantTrial
from benchmarks.session import Session, Trials
from fixtures.errors import InfraError, MissingResultError, UnequalWorkError
from fixtures.measure.display import Display
from tests.unit.benches import HOST, steady, trial, variant_trial
from tests.unit.trials import QUIET

NOISY = replace(QUIET, foreign_cores=1.0)
WHY = "2 workers: other programs kept 1.00 cores busy (limit 0.25)"

Result = Trial | VariantTrial
Change = Callable[[Configuration, int, Result], Result]


class FakeTrials(Trials):
    """Hands over honest trials, unless a test changes one or lets one fail."""

    def __init__(self, change: Change = lambda configuration, number, result: result) -> None:
        self.change = change
        self.ran: list[tuple[int, str, int]] = []
        self.expected: list[float | None] = []

    def run(
        self, configuration: Configuration, seed: int, number: int, where: str, expected: float | None
    ) -> Trial | VariantTrial:
        self.ran.append((number, configuration.name, seed))
        self.expected.append(expected)
        seconds = steady(configuration, number)
        make = variant_trial if configuration.kind == "variant" else trial
        return self.change(configuration, number, make(configuration, number, seconds))


@pytest.fixture(autouse=True)
def _unproven(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trials of these tests are of another batch size; the proof has tests of its own."""
    monkeypatch.setattr(module, "prove", lambda made, spread: None)


def session(
    trials: Trials, out: Path, rounds: int = 3, groups: tuple[str, ...] = ("ray",), lines: list[str] | None = None
) -> Session:
    write: Callable[[str], None] = (lambda text: None) if lines is None else lines.append
    bench = Bench("make bench", groups, rounds, HOST, (), (), {}, 0.0)
    return Session(bench, trials, Display(write, live=False), out, seed=10)


def disturbed(*rounds: int) -> Change:
    def change(configuration: Configuration, number: int, result: Result) -> Result:
        if isinstance(result, Trial) and configuration.kind == "workers" and number in rounds:
            return replace(result, measurement=replace(result.measurement, noise=NOISY))
        return result

    return change


def failing(error: BaseException, *rounds: int) -> Change:
    def change(configuration: Configuration, number: int, result: Result) -> Result:
        if configuration.kind == "workers" and number in rounds:
            raise error
        return result

    return change


def read(out: Path) -> Bench:
    return Bench.from_json(out.read_text(encoding="utf-8"))


def test_every_round_runs_each_configuration_with_the_rounds_own_seed(tmp_path: Path) -> None:
    trials = FakeTrials()

    session(trials, tmp_path / "bench.json", rounds=2).run()

    assert trials.ran == [
        *((1, name, 11) for name in ("2 copies", "2 workers", "baseline")),
        *((2, name, 12) for name in ("2 workers", "baseline", "2 copies")),
    ]


def test_the_measurements_are_on_disk_after_each_round(tmp_path: Path) -> None:
    out = tmp_path / "new" / "bench.json"
    seen: list[int] = []

    def look(configuration: Configuration, number: int, result: Result) -> Result:
        seen.append(len(read(out).trials) if out.exists() else 0)
        return result

    running = session(FakeTrials(look), out, rounds=2, groups=("ray", "variants"))
    running.run()

    assert seen == [0] * 9 + [3] * 9
    assert read(out) == running.bench
    assert [file.name for file in out.parent.iterdir()] == ["bench.json"]


def test_the_peers_are_tested_once_before_the_first_round_and_noise_sets_nothing_aside_there(tmp_path: Path) -> None:
    lines: list[str] = []
    running = session(FakeTrials(disturbed(0)), tmp_path / "bench.json", 1, ("peers",), lines)

    running.run()

    evaluated = [trial.configuration.name for trial in running.bench.variants if trial.round == 0]
    assert "PyTorch, evaluated" in evaluated
    assert running.bench.set_aside == {}
    assert any("accuracy: 2 workers, evaluated 5.00 s" in line for line in lines)


@pytest.mark.parametrize(
    ("change", "why", "clean"),
    [
        (disturbed(2), {"2": WHY}, {1, 3, 4}),
        (failing(InfraError("A rank was lost."), 1), {"1": "A rank was lost."}, {2, 3, 4}),
        (disturbed(*range(1, 20)), dict.fromkeys("1234", WHY), set()),  # a third of the rounds is repeated at most
    ],
)
def test_a_disturbed_or_lost_round_is_set_aside_whole_and_repeated(
    change: Change, why: dict[str, str], clean: set[int], tmp_path: Path
) -> None:
    lines: list[str] = []
    running = session(FakeTrials(change), tmp_path / "bench.json", lines=lines)

    running.run()

    assert running.bench.set_aside == why
    assert set(running.bench.timed(Configuration("baseline"))) == clean
    for number, cause in why.items():
        assert any(f"round {number} is set aside: {cause}" in line for line in lines)


def test_two_lost_rounds_in_a_row_end_the_bench(tmp_path: Path) -> None:
    running = session(FakeTrials(failing(InfraError("A rank was lost."), 2, 3)), tmp_path / "bench.json")

    with pytest.raises(InfraError, match=r"^Two rounds in a row were lost\. A rank was lost\. Run again"):
        running.run()
    assert set(running.bench.timed(Configuration("workers"))) == {1}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), MissingResultError("No result.")])
def test_a_bench_that_is_cut_off_keeps_its_whole_rounds(error: BaseException, tmp_path: Path) -> None:
    out = tmp_path / "bench.json"

    with pytest.raises(type(error)):
        session(FakeTrials(failing(error, 3)), out).run()

    left = read(out)
    assert list(left.set_aside) == ["3"]
    assert set(left.timed(Configuration("baseline"))) == {1, 2}


def test_work_that_is_not_the_same_ends_the_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(made: Bench, spread: object) -> None:
        raise UnequalWorkError(f"{len(made.trials)} trials differ.")

    monkeypatch.setattr(module, "prove", refuse)

    with pytest.raises(UnequalWorkError, match="3 trials differ"):
        session(FakeTrials(), tmp_path / "bench.json").run()
    assert list(read(tmp_path / "bench.json").set_aside) == ["1"]


def test_people_see_the_time_left_once_a_trial_has_ended_and_what_each_round_measured(tmp_path: Path) -> None:
    trials, lines = FakeTrials(), list[str]()

    session(trials, tmp_path / "bench.json", rounds=1, lines=lines).run()

    assert trials.expected[0] is None
    assert None not in trials.expected[1:]
    assert lines[-1].endswith("round 1/1: 2 copies 10.00 s, 2 workers 5.00 s, baseline 10.00 s\n")


def test_a_rank_without_ray_that_fails_is_named_with_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(without_ray, "POLL_SECONDS", 0.02)
    spec = Configuration("ranks").spec(1)

    with pytest.raises(InfraError, match=r"(?s)^Rank \d without Ray ended with exit code 2: .*cannot be divided"):
        without_ray.run(spec, 127, {}, on_poll=lambda: None, deadline_seconds=30.0)
