"""What a sweep's rounds say: the same work, overheads, what early stopping saved and lost, and the verdict."""

from dataclasses import replace

import pytest

from fixtures.analysis.sweep import SIDES, Side, SweepRun, SweepSummary, shortest_seconds
from fixtures.analysis.verdict import Outcome
from fixtures.report.sweep import make_study, make_sweep_json, tabulate_scores
from tests.unit.sweeps import CONFIGURATIONS, one_pass, sweep_round, sweep_run, trained, with_trial
from tests.unit.trials import with_all_ranks, with_epoch
from trainer.result import Hardware

THREE = tuple(sweep_round(number, tune=24.0 + number / 10) for number in (1, 2, 3))


def test_the_shortest_time_is_that_of_trainings_side_by_side_to_which_nothing_is_added() -> None:
    assert shortest_seconds([10.0] * 8, 2) == 40.0
    assert shortest_seconds([10.0] * 3, 2) == 20.0
    assert shortest_seconds([1.0, 9.0, 1.0, 1.0], 2) == 9.0


def test_overhead_is_over_the_shortest_time_and_a_gain_over_another_way() -> None:
    summary = SweepSummary(sweep_run())
    overhead, gain = summary.overhead("tune"), summary.gain("tune", over="workers")

    assert overhead is not None
    assert gain is not None
    assert overhead.estimate == pytest.approx(24.0 / 20.0)
    assert gain.estimate == pytest.approx(36.0 / 24.0)


def test_early_stopping_saves_epochs_and_may_lose_score() -> None:
    summary = SweepSummary(sweep_run())

    assert summary.saved_epochs() == (2,)
    assert summary.lost_scores() == (0.0,)
    assert summary.run.rounds[0].of("asha").winner == 1

    stopped = with_trial(sweep_run(), "asha", 1, trained("asha", 1, epochs=1))
    assert SweepSummary(stopped).lost_scores() == pytest.approx((0.97 - 0.95,))
    assert SweepSummary(stopped).run.rounds[0].of("asha").winner == 0


def test_a_disturbed_round_counts_for_no_time_but_its_work_is_proven_all_the_same() -> None:
    calm, noisy = sweep_round(1), sweep_round(2, "C: other programs kept 1.00 cores busy (limit 0.25)", tune=99.0)
    summary = SweepSummary(sweep_run(calm, noisy))

    assert len(summary.clean) == 1
    assert "of 8 trainings are A's" in summary.same_work[0]


@pytest.mark.parametrize(
    ("limit", "outcome", "why"),
    [
        (1.5, Outcome.PASS, "at most the 1.5x asked for"),
        (1.21, Outcome.INCONCLUSIVE, "the 1.21x asked for is inside the interval"),
        (1.1, Outcome.REGRESSION, "more than the 1.1x asked for"),
        (None, Outcome.PASS, "no threshold is asked for"),
    ],
)
def test_the_verdict_is_about_the_overhead_of_ray_tune(limit: float | None, outcome: Outcome, why: str) -> None:
    verdict = SweepSummary(sweep_run(*THREE, max_overhead=limit)).verdict

    assert verdict.outcome is outcome
    assert why in verdict.why


def test_one_round_decides_nothing_about_time() -> None:
    verdict = SweepSummary(sweep_run()).verdict

    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "1.20x the time that its trainings need; one round only" in verdict.why


def test_without_a_core_for_each_training_no_overhead_is_judged() -> None:
    assert SweepSummary(sweep_run(*THREE, usable_cores=1)).verdict.outcome is Outcome.NOT_APPLICABLE


def test_honest_trainings_are_proven_and_equal_weights_counted() -> None:
    workers, tune, asha = SweepSummary(sweep_run()).same_work

    assert "losses of 4 trainings are A's; later ones differ by rounding, since gradients are added up in" in workers
    assert tune.endswith("losses of 4 trainings are A's; so are all weights and scores, bit for bit")
    assert asha.endswith("losses of 4 trainings are A's; so are all weights and scores, bit for bit")


def test_equal_weights_are_counted_where_another_processor_made_others() -> None:
    elsewhere = with_all_ranks(trained("tune", 0), hardware=Hardware("another", "x86_64", 2, 24))
    other = with_epoch(elsewhere, 0, epoch=1, weights="others")

    _, tune, _ = SweepSummary(with_trial(sweep_run(), "tune", 0, other)).same_work

    assert tune.endswith("losses of 4 trainings are A's; so are all weights and scores of 3, bit for bit")


