"""What the page says first: one sentence with the numbers, and what to do next when it is not PASS."""

from dataclasses import replace

import pytest

from fixtures.analysis.measurement import Failure, Run
from fixtures.analysis.summary import summarise
from fixtures.analysis.verdict import Outcome
from fixtures.report.sentences import explain_nothing_measured, make_headline
from tests.unit.trials import SETTINGS, SPREAD, measurement, run, spec, timing_round, with_all_epochs

FAST = [timing_round(number, 10.0, 5.5 + number / 100, 10.4) for number in (1, 2, 3)]
SLOW = [timing_round(number, 10.0, 8.0 + number / 100, 10.4) for number in (1, 2, 3)]
WILD = [timing_round(number, 10.0, 5.0 + number, 10.4) for number in (1, 2, 3)]
CROWDED = [timing_round(number, 10.0, 8.0 + number / 100, 15.0) for number in (1, 2, 3)]
BOTH = [(*FAST[n - 1], *timing_round(n, 10.0, 3.0 + n / 100, 11.2, workers=4)[1:]) for n in (1, 2, 3)]


def said(measured: Run) -> str:
    return make_headline(summarise(measured, SPREAD)).sentence


def steps(measured: Run) -> str:
    return " ".join(make_headline(summarise(measured, SPREAD)).next)


def test_a_pass_is_one_sentence_with_interval_share_proof_and_threshold_and_asks_for_nothing() -> None:
    found = make_headline(summarise(run(*FAST), SPREAD))

    assert found.sentence == (
        "2 Ray workers train 1.81x (1.80 to 1.82) as fast as one process on one core; a whole job pays from the "
        "first epoch on. The workers reach 0.94 of what this machine can show. Same work proven. PASS at 1.50x."
    )
    assert (found.outcome, found.next, found.why) == (Outcome.PASS, (), "")


ALONE = [timing_round(number, 10.0, 5.5 + number / 100, all_cores=5.3 + number / 20) for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("measured", "half"),
    [
        pytest.param(
            run(*ALONE, all_cores=(2,), usable_cores=2),
            ", and 0.98x (0.96 to 1.00) as fast as one process on both cores;",
            id="both cores",
        ),
        pytest.param(run(*ALONE, all_cores=(2,)), " as fast as one process on 2 cores;", id="two of eight cores"),
        pytest.param(
            run(*FAST, settings=replace(SETTINGS, all_cores=False), all_cores=()),
            "; one process on 2 cores was not measured (--no-all-cores);",
            id="left out",
        ),
        pytest.param(run(*FAST), "as fast as one process on one core; a whole job", id="an older run"),
    ],
)
def test_the_sentence_names_one_process_on_all_cores_or_why_it_was_not_measured(measured: Run, half: str) -> None:
    assert half in said(measured)


def test_the_comparison_that_decides_the_verdict_speaks_first() -> None:
    slow_fours = [(*FAST[n - 1], *timing_round(n, 10.0, 8.0 + n / 100, 11.2, workers=4)[1:]) for n in (1, 2, 3)]

    found = make_headline(summarise(run(*slow_fours, counts=(2, 4)), SPREAD))

    assert found.sentence.startswith("4 Ray workers train 1.25x")
    assert found.outcome is Outcome.REGRESSION
    assert [other[:13] for other in found.others] == ["2 Ray workers"]


def test_of_several_that_pass_the_fastest_speaks_first() -> None:
    assert said(run(*BOTH, counts=(2, 4))).startswith("4 Ray workers train 3.31x")


@pytest.mark.parametrize(
    ("measured", "advice"),
    [
        pytest.param(run(*SLOW), "look at what they do besides computing, the all-reduce first", id="slow workers"),
        pytest.param(
            run(*[timing_round(n, 10.0, 6.8 + n / 100, 13.2) for n in (1, 2, 3)]), "what else the cores", id="near"
        ),
        pytest.param(
            run(*[timing_round(n, 10.0, 8.0 + n / 100) for n in (1, 2, 3)]), "compare OLD NEW", id="slow, no ceiling"
        ),
        pytest.param(run(*WILD), "run more rounds (--rounds=24 --time-budget=30m)", id="straddles"),
        pytest.param(run(FAST[0], settings=replace(SETTINGS, rounds=1)), "run it without --quick", id="one round"),
        pytest.param(run(*WILD, budget_ended=True), "--time-budget=30m", id="budget"),
        pytest.param(run(*CROWDED), "no training can show 1.5x on it", id="ceiling below"),
        pytest.param(
            run(*FAST, polluted=dict.fromkeys("123", "noise")), "stop what else runs on this machine", id="polluted"
        ),
        pytest.param(run(usable_cores=1), "at least 2 free cores, or ask for --workers=1 at most", id="few cores"),
        pytest.param(run(accuracy=[measurement(spec(0))]), "the logs in evidence/", id="missing trial"),
        pytest.param(
            run(accuracy=[], failures=(Failure("run", "Infra", "A node is gone.", ""),)), "run it again", id="infra"
        ),
    ],
)
def test_what_to_do_next_is_about_what_happened(measured: Run, advice: str) -> None:
    assert advice in steps(measured)


def test_a_count_that_does_not_fit_the_machine_is_no_failure_but_says_what_it_needs() -> None:
    found = make_headline(summarise(run(*BOTH, counts=(2, 4), usable_cores=2), SPREAD))

    assert found.outcome is Outcome.PASS
    assert found.sentence.startswith("2 Ray workers")
    assert found.next == ("Run 4 workers on a machine with at least 4 free cores, or ask for --workers=2 at most.",)


def test_unequal_work_has_no_speedup_and_no_threshold_in_its_sentence() -> None:
    parallel = measurement(spec(2))
    unequal = replace(parallel, result=with_all_epochs(parallel.result, loss=0.9))

    measured = run(*FAST, accuracy=[measurement(spec(0)), unequal])

    assert said(measured) == "2 Ray workers: no speedup measured. Same work NOT proven. REGRESSION."
    assert "No speedup counts before accuracy and same work are shown" in steps(measured)


def test_a_trial_that_is_missing_leaves_nothing_to_compare() -> None:
    assert said(run(accuracy=[measurement(spec(0))])) == (
        "2 Ray workers: no speedup measured. Same work not compared. REGRESSION."
    )


def test_a_run_without_any_measurement_names_each_cause_once_and_its_remedy() -> None:
    found = explain_nothing_measured([("No port is free.", "Free one."), ("No port is free.", "Free one.")])

    assert found.sentence == "The run ended before its first measurement. INFRA."
    assert found.why == "No port is free."
    assert found.next == ("Free one.", "Nothing was learnt about speed: run it again once the cause is gone.")
    assert found.outcome is Outcome.INFRA
