"""The speed targets: met, missed or not shown, and only between equal trainings."""

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.rounds import GROUPS, Bench, Configuration, Trial, VariantTrial
from benchmarks.table import render
from benchmarks.targets import Outcome, all_met, at_least, at_most, facts, fastest, judge, prove, prove_variant
from fixtures.analysis.speedup import Ratios, mean_interval
from fixtures.errors import UnequalWorkError
from tests.unit.benches import bench, steady, trial, variant_trial
from tests.unit.trials import BATCH, MEANS, SAID, SPREAD, with_all_ranks, with_epoch
from trainer import schedule


def ratios(*values: float) -> Ratios:
    return Ratios(1, values)


def outcome(made: Bench, what: str) -> Outcome:
    (finding,) = [finding for finding in judge(made) if finding.what.startswith(what)]
    return finding.outcome


# One target


@pytest.mark.parametrize(
    ("values", "low_end", "expected"),
    [
        ((0.96, 0.961, 0.959), True, Outcome.MET),
        ((0.90, 0.901, 0.899), True, Outcome.MISSED),
        ((0.90, 1.02, 0.95), True, Outcome.NOT_SHOWN),
        ((0.90, 1.02, 0.96), False, Outcome.MET),
        ((0.90, 1.00, 0.94), False, Outcome.MISSED),
        ((0.99,), False, Outcome.NOT_SHOWN),
        ((0.99,), True, Outcome.NOT_SHOWN),
    ],
)
def test_a_ratio_is_judged_by_its_low_end_or_by_its_estimate(
    values: tuple[float, ...], low_end: bool, expected: Outcome
) -> None:
    assert at_least("it", ratios(*values), 0.95, low_end=low_end).outcome is expected


def test_a_target_without_a_round_is_not_shown_and_has_no_figure() -> None:
    found = at_least("it", None, 0.95, low_end=True)

    assert (found.outcome, found.figure, found.interval, found.rounds) == (Outcome.NOT_SHOWN, None, None, 0)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((4.0, 4.1, 3.9), Outcome.MET),
        ((6.0, 6.1, 5.9), Outcome.MISSED),
        ((4.0, 7.0, 3.0), Outcome.NOT_SHOWN),
        ((4.0,), Outcome.NOT_SHOWN),
        ((), Outcome.NOT_SHOWN),
    ],
)
def test_a_time_is_judged_by_the_upper_end_of_its_mean(seconds: tuple[float, ...], expected: Outcome) -> None:
    assert at_most("it", seconds, 5.0).outcome is expected


def test_the_interval_of_a_mean_is_students() -> None:
    interval = mean_interval([1.0, 2.0, 3.0])  # t(0.975, 2) = 4.3027

    assert (interval.low, interval.high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), rel=1e-4)


# All targets


def test_a_bench_that_reaches_everything_but_the_overhead_says_so() -> None:
    made = bench(6)  # the jobs of these trials last 6 s longer than their training

    assert {finding.what: finding.outcome for finding in judge(made)} == {
        "share of the ceiling, batch 128": Outcome.MET,
        "share of the ceiling, batch 256": Outcome.MET,
        "share of the ceiling, batch 512": Outcome.MET,
        "T(fastest variant) / T(baseline): Keras 3 fit": Outcome.MET,
        "T(Keras 3 fit) / T(baseline)": Outcome.MET,
        "T(baseline) / T(the CNN as a user's Keras file)": Outcome.MET,
        "T(2 ranks without Ray) / T(Ray Train, 2 workers)": Outcome.MET,
        "job clock - training clock, baseline": Outcome.MISSED,
        "job clock - training clock, 2 workers": Outcome.MET,
    }
    assert not all_met(judge(made))
    assert all_met(judge(bench(6, ("noray",))))


def test_without_any_target_nothing_is_met() -> None:
    assert not all_met(())


