"""Verdicts from what trials handed over, and the way back from a file."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from fixtures.analysis.measurement import Failure, Measurement, Run
from fixtures.analysis.scaling import Prediction
from fixtures.analysis.summary import EndToEnd, Summary, summarise
from fixtures.analysis.verdict import Outcome
from fixtures.errors import MissingResultError
from fixtures.system.noise import Noise
from tests.unit.trials import (
    SCALING,
    SETTINGS,
    SPREAD,
    measurement,
    run,
    spec,
    timing_round,
    with_all_ranks,
    with_epoch,
    with_rank,
)

FAST = [timing_round(1, 10.0, 5.5, 10.4), timing_round(2, 10.2, 5.6, 10.5), timing_round(3, 9.9, 5.4, 10.3)]
SLOW = [timing_round(1, 10.0, 8.0, 10.4), timing_round(2, 10.2, 8.1, 10.5), timing_round(3, 9.9, 7.9, 10.3)]
WILD = [timing_round(1, 10.0, 8.0, 10.4), timing_round(2, 10.2, 5.0, 10.5), timing_round(3, 9.9, 7.0, 10.3)]


def judge(measured: Run) -> Summary:
    return summarise(measured, SPREAD)


def changed(trial: Measurement, **figures: object) -> Measurement:
    """The trial, but rank 0 hands over something else about its last epoch."""
    last = trial.spec.epochs - 1
    return replace(trial, result=with_epoch(trial.result, 0, epoch=last, **figures))


def test_fast_rounds_pass() -> None:
    summary = judge(run(*FAST))
    two = summary.of(2)

    assert summary.verdict == two.verdict
    assert two.verdict.outcome is Outcome.PASS
    assert two.speedup is not None
    assert two.speedup.ratios == pytest.approx((10 / 5.5, 10.2 / 5.6, 9.9 / 5.4))
    assert two.job_speedup is not None
    assert two.job_speedup.ratios[0] == pytest.approx(16 / 11.5)
    assert two.ceiling is not None
    assert two.ceiling.ratios[0] == pytest.approx(2 * 10 / 10.4)
    assert two.share is not None
    assert two.share.ratios[0] == pytest.approx(10.4 / (2 * 5.5))
    assert (two.rounds, two.threshold, len(two.proof)) == ((1, 2, 3), 1.5, 8)


def test_the_workers_are_compared_with_one_process_on_all_their_cores_too() -> None:
    rounds = [timing_round(number, 10.0, 5.5, all_cores=5.0) for number in (1, 2, 3)]
    two = judge(run(*rounds, all_cores=(2,), polluted={"3": "noise"})).of(2)

    assert two.all_cores is not None
    assert two.against_all_cores is not None
    assert two.all_cores.ratios == (2.0, 2.0)
    assert two.against_all_cores.ratios == pytest.approx((5.0 / 5.5, 5.0 / 5.5))
    assert two.all_cores_why == ""
    assert two.verdict.outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("why", "changes"),
    [
        ("--no-all-cores", {"settings": replace(SETTINGS, all_cores=False)}),
        ("no node has 2 cores: this is what more machines are for", {"all_cores": (3, 4)}),
        ("Speedup needs 2 cores, this cluster has 1.", {"usable_cores": 1}),
        ("an older version of the suite measured this run", {"all_cores": None}),
        ("no clean round of proven work measured it", {}),
    ],
)
def test_a_run_without_one_process_on_all_cores_says_why(why: str, changes: dict[str, Any]) -> None:
    two = judge(run(*FAST, **({"all_cores": (2,)} | changes))).of(2)

    assert (two.all_cores, two.against_all_cores, two.all_cores_why) == (None, None, why)


def test_one_process_on_all_cores_that_did_other_work_is_a_regression() -> None:
    *trials, alone = timing_round(1, 10.0, 5.5, all_cores=5.0)
    lazy = replace(alone, result=with_epoch(alone.result, 0, updates=9, samples=54_000))

    verdict = judge(run([*trials, lazy], all_cores=(2,))).verdict

    assert verdict.outcome is Outcome.REGRESSION
    assert verdict.why.startswith("1 process, 2 cores: The ranks trained on 54,000")


@pytest.mark.parametrize(
    ("asked", "outcome", "why"),
    [
        (None, Outcome.PASS, "2 workers are 1.82x as fast as the baseline"),
        (0.9, Outcome.PASS, "2 workers are 0.91x as fast as one process on 2 cores"),
        (0.95, Outcome.REGRESSION, "2 workers are 0.91x as fast as one process on 2 cores"),
    ],
)
def test_a_speedup_over_all_cores_is_asked_for_beside_the_one_over_the_baseline(
    asked: float | None, outcome: Outcome, why: str
) -> None:
    rounds = [timing_round(number, 10.0, 5.5 + number / 1000, all_cores=5.0) for number in (1, 2, 3)]
    settings = replace(SETTINGS, min_speedup_all_cores=asked)

    verdict = judge(run(*rounds, all_cores=(2,), settings=settings)).verdict

    assert verdict.outcome is outcome
    assert why in verdict.why


def test_a_speedup_over_all_cores_that_could_not_be_measured_leaves_the_run_undecided() -> None:
    verdict = judge(run(*FAST, all_cores=(), settings=replace(SETTINGS, min_speedup_all_cores=1.0))).verdict

    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.why == (
        "The workers were not compared with one process on 2 cores: "
        "no node has 2 cores: this is what more machines are for."
    )


def test_end_to_end_the_workers_wait_for_the_cluster_and_the_baseline_does_not() -> None:
    accuracy = [measurement(spec(0), seconds=30.0), measurement(spec(2), seconds=16.0)]  # and 6 s around each

    measured = run(*FAST, accuracy=accuracy)

    assert measured.phases["cluster"] == 3.0
    assert judge(measured).of(2).end_to_end == EndToEnd(baseline=36.0, cluster=3.0, parallel=25.0, speedup=1.44)


@pytest.mark.parametrize("missing", ["cluster", "baseline", "2 workers"])
def test_end_to_end_a_part_that_was_not_measured_is_not_taken_for_0(missing: str) -> None:
    measured = run(*FAST)
    phases = {name: seconds for name, seconds in measured.phases.items() if name != missing}
    trials = tuple(each for each in measured.measurements if each.round or each.spec.name != missing)

    assert judge(replace(measured, phases=phases, measurements=trials)).of(2).end_to_end is None


CROWDED = [timing_round(number, 10.0, 8.0 + number / 100, 19.0) for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("rounds", "outcome", "why"),
    [
        pytest.param(SLOW, Outcome.REGRESSION, "below the 1.50x asked for", id="slow"),
        pytest.param(WILD, Outcome.INCONCLUSIVE, "inside the interval", id="too different"),
        pytest.param(CROWDED, Outcome.INCONCLUSIVE, "the machine cannot show 1.50x", id="slow where none is faster"),
    ],
)
def test_other_rounds_do_not_pass(rounds: list[tuple[Measurement, ...]], outcome: Outcome, why: str) -> None:
    verdict = judge(run(*rounds)).verdict

    assert verdict.outcome is outcome
    assert why in verdict.why


def test_too_few_cores_are_not_applicable_and_a_run_without_any_other_count_is_inconclusive() -> None:
    summary = judge(run(usable_cores=1))

    assert summary.of(2).verdict.outcome is Outcome.NOT_APPLICABLE
    assert summary.of(2).proof
    assert summary.verdict.outcome is Outcome.INCONCLUSIVE


def refused(measured: Run, why: str, outcome: Outcome = Outcome.REGRESSION) -> None:
    """The run has this outcome, for this reason."""
    verdict = judge(measured).verdict
    assert verdict.outcome is outcome
    assert verdict.why.startswith(why)


def test_a_run_whose_cluster_failed_is_infra_with_cause_and_remedy() -> None:
    lost = Failure("run", "Infra", "A node is gone.", "See the evidence.")

    refused(run(failures=(lost,)), "A node is gone. See the evidence.", Outcome.INFRA)
    trials = [measurement(spec(0)), changed(measurement(spec(2)), samples=1)]  # unequal work stays a regression
    refused(run(accuracy=trials, failures=(lost,)), "")


@pytest.mark.parametrize(
    ("accuracy", "failures", "outcome", "why"),
    [
        (0.9810, (), Outcome.PASS, "2 epochs took 10.0 s and reached a test accuracy of 0.9810."),
        (0.9799, (), Outcome.REGRESSION, "The test accuracy of baseline is 0.9799 after 2 epochs, below the 0.98"),
        (None, (), Outcome.REGRESSION, "There is no accuracy trial of the baseline."),
        (None, (Failure("run", "Infra", "Node worker-2 is gone.", ""),), Outcome.INFRA, "Node worker-2 is gone."),
    ],
)
def test_a_run_of_the_baseline_alone_is_judged_by_its_work_and_accuracy(
    accuracy: float | None, failures: tuple[Failure, ...], outcome: Outcome, why: str
) -> None:
    trial = measurement(spec(0))
    trials = (
        [] if accuracy is None else [replace(trial, result=with_epoch(trial.result, 0, epoch=1, accuracy=accuracy))]
    )

    verdict = judge(run(counts=(), accuracy=trials, failures=failures)).verdict

    assert verdict.outcome is outcome
    assert why in verdict.why


def test_a_trial_without_a_figure_is_a_regression_of_its_own_count_only() -> None:
    four = measurement(spec(4), seconds=9.0)
    accuracy = [measurement(spec(0), seconds=30.0), four]
    rounds = [timing_round(number, 10.0, 3.0 + number / 100, 11.0, workers=4) for number in (1, 2, 3)]
    failed = Failure("2 workers", "MissingFigure", "2 workers: no result.", "")

    summary = judge(run(*rounds, counts=(2, 4), accuracy=accuracy, failures=(failed,)))

    assert summary.of(2).verdict.why == "2 workers: no result."
    assert summary.of(4).verdict.outcome is Outcome.PASS
    assert summary.verdict.outcome is Outcome.REGRESSION


@pytest.mark.parametrize(
    ("baseline", "parallel", "why"),
    [
        (0.979, 0.981, "The test accuracy of baseline is 0.9790 after 2 epochs, below the 0.98 asked for."),
        (0.986, None, "Rank 0 reported no test accuracy (got None). (see TROUBLESHOOTING: result-incomplete)"),
    ],
)
def test_an_accuracy_missing_or_too_low_is_a_regression(baseline: float, parallel: float | None, why: str) -> None:
    trials = [changed(measurement(spec(0)), accuracy=baseline), changed(measurement(spec(2)), accuracy=parallel)]

    refused(run(*FAST, accuracy=trials), why)


def test_unequal_work_in_any_round_is_a_regression_whatever_the_speed_and_shows_none() -> None:
    baseline, many, copies = FAST[1]
    cheat = replace(many, result=with_all_ranks(many.result, learning_rate=0.01))

    two = judge(run(FAST[0], (baseline, cheat, copies), FAST[2])).of(2)

    assert two.verdict.outcome is Outcome.REGRESSION
    assert two.verdict.why.startswith("Learning rate: 0.01 on rank 0")
    assert (two.speedup, two.speedup_of_all, two.end_to_end, two.ceiling, two.proof) == (None, None, None, None, ())


def test_a_ceiling_of_copies_that_did_less_work_excuses_nothing() -> None:
    baseline, many, copies = SLOW[1]
    lazy = replace(copies, result=with_epoch(copies.result, 1, updates=1))

    refused(run(SLOW[0], (baseline, many, lazy), SLOW[2]), "Copy 1 of 2: Rank 0 did 1 update")


def test_a_trial_that_took_no_time_or_an_absent_one_is_an_error_and_no_infinite_speedup() -> None:
    baseline, many, copies = FAST[1]
    instant = replace(many, result=with_epoch(many.result, 0, seconds=0.0))

    refused(
        run(FAST[0], (baseline, instant, copies), FAST[2]),
        "Rank 0 reported no training time for epoch 1 (got 0.0)",
    )
    refused(run(*FAST, accuracy=[measurement(spec(0))]), "There is no accuracy trial of the workers.")


def test_polluted_rounds_are_set_aside_whole_and_shown_with_and_without() -> None:
    noisy = timing_round(2, 10.0, 9.0, 10.4)
    polluted = {"2": "baseline: other programs kept 1.00 cores busy"}

    two = judge(run(FAST[0], noisy, FAST[2], timing_round(4, 10.0, 5.5, 10.4), polluted=polluted)).of(2)

    assert two.rounds == (1, 3, 4)
    assert two.speedup is not None
    assert two.speedup_of_all is not None
    assert (two.speedup.rounds, two.speedup_of_all.rounds) == (3, 4)
    assert two.speedup_of_all.ratios[1] == pytest.approx(10 / 9)
    assert two.ceiling is not None
    assert two.ceiling.rounds == 3


def test_a_run_without_a_clean_round_shows_the_polluted_ones_and_is_inconclusive() -> None:
    two = judge(run(FAST[0], polluted={"1": "noise"})).of(2)

    assert two.verdict.outcome is Outcome.INCONCLUSIVE
    assert two.speedup is None
    assert two.speedup_of_all is not None


def test_a_round_that_a_decided_count_no_longer_took_part_in_is_none_of_its_rounds() -> None:
    first = (*timing_round(1, 10.0, 5.5), *timing_round(1, 10.0, 3.0, workers=4)[1:])
    later = timing_round(2, 10.0, 3.1, workers=4)

    summary = judge(run(first, later, counts=(2, 4)))

    assert summary.of(2).rounds == (1,)
    assert summary.of(4).rounds == (1, 2)


def test_a_run_goes_through_its_file_unchanged_and_is_judged_the_same() -> None:
    noise = Noise(steal=None, throttled=None, foreign_cores=0.1, pressure=None)
    measured = run(
        *FAST,
        timing_round(4, 10.0, 9.0),
        accuracy=[measurement(spec(0), noise=noise), replace(measurement(spec(2)), started_at=None)],
        polluted={"4": "noise"},
        failures=(Failure("4 workers", "MissingFigure", "Gone.", ""),),
        budget_ended=True,
    )

    again = Run.from_json(measured.to_json())

    assert again == measured
    assert judge(again) == judge(measured)


@pytest.mark.parametrize(
    ("keys", "value", "why"),
    [
        ("result ranks 0 epochs 1 accuracy", None, r"[1].result.ranks[0].epochs[1].accuracy is missing"),
        ("spec kind", "guess", "[1].spec.kind: expected one of accuracy, timing, ceiling, all-cores"),
    ],
)
def test_a_figure_missing_or_of_another_kind_in_the_file_is_named(keys: str, value: str | None, why: str) -> None:
    content = json.loads(run(*FAST).to_json())
    *path, last = keys.split()
    part = content["measurements"][1]
    for key in path:
        part = part[int(key) if key.isdecimal() else key]
    if value is None:
        del part[last]
    else:
        part[last] = value

    with pytest.raises(MissingResultError, match=re.escape(f"measurements{why}")):
        Run.from_json(json.dumps(content))


def test_the_settings_of_a_run_are_read_back_from_it() -> None:
    strict = replace(SETTINGS, strict_verdict=True, quick=True, rounds=1, min_accuracy=0.95)

    assert Run.from_json(run(settings=strict).to_json()).settings == strict


def test_the_phases_of_a_trial_add_up_to_its_job_clock() -> None:
    trial = measurement(spec(2), seconds=10.0)

    assert sum(trial.phases.values()) == pytest.approx(trial.job_seconds) == 16.0
    assert next(iter(trial.phases)) == "submit"
    assert trial.phases["train"] == pytest.approx(10.0)


def predicted(*rounds: Sequence[Measurement], **more: Any) -> Prediction | None:
    return summarise(run(*rounds, **more), SPREAD, SCALING).of(2).prediction


def test_a_prediction_takes_nothing_that_the_workers_or_a_polluted_round_measured() -> None:
    faster = [(one, replace(two, result=measurement(two.spec, 1, 1.0).result), copy) for one, two, copy in FAST]
    slow = timing_round(4, 90.0, 50.0, 95.0)

    prediction = predicted(*FAST)
    assert prediction is not None
    assert prediction.scale == pytest.approx(1.0 / SCALING.step_seconds(1, SETTINGS.batch_size), rel=0.02)
    assert predicted(*faster) == predicted(*FAST, slow, polluted={"4": "x"}) == prediction


def test_nothing_is_predicted_where_the_model_does_not_apply() -> None:
    grpc = [[replace(m, result=with_all_ranks(m.result, collective="tensorflow")) for m in trials] for trials in FAST]
    apart = [[replace(m, result=with_rank(m.result, 0, host="there")) for m in trials] for trials in FAST]
    one = [timing_round(number, 10.0, 10.5, workers=1) for number in (1, 2)]

    assert predicted() is predicted(*grpc) is predicted(*apart) is predicted(*FAST, usable_cores=1) is None
    assert summarise(run(*one, counts=(1,)), SPREAD, SCALING).of(1).prediction is None
    assert judge(run(*FAST)).of(2).prediction is None  # no model was given