@pytest.mark.parametrize("side", ["workers", "tune", "asha"])
def test_a_training_with_other_first_losses_than_as_is_not_the_same_work(side: Side) -> None:
    wrong = with_epoch(trained(side, 0), 0, first_losses=(2.0,) * 10)

    assert why_not(with_trial(sweep_run(), side, 0, wrong)).startswith(f"Round 1, {SIDES[side]}, learning rate 0.001")


def test_a_training_with_another_learning_rate_is_not_the_one_that_was_asked_for() -> None:
    wrong = with_all_ranks(trained("tune", 0), learning_rate=0.1)

    assert "asked for learning rate 0.001, trained with 0.1" in why_not(with_trial(sweep_run(), "tune", 0, wrong))


def test_one_worker_of_one_thread_must_end_with_as_weights_and_score() -> None:
    other_weights = with_epoch(trained("tune", 0), 0, epoch=1, weights="others")
    other_score = with_epoch(trained("asha", 1), 0, epoch=1, accuracy=0.99)

    assert "ended with other weights" in why_not(with_trial(sweep_run(), "tune", 0, other_weights))
    assert "ended with other weights" in why_not(with_trial(sweep_run(), "asha", 1, other_score))


def test_the_way_without_ray_must_have_trained_every_epoch_itself() -> None:
    assert "asked for epochs 2, trained with 1" in why_not(with_trial(sweep_run(), "alone", 0, trained("alone", 0, 1)))


def test_only_asha_may_stop_a_training() -> None:
    assert "asked for epochs 2, trained with 1" in why_not(with_trial(sweep_run(), "tune", 0, trained("tune", 0, 1)))


def test_a_configuration_that_handed_over_nothing_is_missing_and_not_the_best_of_the_others() -> None:
    first = sweep_round()
    short = one_pass("tune", 24.0)
    short = replace(short, result=replace(short.result, trials=short.result.trials[:3]))
    passes = tuple(short if done.side == "tune" else done for done in first.passes)

    assert "3 of 4 configurations handed over a result" in why_not(sweep_run(replace(first, passes=passes)))


def diverging(*sides: Side) -> SweepRun:
    """The last configuration of a sweep diverges in these ways."""
    run = sweep_run()
    for side in sides:
        run = with_trial(run, side, 3, None)
    return run


@pytest.mark.parametrize("sides", [tuple(SIDES), ("alone", "workers", "tune")])
def test_a_configuration_that_diverges_everywhere_has_a_row_that_says_so_and_no_score(sides: tuple[Side, ...]) -> None:
    summary = SweepSummary(diverging(*sides))

    assert ["of 3 trainings are A's" in fact for fact in summary.same_work] == [True] * 3
    assert summary.run.rounds[0].of("alone").scores == (0.95, 0.97, 0.93, None)
    assert summary.lost_scores() == (0.0,)
    study = make_study(summary)
    for report in (study.markdown, study.page):
        assert f"Diverged, so that it has no score: {CONFIGURATIONS[3].name}." in report
    assert tabulate_scores(summary).rows[3][1:4] == ("diverged",) * 3
    assert make_sweep_json(summary)["best_score"]["alone"] == [0.97]
    assert SweepRun.from_json(summary.run.to_json()) == summary.run


@pytest.mark.parametrize(
    ("sides", "why"),
    [
        (("tune",), "Diverged in C and not in A."),
        (("asha",), "Diverged in D and not in A."),
        (("alone", "tune", "asha"), "Diverged in A and not in B."),
    ],
)
def test_one_that_diverges_in_some_ways_only_is_not_the_same_work(sides: tuple[Side, ...], why: str) -> None:
    assert why in why_not(diverging(*sides))


def test_a_sweep_is_read_again_as_it_was_written() -> None:
    run = sweep_run(*THREE)

    assert SweepRun.from_json(run.to_json()) == run


def test_every_report_says_the_verdict_the_gain_and_what_stopping_saved() -> None:
    summary = SweepSummary(sweep_run(*THREE))

    study = make_study(summary)
    for report in (study.block, study.markdown, study.page):
        assert "INCONCLUSIVE" in report
        assert "2 trainings side by side (C) are 1.49x" in report
        assert "Stopping early saved 2 of 8 epochs and lost 0.0000 of the best score." in report
    figures = make_sweep_json(summary)
    assert figures["gain_of_tune_over_workers"] == pytest.approx(36.0 / 24.2, rel=1e-3)
    assert figures["seconds"]["tune"] == [pytest.approx(24.1), pytest.approx(24.2), pytest.approx(24.3)]


def why_not(run: SweepRun) -> str:
    summary = SweepSummary(run)
    assert summary.verdict.outcome is Outcome.REGRESSION
    assert summary.same_work == ()
    return summary.verdict.why