@pytest.mark.parametrize(
    ("group", "count"), [("ray", 3), ("batches", 2), ("variants", 2), ("noray", 1), ("keras", 1), ("peers", 0)]
)
def test_only_the_targets_of_the_groups_that_ran_are_judged(group: str, count: int) -> None:
    assert len(judge(bench(2, (group,)))) == count


def test_workers_that_fall_behind_the_copies_miss_the_ceiling() -> None:
    def slow(configuration: Configuration, number: int) -> float:
        return steady(configuration, number) * (1.2 if configuration.kind == "workers" else 1)

    made = bench(6, clock=slow)

    missed = {finding.what for finding in judge(made) if finding.outcome is Outcome.MISSED}
    assert {f"share of the ceiling, batch {size}" for size in (128, 256, 512)} < missed
    assert outcome(made, "T(2 ranks without Ray)") is Outcome.MISSED
    assert outcome(made, "T(fastest variant") is Outcome.MET


def test_a_users_keras_file_may_take_a_twentieth_longer_than_the_built_in_cnn() -> None:
    def slower(configuration: Configuration, number: int) -> float:
        return steady(configuration, number) * (1.05 if configuration.kind == "keras" else 1)

    assert outcome(bench(6, ("keras",)), "T(baseline) / T(the CNN as") is Outcome.MET
    assert outcome(bench(6, ("keras",), slower), "T(baseline) / T(the CNN as") is Outcome.MISSED


def test_what_ray_trains_helpers_cost_is_a_difference_inside_the_rounds_by_two_clocks() -> None:
    measured = {fact.what: fact for fact in facts(bench(3, ("helpers",)))}

    training, job = (measured[f"what Ray Train's helpers cost, {clock} clock"] for clock in ("training", "job"))
    assert (training.figure, job.figure) == pytest.approx((0.1, 0.1), rel=1e-2)  # the other seconds of a job are equal
    assert (training.unit, training.rounds) == ("s", 3)
    assert training.interval is not None
    assert not any("helpers" in fact.what for fact in facts(bench(3, ("noray",))))


def test_the_baseline_is_compared_with_the_variant_that_is_the_fastest_over_all_rounds() -> None:
    def clock(configuration: Configuration, number: int) -> float:
        return 9.0 if configuration.variant == "tf-keras, epoch graph" else steady(configuration, number)

    made = bench(4, ("variants",), clock)

    assert fastest(made) == "tf-keras, epoch graph"
    assert outcome(made, "T(fastest variant) / T(baseline): tf-keras, epoch graph") is Outcome.MISSED
    assert outcome(made, "T(Keras 3 fit)") is Outcome.MET


def test_speedups_and_ceilings_stand_beside_the_targets() -> None:
    found = {fact.what: fact.figure for fact in facts(bench(4))}

    assert found["S(2), batch 128"] == pytest.approx(2.0)
    assert found["ceiling, batch 256"] == pytest.approx(2.0)
    assert found["T(2 workers, batch 512)"] == pytest.approx(5.0)
    assert found["T(tf-keras fit)"] == pytest.approx(12.0, rel=1e-3)


def test_the_table_names_targets_rounds_set_aside_and_the_machine() -> None:
    made = bench(3, set_aside={"2": "2 copies: [other] programs"})

    text = render(made, judge(made), facts(made))

    for words in ("share of the ceiling, batch 128", "lower end >= 0.95", "1.000", "met", "not shown", "5.00 s"):
        assert words in text
    assert "round 2 set aside: 2 copies: [other] programs" in text
    assert "A CPU, 2 usable cores, 8 GiB; Linux 6" in text
    assert "tf_keras 3.15.1" in text
    assert max(map(len, text.splitlines())) <= 120


def test_a_bench_without_a_clean_round_still_has_a_table() -> None:
    made = bench(1, set_aside={"1": "noise"})

    assert "not shown" in render(made, judge(made), facts(made))


# The same work


def at_batch(made: Trial) -> Trial:
    """The trials of these tests are of the batch size that their unit tests can count on."""
    return replace(made, configuration=replace(made.configuration, batch_size=BATCH))


