"""The regression gate: what is an alarm, what is none, and what it says."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fixtures.analysis.judgement import Judgement, Metric
from fixtures.history.gate import MIN_ROUNDS, REFERENCE, RERUN_MOST, Reference, judge
from fixtures.history.sample import Measure, Sample, estimate
from tests.unit.samples import OVERHEAD, SPEEDUP, TRAINING, equal_samples, measure, sample

PAST = equal_samples()


def kinds(judgement: Judgement) -> list[tuple[Metric, str]]:
    return [(each.metric, each.kind) for each in judgement.findings]


def without(of: Sample, *metrics: Metric, why: str = "") -> Sample:
    left = {metric: each for metric, each in of.measures.items() if metric not in metrics}
    return replace(of, measures=left, absent=dict.fromkeys(metrics, why) if why else {})


def bad(number: int, share: float = 0.88) -> Sample:
    return sample(number, 1.6 * share, rerun=1.6 * share)


# One value a run


@pytest.mark.parametrize(
    ("values", "value", "count", "wild"),
    [
        ([0.99, 1.0, 1.01, 1.0, 0.98, 1.02, 50.0], 1.0, 6, 1),
        ([0.99, 1.0, 1.01, 1.0, 0.98, 1.02, -50.0], 1.0, 6, 1),
        ([1.0, 2.0, 3.0], 2.0, 3, 0),
        ([5.0, 5.0, 5.0, 7.0], 5.5, 4, 0),  # half of them equal tells nothing about the others
    ],
)
def test_a_wild_value_does_not_count_and_honest_ones_do(
    values: list[float], value: float, count: int, wild: int
) -> None:
    run = estimate(values)

    assert run.value == pytest.approx(value)
    assert (run.count, run.wild) == (count, wild)
    assert estimate([1.0, 2.0, 3.0]).variance == 1.0


def test_more_rounds_in_a_run_make_no_more_runs() -> None:
    few, many = (
        Reference.of([replace(each.measures[SPEEDUP], rounds=each.measures[SPEEDUP].rounds * times) for each in PAST])
        for times in (1, 100)
    )

    assert many.level_variance > 0.9 * few.level_variance  # what runs scatter is left, however long they are


def test_runs_that_scatter_more_widen_the_limits() -> None:
    calm = [measure(1.6) for _ in range(REFERENCE)]
    wild = [measure(1.6 * (1.08 if number % 2 else 0.92)) for number in range(REFERENCE)]

    assert Reference.of(wild).error(calm[0].first) > 1.5 * Reference.of(calm).error(calm[0].first)


# Drops


def test_an_equal_run_is_no_finding_and_says_what_would_be_one() -> None:
    judgement = judge(PAST, sample(20))

    assert (judgement.findings, judgement.comparable, judgement.rerun) == ((), REFERENCE, 0)
    speedup, training, overhead = judgement.notes
    assert speedup.startswith("The speedup of 2 workers is 0.")
    assert "a drop of 5." in speedup
    assert "rise of" not in speedup
    assert all("rise of" in note and "drop of" not in note for note in (training, overhead))


def test_a_drop_is_first_suspected_and_asks_for_more_rounds() -> None:
    judgement = judge(PAST, sample(20, 1.6 * 0.9))

    assert kinds(judgement) == [(SPEEDUP, "suspected")]
    assert judgement.rerun == 8  # quiet rounds: as many again are enough
    assert not judgement.alarms


def test_a_drop_that_is_seen_again_in_the_same_run_is_an_alarm_that_names_the_commits() -> None:
    judgement = judge([*PAST, sample(15)], sample(20, 1.6 * 0.9, rerun=1.6 * 0.9))

    (alarm,) = judgement.alarms
    assert (alarm.metric, alarm.kind, alarm.first_bad, alarm.last_good) == (SPEEDUP, "drop", "commit20", "commit15")
    assert alarm.change == pytest.approx(-0.1, abs=0.005)
    assert "10.0% below its reference" in alarm.why
    assert "first bad commit20, last good commit15" in alarm.why
    assert judgement.rerun == 0


STILL = [sample(number) for number in range(REFERENCE)]
SCATTERED = [sample(number, 1.6 * (1.08 if number % 2 else 0.92)) for number in range(REFERENCE)]


@pytest.mark.parametrize(
    ("past", "share", "again"),
    [
        pytest.param(PAST, 0.85, 1.0, id="the rerun does not show it"),
        pytest.param(STILL, 0.965, 0.965, id="significant but smaller than the factor"),
        pytest.param(SCATTERED, 0.92, 0.92, id="larger than the factor but within the scatter"),
    ],
)
def test_a_drop_that_is_none(past: Sequence[Sample], share: float, again: float) -> None:
    judgement = judge(past, sample(20, 1.6 * share, rerun=1.6 * again))

    assert judgement.findings == ()
    assert judgement.notes[0].startswith("Run again in the same night, the speedup")


def test_noisy_rounds_ask_for_more_of_them_within_bounds() -> None:
    noisy = [
        replace(each, measures={SPEEDUP: Measure((1.2, 2.0, 1.3, 1.9, 1.4, 1.8, 1.5, 1.7))}) for each in equal_samples()
    ]
    current = replace(sample(20), measures={SPEEDUP: Measure((1.1, 1.8, 1.1, 1.7, 1.2, 1.6, 1.3, 1.5))})

    assert judge(noisy, current).rerun == RERUN_MOST * 8


@pytest.mark.parametrize("slower", [TRAINING, OVERHEAD])
def test_training_time_and_overhead_are_judged_too_where_less_is_better(slower: Metric) -> None:
    bad = sample(20, rerun=1.6)
    value = 1.3 * {TRAINING: 40.0, OVERHEAD: 10.0}[slower]
    bad = replace(bad, measures={**bad.measures, slower: measure(value, value)})

    (alarm,) = judge(PAST, bad).alarms

    assert alarm.metric == slower
    assert alarm.change == pytest.approx(0.3, abs=0.02)
    assert "above its reference" in alarm.why


def test_an_improvement_is_reported_and_never_a_failure() -> None:
    judgement = judge(PAST, sample(20, 1.6 * 1.2))

    assert kinds(judgement) == [(SPEEDUP, "improvement")]
    assert not judgement.alarms
    assert not judgement.findings[0].open
    assert judgement.findings[0].change == pytest.approx(0.2, abs=0.01)


# Since when


@pytest.mark.parametrize(
    ("history", "number", "first_bad", "last_good", "why"),
    [
        ([*PAST, sample(12), bad(13), bad(14)], 15, "commit13", "commit12", "a step that lasts, 3 nights by now"),
        ([*PAST, bad(12), *map(sample, range(13, 17))], 17, "commit17", "commit16", "seen for the first night"),
        (PAST, 12, "commit12", "", "last good one of the reference nights"),
    ],
    ids=["a step that lasts", "a new drop after an old outlier", "a drop right after the reference"],
)
def test_an_alarm_names_the_run_in_which_the_drop_came(
    history: Sequence[Sample], number: int, first_bad: str, last_good: str, why: str
) -> None:
    (alarm,) = judge(history, bad(number)).alarms

    assert (alarm.first_bad, alarm.last_good) == (first_bad, last_good)
    assert why in alarm.why


def test_an_outlier_that_is_gone_again_is_told_from_a_step() -> None:
    judgement = judge([*PAST, sample(12), bad(13)], sample(14))

    assert not judgement.alarms
    assert "The drop at commit13 was not seen again: a single outlier." in judgement.notes


def test_a_slow_drift_does_not_carry_the_reference_along() -> None:
    samples = list(PAST)
    for step in range(1, 16):
        current = bad(20 + step, 0.99**step)
        if judge(samples, current).alarms:
            break
        samples.append(current)

    assert 4 <= step <= 8


# What cannot be compared


def test_without_enough_runs_of_this_machine_the_gate_says_so_and_judges_nothing() -> None:
    past = [replace(sample, traits={"cpu": "A", "quick": "true"}) for sample in PAST]
    few = judge(PAST[:3], bad(20))
    elsewhere = judge(past, replace(bad(20, 0.5), like="there", traits={"cpu": "A", "quick": "false"}))

    assert few.findings == elsewhere.findings == ()
    assert elsewhere.comparable == 0
    assert few.notes == (f"No comparable history yet: 3 of {REFERENCE} nights.",)
    assert elsewhere.notes == (
        f"No comparable history yet: 0 of {REFERENCE} nights; {len(PAST)} runs not comparable: quick true, not false.",
    )


def test_back_on_the_first_machine_its_own_history_counts() -> None:
    history = [*PAST, *(replace(sample(number, 0.8), like="there") for number in range(12, 16))]

    assert judge(history, bad(20)).alarms
    assert not judge(history, sample(20)).alarms


def test_a_metric_that_is_new_waits_for_its_own_runs() -> None:
    judgement = judge([without(night, TRAINING) for night in PAST], sample(20))

    assert judgement.findings == ()
    assert judgement.notes[-1].startswith(f"No comparable history yet: 0 of {REFERENCE} nights for the training time")


@pytest.mark.parametrize(
    ("why", "kind", "said"),
    [
        ("", "vanished", "The speedup of 2 workers vanished: earlier nights have it, this one does not."),
        ("skipped: Speedup needs 3 cores.", "skipped", "The speedup of 2 workers: skipped: Speedup needs 3 cores."),
        ("nothing was measured: no clean round.", "nothing measured", "The speedup of 2 workers: nothing was measured"),
    ],
)
@pytest.mark.parametrize("past", [PAST, PAST[:2]], ids=["full", "two samples"])
def test_a_benchmark_that_is_gone_is_an_alarm(past: Sequence[Sample], why: str, kind: str, said: str) -> None:
    (alarm,) = judge(past, without(sample(20), SPEEDUP, why=why)).alarms

    assert (alarm.kind, alarm.change) == (kind, None)
    assert alarm.why.startswith(said)


def test_a_benchmark_that_ran_once_by_chance_is_not_missed() -> None:
    extra = replace(PAST[0], measures={**PAST[0].measures, Metric("speedup", 4): measure(2.5)})

    assert not judge([extra, *PAST[1:]], sample(20)).findings


def test_a_run_of_too_few_rounds_leaves_the_question_open_and_makes_no_reference() -> None:
    short = {metric: Measure(value.rounds[: MIN_ROUNDS - 1]) for metric, value in sample(20, 0.8).measures.items()}

    judgement = judge(PAST, replace(sample(20), measures=short))

    assert {(finding.kind, finding.open) for finding in judgement.findings} == {("too few rounds", True)}
    assert len(judgement.findings) == 3
    assert not judgement.alarms
    earlier = [replace(night, measures=short) for night in equal_samples(30)]
    assert "0 of" in judge(earlier, sample(20)).notes[0]


def test_several_worker_counts_share_one_false_alarm_rate() -> None:
    def also_four(of: Sample, share: float = 1.0) -> Sample:
        return replace(of, measures={**of.measures, Metric("speedup", 4): measure(2.5 * share)})

    alone = judge(PAST, sample(20)).notes[0]
    beside = judge([also_four(each) for each in PAST], also_four(sample(20))).notes[0]

    assert alone != beside  # the limit is wider
