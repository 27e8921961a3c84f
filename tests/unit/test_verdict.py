"""Verdicts: the table, its order, and the exit codes."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.analysis.speedup import Speedup
from fixtures.analysis.verdict import Outcome, Verdict, decide, exit_code, inapplicable, worst

FAST = Speedup(2, (1.80, 1.82, 1.81))
SLOW = Speedup(2, (1.20, 1.22, 1.21))
UNSURE = Speedup(2, (1.40, 1.50, 1.60))


def judge(
    speedup: Speedup | None,
    *,
    threshold: float | None = 1.5,
    ceiling: float | None = 1.9,
    final: bool = True,
    unfit: str = "",
) -> Verdict:
    return decide(speedup, threshold, ceiling, final=final, inapplicable=unfit)


def test_a_lower_end_at_or_above_the_threshold_passes() -> None:
    assert judge(FAST) == Verdict(
        Outcome.PASS,
        "2 workers are 1.81x as fast as the baseline (98.3% interval 1.77x to 1.85x over 3 rounds): "
        "at least the 1.50x asked for.",
    )
    assert judge(Speedup(2, (1.5, 1.5))).outcome is Outcome.PASS


def test_an_interval_that_tells_nothing_is_called_so() -> None:
    verdict = judge(Speedup(1, (1.11, 0.59)), threshold=None, ceiling=None)

    assert verdict.why.startswith("1 worker is 0.81x as fast as the baseline (98.3% interval ")
    assert verdict.why.endswith(": 2 rounds are too few); no speedup is asked for.")


def test_an_upper_end_below_the_threshold_is_a_regression_at_any_look() -> None:
    assert judge(SLOW).why.endswith(": below the 1.50x asked for.")
    assert judge(SLOW).outcome is judge(SLOW, final=False).outcome is Outcome.REGRESSION


def test_an_interval_that_straddles_the_threshold_is_inconclusive_and_more_rounds_may_tell() -> None:
    assert judge(UNSURE).outcome is judge(UNSURE, final=False).outcome is Outcome.INCONCLUSIVE
    assert judge(UNSURE).why.endswith("the 1.50x asked for is inside the interval and no round is left.")
    assert judge(UNSURE, final=False).why.endswith("the 1.50x asked for is still inside the interval.")


def test_the_interval_of_a_look_is_wider_than_a_plain_one() -> None:
    speedup = Speedup(2, (1.56, 1.58, 1.60))

    assert speedup.interval(0.95).low > 1.53
    assert judge(speedup, threshold=1.53).outcome is Outcome.INCONCLUSIVE


def test_a_machine_whose_ceiling_is_below_the_threshold_cannot_show_a_regression_but_a_speedup() -> None:
    verdict = judge(SLOW, ceiling=1.3)

    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.why.endswith("the machine cannot show 1.50x, independent copies reach 1.30x on it.")
    assert judge(FAST, ceiling=1.3).outcome is Outcome.PASS
    assert judge(SLOW, ceiling=None).outcome is Outcome.REGRESSION  # one that was not measured excuses nothing


@pytest.mark.parametrize("speedup", [FAST, SLOW, UNSURE, None])
def test_too_few_cores_make_speedup_not_applicable_whatever_was_measured(speedup: Speedup | None) -> None:
    unfit = inapplicable(4, 1, 1, 4)

    assert judge(speedup, unfit=unfit) == Verdict(Outcome.NOT_APPLICABLE, "Speedup needs 5 cores, this cluster has 4.")


def test_enough_cores_make_it_applicable_unless_they_are_promised_to_others_as_well() -> None:
    assert inapplicable(2, 2, 1, 5) == ""
    assert inapplicable(2, 2, 1, 5, overcommitted=True).startswith("Speedup needs CPUs that are promised")
    assert "needs 5 cores" in inapplicable(2, 2, 1, 4, overcommitted=True)


@pytest.mark.parametrize("threshold", [1.5, None])
def test_one_round_or_none_is_inconclusive(threshold: float | None) -> None:
    one = judge(Speedup(2, (9.0,)), threshold=threshold)

    assert one.outcome is Outcome.INCONCLUSIVE
    assert one.why == "One round only: 2 workers are 9.00x as fast as the baseline, spread unknown."
    assert judge(None, threshold=threshold) == Verdict(Outcome.INCONCLUSIVE, "No round was measured.")


def test_one_worker_passes_with_its_figure_since_no_speedup_is_asked_of_it() -> None:
    verdict = judge(Speedup(1, (0.90, 0.92)), threshold=None, ceiling=None)

    assert verdict.outcome is Outcome.PASS
    assert verdict.why.startswith("1 worker is 0.91x as fast as the baseline (98.3% interval ")
    assert verdict.why.endswith("; no speedup is asked for.")


def test_a_sentence_shows_as_many_digits_as_tell_its_numbers_apart() -> None:
    verdict = judge(Speedup(2, (1.4995, 1.4996, 1.4995)), ceiling=None)

    assert verdict.outcome is Outcome.REGRESSION
    assert "1.4995x as fast" in verdict.why
    assert "1.4993x to 1.4998x over 3 rounds): below the 1.5000x asked for." in verdict.why


@settings(deadline=None)
@given(
    ratios=st.lists(st.floats(0.1, 10), min_size=2, max_size=12),
    threshold=st.floats(0.1, 10),
    ceiling=st.none() | st.floats(0.1, 10),
    final=st.booleans(),
)
def test_no_verdict_gets_better_when_more_is_asked(
    ratios: list[float], threshold: float, ceiling: float | None, final: bool
) -> None:
    speedup = Speedup(2, tuple(ratios))
    easy = judge(speedup, threshold=threshold, ceiling=ceiling, final=final)
    hard = judge(speedup, threshold=threshold * 1.5, ceiling=None, final=final)

    assert hard.outcome.badness >= easy.outcome.badness
    assert easy.settled == (easy.outcome is not Outcome.INCONCLUSIVE)


ORDER = [Outcome.REGRESSION, Outcome.INFRA, Outcome.INCONCLUSIVE, Outcome.PASS, Outcome.NOT_APPLICABLE]


@pytest.mark.parametrize(("worse", "better"), list(itertools.combinations(ORDER, 2)))
def test_a_run_has_the_verdict_of_its_worst_part(worse: Outcome, better: Outcome) -> None:
    parts = [Verdict(better, "Better."), Verdict(worse, "Worse.")]

    assert worst(parts) == worst(reversed(parts)) == Verdict(worse, "Worse.")


def test_a_run_gives_the_reasons_of_all_parts_that_are_as_bad_each_once() -> None:
    parts = [Verdict(Outcome.INFRA, why) for why in ("No image.", "Lost node.", "No image.")]

    assert worst(parts).why == "No image. Lost node."


def test_a_run_that_measured_nothing_or_in_which_no_count_was_applicable_is_inconclusive() -> None:
    skipped = worst([Verdict(Outcome.NOT_APPLICABLE, "Too few cores.")])

    assert skipped == Verdict(Outcome.INCONCLUSIVE, "No worker count was applicable. Too few cores.")
    assert worst([]) == Verdict(Outcome.INCONCLUSIVE, "Nothing was measured.")


@pytest.mark.parametrize(
    ("outcome", "code", "strict_code"),
    [
        (Outcome.PASS, 0, 0),
        (Outcome.REGRESSION, 1, 1),
        (Outcome.INFRA, 11, 11),
        (Outcome.INCONCLUSIVE, 0, 10),
        (Outcome.NOT_APPLICABLE, 0, 0),
    ],
)
def test_each_outcome_has_its_exit_code(outcome: Outcome, code: int, strict_code: int) -> None:
    assert exit_code(outcome, strict=False) == code
    assert exit_code(outcome, strict=True) == strict_code