def equal_work() -> Bench:
    kinds = (Configuration("baseline"), Configuration("workers"), Configuration("ranks"), Configuration("copies"))
    trials = tuple(at_batch(trial(kind, 1, 10.0)) for kind in kinds)
    variant = variant_trial(Configuration("variant", BATCH, "Keras 3 fit"), 1)
    return replace(bench(1, ("ray",)), trials=trials, variants=(variant,))


def tampered(made: Bench, kind: str) -> Bench:
    """One rank of a configuration holds other weights at the end, or trained on other samples."""
    trials = []
    for ended in made.trials:
        measured = ended.measurement
        if ended.configuration.kind == kind:
            measured = replace(measured, result=with_epoch(measured.result, 1, coverage="0" * 32))
        trials.append(replace(ended, measurement=measured))
    return replace(made, trials=tuple(trials))


def test_equal_work_is_proven() -> None:
    prove(equal_work(), SPREAD)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("workers", "2 workers"), ("ranks", "2 ranks without Ray"), ("copies", "2 copies")],
)
def test_other_work_is_found_in_every_configuration_and_in_rounds_that_were_set_aside(kind: str, name: str) -> None:
    made = replace(tampered(equal_work(), kind), set_aside={"1": "noise"})

    with pytest.raises(UnequalWorkError, match=f"^{name}, batch {BATCH}, round 1: .*did not train on the samples"):
        prove(made, SPREAD)


def test_a_keras_file_has_weights_and_losses_of_its_own_and_no_samples_or_resources() -> None:
    """It says of itself what differs by nature; the rest must be the baseline's."""
    own = at_batch(trial(Configuration("keras"), 1, 10.0))
    first = own.measurement.result.ranks[0].epochs[0]

    def made(loss: float = first.loss, **changes: Any) -> Bench:
        epochs = (replace(first, first_losses=(2.0,) * 10, loss=loss),)
        ranks = with_all_ranks(own.measurement.result, **SAID | {"epochs": epochs} | changes)
        keras = replace(own, measurement=replace(own.measurement, result=ranks))
        return replace(equal_work(), trials=(*equal_work().trials, keras))

    prove(made(), SPREAD)
    with pytest.raises(UnequalWorkError, match=r"user's Keras file, batch 6000, round 1: .*Seed: 5 on rank 0"):
        prove(made(seed=5), SPREAD)
    with pytest.raises(UnequalWorkError, match="Threads inside an operation: 2 on rank 0, 1 in the baseline"):
        prove(made(means=replace(MEANS, intra_threads=2)), SPREAD)
    with pytest.raises(UnequalWorkError, match=r"training loss of epoch 1 is 2\.3000"):
        prove(made(loss=2.3), SPREAD)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"updates": 5}, "Keras 3 fit, batch 6000, round 1: updates 5, the baseline's 10"),
        ({"samples": 6}, "samples 6, the baseline's 60,000"),
        ({"intra_threads": 2}, "intra threads 2, the baseline's 1"),
        ({"cores": 2}, "cores 2, the baseline's 1"),
        ({"niceness": 15}, "niceness 15, the baseline's 0"),
        ({"loss": 2.3}, "training loss is 2.3000, the baseline's 0.3000: further apart than 0.0566"),
    ],
)
def test_a_variant_that_did_other_work_or_did_not_learn_is_found(changes: dict[str, float], why: str) -> None:
    made = equal_work()
    variant: VariantTrial = made.variants[0]
    changed = replace(variant, result=replace(variant.result, **changes))  # type: ignore[arg-type]

    prove_variant(variant, made.trials[0].measurement, SPREAD)
    with pytest.raises(UnequalWorkError, match=why):
        prove(replace(made, variants=(changed,)), SPREAD)


def test_the_honest_bench_of_these_tests_has_the_updates_of_an_epoch() -> None:
    assert schedule.updates_per_epoch(BATCH) == 10
    assert set(bench(1).groups) == set(GROUPS)
