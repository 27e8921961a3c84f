"""The plan: looks, rounds in rotating order, and what fits the time budget."""

from collections import Counter
from dataclasses import replace

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.analysis.plan import (
    LOOK_LEVEL,
    TrialSpec,
    accuracy_trials,
    expected_remaining,
    fits_budget,
    looks,
    max_repeats,
    timing_round,
)
from fixtures.settings.settings import Settings

COUNTS = st.lists(st.integers(1, 16), min_size=1, max_size=4, unique=True)
BASELINE = TrialSpec("timing", workers=0, copies=1, epochs=1, seed=2, probe=False)
TWO = replace(BASELINE, workers=2)


@pytest.mark.parametrize(
    "expected", [(1,), (2,), (3,), (3, 4), (3, 6), (3, 6, 8), (3, 6, 12), (3, 6, 20)], ids=lambda looks: str(looks[-1])
)
def test_the_verdict_is_looked_at_after_3_and_6_rounds_and_the_last(expected: tuple[int, ...]) -> None:
    assert looks(expected[-1]) == expected


@hypothesis.settings(deadline=None)
@given(rounds=st.integers(1, 1000))
def test_there_are_never_more_looks_than_their_level_pays_for_or_repeats_than_a_third(rounds: int) -> None:
    planned = looks(rounds)

    assert len(planned) * (1 - LOOK_LEVEL) <= 0.05 + 1e-12
    assert list(planned) == sorted(set(planned))
    assert planned[-1] == rounds
    assert max_repeats(rounds) <= rounds / 3
    assert (max_repeats(rounds) >= 1) == (rounds >= 3)


@hypothesis.settings(deadline=None)
@given(rounds=st.integers(1, 40), done=st.integers(1, 40))
def test_a_run_that_the_budget_ends_early_has_the_planned_looks_and_a_last(rounds: int, done: int) -> None:
    done = min(rounds, done)

    assert set(looks(done)[:-1]) <= set(looks(rounds))


def test_no_rounds_cannot_be_planned() -> None:
    with pytest.raises(ValueError, match="rounds=0"):
        looks(0)
    with pytest.raises(ValueError, match="number=0"):
        timing_round(Settings(), (2,), 0)


def test_accuracy_trials_are_the_baseline_then_each_count_with_one_seed_and_a_probe() -> None:
    trials = accuracy_trials(Settings(epochs=5, seed=9), (2, 4))

    assert [trial.name for trial in trials] == ["baseline", "2 workers", "4 workers"]
    assert {(trial.kind, trial.epochs, trial.seed, trial.probe) for trial in trials} == {("accuracy", 5, 9, True)}


def test_a_round_is_the_baseline_each_count_and_the_copies_of_each_count() -> None:
    trials = timing_round(Settings(timing_epochs=2, seed=9), (1, 2), number=1)

    assert [trial.name for trial in trials] == ["baseline", "1 worker", "2 workers", "2 copies"]
    assert [trial.kind for trial in trials] == ["timing", "timing", "timing", "ceiling"]
    assert {(trial.epochs, trial.seed, trial.probe) for trial in trials} == {(2, 10, False)}


def test_a_round_trains_with_one_process_on_the_cores_of_a_count_where_it_is_asked_to() -> None:
    trials = timing_round(Settings(cpus_per_worker=2), (2, 4), 1, ceiling=False, all_cores=(2, 4))

    assert [trial.name for trial in trials] == [
        *("baseline", "2 workers", "4 workers"),
        *("1 process, 4 cores", "1 process, 8 cores"),
    ]
    assert {(trial.kind, trial.workers, trial.copies) for trial in trials[3:]} == {("all-cores", 0, 1)}
    assert [trial.cpus for trial in trials] == [0, 0, 0, 4, 8]


