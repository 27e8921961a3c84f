"""Statistics: known values, symmetries, and intervals that hold the truth as often as they say."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.analysis.speedup import Ceiling, Ratios, Share, Speedup, geometric_mean
from fixtures.errors import MissingResultError

TIMES = st.floats(1e-3, 1e5)
RATIOS = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=12)
ROUNDS = st.lists(st.tuples(TIMES, TIMES, TIMES), min_size=1, max_size=12)


def test_a_speedup_is_the_geometric_mean_of_the_ratios_inside_rounds() -> None:
    speedup = Speedup.from_times(2, baseline=[10.0, 20.0], parallel=[5.0, 2.5])

    assert speedup.ratios == (2.0, 8.0)
    assert speedup.estimate == pytest.approx(4.0)
    assert speedup.efficiency == pytest.approx(2.0)


def test_the_interval_is_student_t_on_the_logarithms() -> None:
    speedup = Speedup(2, (1.5, 1.6, 1.7))
    logs = [math.log(each) for each in speedup.ratios]
    centre = sum(logs) / 3
    error = math.sqrt(sum((each - centre) ** 2 for each in logs) / 2 / 3)

    interval = speedup.interval(0.95)

    assert interval.low == pytest.approx(math.exp(centre - 4.302653 * error))  # t(0.975, 2)
    assert interval.high == pytest.approx(math.exp(centre + 4.302653 * error))
    assert interval.level == 0.95


def test_an_interval_needs_two_rounds_and_a_level_between_0_and_1() -> None:
    with pytest.raises(MissingResultError, match="at least two rounds"):
        Speedup(2, (1.5,)).interval()
    for level in (0.0, 1.0, 95.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="expected a share"):
            Speedup(2, (1.5, 1.6)).interval(level)


def test_the_serial_fraction_is_the_one_of_karp_and_flatt() -> None:
    amdahl = 1 / (0.1 + 0.9 / 4)  # a tenth of the work is serial

    assert Speedup(4, (amdahl,)).serial_fraction == pytest.approx(0.1)
    assert Speedup(2, (2.0,)).serial_fraction == pytest.approx(0.0)
    assert Speedup(1, (0.9,)).serial_fraction is None


@pytest.mark.parametrize("time", [0.0, -1.0, math.nan, math.inf, None, "1.0", True])
def test_a_time_that_is_absent_or_not_above_0_is_an_error_that_names_it(time: float) -> None:
    with pytest.raises(MissingResultError, match=r"T\(2\) of round 2 to be a finite number above 0"):
        Speedup.from_times(2, [10.0, 10.0], [5.0, time])


@pytest.mark.parametrize(
    ("baseline", "parallel", "why"),
    [
        ([10.0, 10.0], [5.0], r"T\(baseline\) was measured in 2 rounds, T\(2\) in 1"),
        ([], [], "No round measured 2 workers"),
        ([1e300], [1e-300], "ratio of round 1"),
    ],
    ids=["a round that lacks a time", "no round", "a ratio beyond floating point"],
)
def test_what_has_no_speedup_is_an_error(baseline: list[float], parallel: list[float], why: str) -> None:
    with pytest.raises(MissingResultError, match=why):
        Speedup.from_times(2, baseline, parallel)


def test_zero_workers_have_no_speedup_nothing_has_no_mean_and_an_absurd_spread_no_upper_end() -> None:
    with pytest.raises(ValueError, match="workers=0"):
        Speedup(0, (1.0,))
    with pytest.raises(MissingResultError):
        geometric_mean([])
    assert Speedup(2, (1e-300, 1e300)).interval().high == math.inf


def test_ceiling_and_share_are_1_where_copies_disturb_each_other_wholly_and_n_where_they_do_not() -> None:
    assert Ceiling.from_times(4, alone=[10.0], slowest=[10.0]).estimate == pytest.approx(4.0)
    assert Ceiling.from_times(2, alone=[10.0], slowest=[20.0]).estimate == pytest.approx(1.0)
    assert Share.from_times(2, slowest=[10.0], parallel=[5.0]).estimate == pytest.approx(1.0)


@settings(deadline=None)
@given(rounds=ROUNDS, workers=st.integers(1, 16))
def test_the_share_of_the_ceiling_is_speedup_over_ceiling_in_every_round(
    rounds: list[tuple[float, float, float]], workers: int
) -> None:
    alone, slowest, parallel = zip(*rounds, strict=True)
    speedup, ceiling = (Speedup.from_times(workers, alone, parallel), Ceiling.from_times(workers, alone, slowest))

    share = Share.from_times(workers, slowest, parallel)

    for each, fast, top in zip(share.ratios, speedup.ratios, ceiling.ratios, strict=True):
        assert each == pytest.approx(fast / top)
    assert share.estimate == pytest.approx(speedup.estimate / ceiling.estimate)


@settings(deadline=None)
@given(ratios=RATIOS, level=st.floats(0.5, 0.99))
def test_a_ratio_and_its_inverse_agree(ratios: list[float], level: float) -> None:
    there, back = Ratios(2, tuple(ratios)), Ratios(2, tuple(1 / each for each in ratios))

    assert back.estimate == pytest.approx(1 / there.estimate)
    assert math.log(back.interval(level).low) == pytest.approx(-math.log(there.interval(level).high), abs=1e-9)


@settings(deadline=None)
@given(ratios=RATIOS, seed=st.integers(0, 100))
def test_the_estimate_lies_inside_the_interval_whatever_the_order_of_the_rounds(ratios: list[float], seed: int) -> None:
    speedup = Speedup(2, tuple(ratios))
    shuffled = Speedup(2, tuple(random.Random(seed).sample(ratios, len(ratios))))
    narrow, wide = speedup.interval(0.9), speedup.interval(0.99)

    assert wide.low <= narrow.low <= speedup.estimate <= narrow.high <= wide.high
    assert min(ratios) <= speedup.estimate * (1 + 1e-12)
    assert speedup.estimate <= max(ratios) * (1 + 1e-12)
    assert shuffled.estimate == pytest.approx(speedup.estimate)


@pytest.mark.parametrize("rounds", [3, 6, 12])
@pytest.mark.parametrize("level", [0.95, 1 - 0.05 / 3])
def test_intervals_hold_the_true_speedup_as_often_as_their_level_says(rounds: int, level: float) -> None:
    noise, runs, held = random.Random(7), 1500, 0
    for _ in range(runs):
        ratios = tuple(1.6 * math.exp(noise.gauss(0, 0.05)) for _ in range(rounds))
        interval = Speedup(2, ratios).interval(level)
        held += interval.low <= 1.6 <= interval.high

    spread = math.sqrt(level * (1 - level) / runs)
    assert abs(held / runs - level) < 3.5 * spread
