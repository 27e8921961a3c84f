"""Does it pay? Break-evens, costs and sweeps computed by hand, of a recorded run, and intervals that hold the truth."""

import math
import random
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.analysis.measurement import Run
from fixtures.analysis.pays import BreakEven, Jobs, Pays, fieller_interval
from fixtures.analysis.spread import Spread
from fixtures.analysis.summary import summarise
from tests.unit.recorded import recorded, recorded_night
from tests.unit.trials import SCALING, SPREAD, UPDATES, measurement, run, spec, timing_round

ONE = Jobs(1, epoch=(10.0, 12.0), outside=(3.0, 5.0))
TWO = Jobs(2, epoch=(6.0, 6.0), outside=(9.0, 9.0))
"""5 s more outside training and 5 s less in each epoch, in the mean: two workers pay from the first epoch on."""
SECONDS = st.floats(0.1, 100.0)
ROUNDS = st.lists(st.tuples(SECONDS, SECONDS), min_size=2, max_size=12)


def pays(measured: Run) -> Pays:
    found = summarise(measured, SPREAD, SCALING).of(2).pays
    assert found is not None
    return found


def test_the_break_even_is_what_a_job_loses_outside_training_over_what_it_gains_in_an_epoch() -> None:
    even = BreakEven.between(ONE, TWO)

    assert even == BreakEven(extra=(6.0, 4.0), saved=(4.0, 6.0))
    assert even.epochs == pytest.approx(1.0)
    assert ONE.seconds(1.0) == pytest.approx(TWO.seconds(1.0))


def test_the_start_of_the_cluster_is_one_more_thing_that_the_workers_wait_for() -> None:
    whole = Pays(2, ONE, TWO, start=20.0)

    assert whole.with_cluster_start is not None
    assert whole.with_cluster_start.epochs == pytest.approx(5.0)
    assert whole.baseline_seconds(5.0) == pytest.approx(55.0)
    assert Pays(2, ONE, TWO).with_cluster_start is None


def test_the_interval_is_fiellers() -> None:
    # Means 5 and 4, variances 1 and 3, covariance -1.5.
    ends = fieller_interval((4.0, 5.0, 6.0), (5.0, 5.0, 2.0), 0.5)
    squared = 0.816497**2 / 3  # t(0.75, 2)
    a, b, c = 16 - 3 * squared, 20 + 1.5 * squared, 25 - squared

    assert ends.low == pytest.approx((b - math.sqrt(b * b - a * c)) / a, rel=1e-5)
    assert ends.high == pytest.approx((b + math.sqrt(b * b - a * c)) / a, rel=1e-5)
    assert ends.low < 5 / 4 < ends.high


@pytest.mark.parametrize(
    ("extra", "saved", "answer", "epochs"),
    [
        pytest.param((5.0, 5.0, 5.0), (2.0, 2.1, 1.9), "pays", 2.5, id="training is faster"),
        pytest.param((-1.0, -1.0, -1.0), (2.0, 2.1, 1.9), "pays", 0.0, id="the job starts faster, too"),
        pytest.param((5.0, 5.0, 5.0), (2.0, -1.9, 0.2), "perhaps never", 50.0, id="training may be slower"),
        pytest.param((5.0, 5.0, 5.0), (-2.0, 1.9, -0.2), "perhaps never", None, id="training is probably slower"),
        pytest.param((5.0, 5.0, 5.0), (-2.0, -2.1, -1.9), "never", None, id="training is slower"),
        pytest.param((5.0,), (2.0,), "pays", 2.5, id="one round"),
        pytest.param((5.0,), (-2.0,), "perhaps never", None, id="one round, slower"),
        pytest.param((5.0,), (0.0,), "perhaps never", None, id="one round, equal"),
    ],
)
def test_a_job_pays_only_where_training_is_surely_faster(
    extra: tuple[float, ...], saved: tuple[float, ...], answer: str, epochs: float | None
) -> None:
    even = BreakEven(extra, saved)

    assert even.answer == answer
    assert even.epochs == (None if epochs is None else pytest.approx(epochs))
    assert (even.interval is None) == (len(saved) == 1 or answer == "never")
    if even.interval is not None:
        assert math.isinf(even.interval.high) == (answer == "perhaps never")