def test_a_quick_round_and_one_that_is_run_again_have_no_ceiling() -> None:
    assert [trial.name for trial in timing_round(Settings(quick=True), (2,), number=1)] == ["baseline", "2 workers"]
    assert {trial.kind for trial in timing_round(Settings(), [2, 4], 13, ceiling=False)} == {"timing"}


@hypothesis.settings(deadline=None)
@given(counts=COUNTS, number=st.integers(1, 30), quick=st.booleans())
def test_every_round_holds_each_configuration_once(counts: list[int], number: int, quick: bool) -> None:
    chosen = Settings(quick=quick)
    names = [trial.name for trial in timing_round(chosen, counts, number)]

    assert len(set(names)) == len(names)
    assert set(names) == {trial.name for trial in timing_round(chosen, counts, 1)}
    assert len(names) == 1 + len(counts) + (0 if quick else sum(count > 1 for count in counts))


@hypothesis.settings(deadline=None)
@given(counts=COUNTS, first=st.integers(1, 20))
def test_over_as_many_rounds_as_configurations_each_takes_each_position_once(counts: list[int], first: int) -> None:
    size = len(timing_round(Settings(), counts, 1, all_cores=counts))
    taken = Counter(
        (trial.name, position)
        for number in range(first, first + size)
        for position, trial in enumerate(timing_round(Settings(), counts, number, all_cores=counts))
    )

    assert len(taken) == size * size
    assert set(taken.values()) == {1}


@hypothesis.settings(deadline=None)
@given(counts=COUNTS, number=st.integers(1, 1000), seed=st.integers(0, 10**9))
def test_all_trials_of_a_round_share_a_seed_that_no_other_round_has(counts: list[int], number: int, seed: int) -> None:
    chosen = Settings(seed=seed)

    assert {trial.seed for trial in timing_round(chosen, counts, number)} == {seed + number}
    assert seed + number != accuracy_trials(chosen, counts)[0].seed


def test_nothing_is_expected_before_anything_was_seen() -> None:
    assert expected_remaining([BASELINE], []) is None
    assert fits_budget([BASELINE], [], elapsed=1, budget=2)
    assert not fits_budget([BASELINE], [], elapsed=2, budget=2)


def test_a_trial_is_expected_to_take_the_median_of_its_like_or_its_configuration_or_the_longest() -> None:
    seen = [(BASELINE, 10.0), (replace(BASELINE, seed=3), 12.0), (BASELINE, 90.0), (TWO, 7.0)]
    unlike = [(replace(TWO, kind="accuracy", epochs=3), 30.0), (BASELINE, 40.0)]

    assert expected_remaining([BASELINE, TWO], seen) == 12.0 + 7.0
    assert expected_remaining([], seen) == 0
    assert expected_remaining([TWO], unlike) == 30.0
    assert expected_remaining([replace(BASELINE, kind="ceiling", copies=2)], unlike) == 40.0


def test_nothing_is_expected_of_the_first_updates_alone_from_whole_epochs() -> None:
    first, whole = replace(BASELINE, updates=10), (BASELINE, 300.0)

    assert expected_remaining([first], [whole]) is None
    assert expected_remaining([first], [whole, (first, 20.0)]) == 20.0
    assert expected_remaining([first, TWO], [whole, (TWO, 7.0)]) is None


def test_a_round_fits_when_it_is_expected_to_end_within_the_budget() -> None:
    seen = [(BASELINE, 10.0), (TWO, 5.0)]

    assert fits_budget([BASELINE, TWO], seen, elapsed=85.0, budget=100.0)
    assert not fits_budget([BASELINE, TWO], seen, elapsed=85.1, budget=100.0)


def test_an_injected_slowdown_is_the_workers_alone_never_the_baselines_or_the_ceilings() -> None:
    settings = Settings(inject_slowdown=0.15)

    for trial in (*accuracy_trials(settings, [1, 2]), *timing_round(settings, [1, 2], 1)):
        assert trial.slowdown == (0.15 if trial.workers else 0.0)