@settings(deadline=None)
@given(rounds=ROUNDS, factor=st.floats(0.1, 10.0))
def test_the_break_even_lies_in_its_interval_and_scales_with_the_seconds_that_are_lost(
    rounds: list[tuple[float, float]], factor: float
) -> None:
    extra, saved = (tuple(side) for side in zip(*rounds, strict=True))
    even, longer = BreakEven(extra, saved), BreakEven(tuple(factor * seconds for seconds in extra), saved)

    assert even.interval
    assert longer.interval
    assert even.epochs
    assert even.interval.low <= even.epochs * (1 + 1e-9)
    assert even.epochs <= even.interval.high * (1 + 1e-9)
    assert longer.epochs == pytest.approx(factor * even.epochs)
    assert longer.interval.low == pytest.approx(factor * even.interval.low, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("rounds", [3, 6, 12])
@pytest.mark.parametrize("noise", [0.5, 3.0], ids=["quiet", "noisy"])
def test_intervals_hold_the_true_break_even_as_often_as_they_say(rounds: int, noise: float) -> None:
    generator, runs, held = random.Random(18), 1000, 0
    for _ in range(runs):
        shared = [generator.gauss(0, noise) for _ in range(rounds)]  # what slows a round slows both
        extra = [5.0 + slow + generator.gauss(0, noise) for slow in shared]
        saved = [2.5 + slow / 2 + generator.gauss(0, noise) for slow in shared]
        ends = fieller_interval(extra, saved)
        held += ends.low <= 2.0 <= ends.high

    assert held / runs > 0.95 - 3.5 * math.sqrt(0.95 * 0.05 / runs)


def test_the_cost_is_counted_in_the_cores_that_a_job_holds() -> None:
    assert TWO.core_seconds(1.0) == pytest.approx(2 * (9.0 + 6.0))
    assert ONE.core_seconds(3.0) == pytest.approx(4.0 + 3 * 11.0)


def test_a_sweep_compares_configurations_side_by_side_with_one_after_the_other() -> None:
    copies = Jobs(2, epoch=(11.0, 13.0), outside=(4.0, 2.0))
    sweep = Pays(2, ONE, TWO, copies=(copies, TWO)).sweep(1)

    assert sweep is not None
    assert sweep.ratios == pytest.approx((2 * 15.0 / 15.0, 2 * 15.0 / 15.0))
    assert Pays(2, ONE, TWO).sweep(1) is None


def test_a_predicted_speedup_has_the_break_even_of_jobs_that_lose_as_much_outside_training() -> None:
    assert Pays(2, ONE, TWO).predict(4.0) == pytest.approx(5.0 / (11.0 * 0.75))
    assert Pays(2, ONE, TWO).predict(0.9) is None


def test_each_side_is_taken_from_the_clean_rounds_in_which_it_ran() -> None:
    rounds = [timing_round(1, 10.0, 5.0, 11.0, all_cores=6.0), timing_round(2, 12.0, 6.0), timing_round(3, 9.0, 9.0)]
    found = pays(run(*rounds, polluted={"3": "noise"}, all_cores=(2,)))

    assert (found.alone.epoch, found.together.epoch) == ((10.0, 12.0), (5.0, 6.0))
    assert (found.alone.cores, found.together.cores) == (1, 2)
    assert found.all_cores == (Jobs(2, (6.0,), (6.0,)), Jobs(2, (5.0,), (6.0,)))
    assert found.copies == (Jobs(2, (11.0,), (6.0,)), Jobs(2, (5.0,), (6.0,)))
    assert found.start == 3.0


def test_a_round_of_several_epochs_counts_each() -> None:
    trial = measurement(spec(0, "timing", epochs=2), 1, seconds=10.0)

    assert Jobs.of(1, UPDATES, [trial]) == Jobs(1, epoch=(5.0,), outside=(6.0,))


def test_a_round_of_the_first_updates_stands_for_whole_epochs() -> None:
    few, too_many = (measurement(replace(spec(0, "timing"), updates=made), 1, seconds=10.0) for made in (2, 100))

    assert Jobs.of(1, UPDATES, [few, too_many]).epoch == (10.0 * UPDATES / 2, 10.0)


def test_without_a_clean_round_there_is_no_break_even() -> None:
    aside = run(timing_round(1, 10.0, 5.0), polluted={"1": "noise"})

    assert summarise(aside, SPREAD).of(2).pays is None
    assert summarise(recorded(), Spread.load()).of(2).pays is None


def test_a_recorded_run_pays_from_about_one_epoch_on() -> None:
    found = summarise(recorded_night("equal"), Spread.load()).of(2).pays

    assert found is not None
    even = found.with_ray_up
    by_hand = fmean(found.together.outside) - fmean(found.alone.outside)
    by_hand /= fmean(found.alone.epoch) - fmean(found.together.epoch)
    assert even.answer == "pays"
    assert even.epochs == pytest.approx(by_hand)
