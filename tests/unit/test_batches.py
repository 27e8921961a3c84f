"""Strong and weak scaling over global batches: the plan, the trials, the proof, the verdict, and what is said."""

import html
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fixtures.analysis.batches import adjust_rate, plan_batches, why_not
from fixtures.analysis.plan import TrialSpec
from fixtures.analysis.verdict import Outcome
from fixtures.report.batches import make_batches_json, make_study
from fixtures.settings.settings import Settings
from tests.unit.batches import SETTINGS, TRAINING, chosen, hand_over, measure
from tests.unit.fake_jobs import LOST_NODE, NOISY, FakeJobs, ended
from tests.unit.trials import QUIET, spec, with_all_epochs, with_all_ranks, with_rank
from trainer.result import TrialResult

# The plan


@pytest.mark.parametrize(
    ("changes", "workers", "planned"),
    [
        ({"scaling": "strong"}, (2, 4), {24: (2, 4)}),
        ({"scaling": "strong", "batch_sizes": (48, 24)}, (2,), {24: (2,), 48: (2,)}),
        ({"scaling": "weak"}, (2, 4), {24: (), 48: (2,), 96: (4,)}),
        ({"scaling": "both", "batch_sizes": (48, 96)}, (2,), {24: (), 48: (2,), 96: (2,)}),
        ({}, (2,), {24: (2,), 48: (2,)}),
    ],
)
def test_workers_share_the_batches_asked_for_and_train_on_n_times_the_batch_of_one(
    changes: dict[str, Any], workers: tuple[int, ...], planned: dict[int, tuple[int, ...]]
) -> None:
    assert plan_batches(replace(chosen(**changes), workers=workers)) == planned


@pytest.mark.parametrize(
    ("rule", "batch", "factor", "warm_up"),
    [
        ("none", 96, 1.0, 0),
        ("linear", 96, 4.0, 1),  # a tenth of 2 epochs of 2 updates
        ("sqrt", 48, math.sqrt(2), 1),
        ("sqrt", 24, 1.0, 0),
        ("linear", 12, 0.5, 0),
    ],
)
def test_the_learning_rate_follows_the_batch_by_its_rule_and_warms_up_where_it_grows(
    rule: str, batch: int, factor: float, warm_up: int
) -> None:
    adjusted = adjust_rate(spec(2), chosen(lr_rule=rule), TRAINING, batch)

    assert (adjusted.rate_factor, adjusted.warm_up) == (factor, warm_up)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            chosen(batch_sizes=(24, 25)),
            "--batch-sizes='24,25': expected batches that 2 workers share evenly, such as 26.",
        ),
        (
            chosen(batch_sizes=(240, 480)),
            "--batch-sizes='240,480': 480 samples an update, expected at most the 240 that there are to train on.",
        ),
        (
            replace(chosen(), batch_size=200),
            "--batch-size='200': 400 samples an update, expected at most the 240 that there are to train on.",
        ),
        (
            chosen(scaling="weak", batch_sizes=(24, 48)),
            "--batch-sizes='24,48': expected no --scaling=weak, whose batches are --batch-size and N times as much.",
        ),
        (chosen(), ""),
    ],
)
def test_batches_that_cannot_be_are_refused_in_one_sentence(settings: Settings, why: str) -> None:
    assert why_not(settings, TRAINING) == why


def test_so_are_batches_that_the_training_itself_does_not_allow() -> None:
    settings = chosen(batch_sizes=(24, 36), scaling="strong")

    assert why_not(settings, replace(TRAINING, batch_norm="groups:12")) == (
        "--batch-sizes='24,36': expected shares of whole groups of 12 samples, which its BatchNormalization has."
    )
    assert why_not(settings, replace(TRAINING, probe_samples=32)) == (
        "--batch-sizes='24,36': expected at least 32, the samples that its probe has of a batch."
    )
    scheduled = replace(TRAINING, optimizer="SGD(learning_rate={'class_name': 'CosineDecay'}, momentum=0.9)")
    assert why_not(settings, scheduled) == (
        "--lr-rule='sqrt': expected none, the training's optimizer has a schedule of its own."
    )
    assert why_not(chosen(lr_rule="none"), scheduled) == ""


# The trials


def test_every_batch_has_its_own_baseline_and_the_rounds_take_the_batches_in_turn() -> None:
    jobs = FakeJobs()
    measure(replace(SETTINGS, rounds=2), jobs)

    in_full = [("baseline", 24), ("2 workers", 24), ("baseline", 48), ("2 workers", 48)]
    first = in_full
    second = [("2 workers", 48), ("baseline", 48), ("2 workers", 24), ("baseline", 24)]
    named = [of.name for of in jobs.submitted]
    assert list(zip(named, jobs.batch_sizes, strict=True)) == [*in_full, *first, *second]
    rates = {(of.rate_factor, of.warm_up, batch) for of, batch in zip(jobs.submitted, jobs.batch_sizes, strict=True)}
    assert rates == {(1.0, 0, 24), (math.sqrt(2), 1, 48)}
    assert {of.epochs for of in jobs.submitted[:4]} == {SETTINGS.epochs}
    assert {of.epochs for of in jobs.submitted[4:]} == {SETTINGS.timing_epochs}


def test_a_quick_run_has_the_full_trials_as_its_only_round() -> None:
    jobs = FakeJobs()
    run = measure(replace(SETTINGS, quick=True, rounds=1), jobs)

    assert len(jobs.submitted) == 4
    assert run.verdict.outcome is Outcome.INCONCLUSIVE
    assert "every batch; with 1 round of batch 24 to go by, the spread is unknown." in run.verdict.why
    assert run.weak[0].throughput is not None


def test_the_time_budget_ends_the_rounds() -> None:
    jobs = FakeJobs()
    measure(replace(SETTINGS, time_budget=100.0), jobs)

    assert len(jobs.submitted) == 8


def test_a_disturbed_batch_is_set_aside_in_its_round_alone_and_the_round_is_repeated() -> None:
    run = measure(noise=[*[QUIET] * 4, NOISY])

    assert [list(run.runs[batch].polluted) for batch in (24, 48)] == [["1"], []]
    assert [len(run.summaries[batch].of(2).rounds) for batch in (24, 48)] == [3, 4]


def test_a_lost_job_is_the_machines_fault_and_keeps_what_was_measured() -> None:
    def answer(of: TrialSpec, batch: int) -> Any:
        lost = of.kind == "timing" and batch == 48
        return ended("FAILED", LOST_NODE) if lost else hand_over(of, batch)

    run = measure(answer=answer)

    assert run.verdict.outcome is Outcome.INFRA
    assert len(run.runs[24].measurements) == 4


# The figures, the proof and the verdict


def test_weak_scaling_is_samples_a_second_of_n_workers_on_n_times_the_batch_against_one_process() -> None:
    run = measure()
    weak = run.weak[0]

    assert (weak.workers, weak.batch_size) == (2, 48)
    assert weak.throughput is not None
    assert weak.throughput.estimate == pytest.approx(2.0)
    assert weak.throughput.rounds == 3
    assert weak.efficiency == pytest.approx(1.0)
    assert run.samples_per_second(24, 0) == pytest.approx(24.0, rel=0.01)
    assert measure(chosen(scaling="strong")).weak == ()


def test_each_batch_has_its_own_speedup_and_its_own_proof() -> None:
    run = measure(chosen(batch_sizes=(24, 48, 96), lr_rule="linear"))
    found = {batch: summary.of(2) for batch, summary in run.summaries.items()}

    speedups = {batch: each.speedup.estimate for batch, each in found.items() if each.speedup}
    assert speedups == pytest.approx({24: 1.2, 48: 1.6, 96: 2.4 / 1.3})
    assert "seed 1, Adam at 0.001, global batch 24 on both sides" in found[24].proof
    assert found[96].proof[0] == (
        "seed 1, Adam at 0.001, 4 times that rate after 1 update of warm-up, global batch 96 on both sides"
    )
    assert run.verdict.outcome is Outcome.PASS
    assert run.verdict.why == (
        "Workers did one process's work at every batch. No speedup and no accuracy is asked for."
    )


Cheat = Callable[[TrialResult], TrialResult]


@pytest.mark.parametrize(
    ("cheat", "why"),
    [
        (lambda trial: with_all_ranks(trial, batch_size=24), "Batch 48: 2 workers: asked for global batch size 48"),
        (
            lambda trial: with_all_ranks(trial, rate_factor=1.0),
            "Batch 48: 2 workers: asked for a learning rate times 1.4142135623730951, trained with 1.0",
        ),
        (lambda trial: with_all_ranks(trial, warm_up=0), "Batch 48: 2 workers: asked for updates of warm-up 1"),
        (
            lambda trial: with_rank(trial, 1, epochs=trial.ranks[0].epochs),
            "Batch 48: The ranks together did not train on the samples of epoch 1",
        ),
    ],
)
def test_a_batch_at_which_the_work_is_not_the_same_is_a_regression_and_has_no_speed(cheat: Cheat, why: str) -> None:
    def answer(of: TrialSpec, batch: int) -> TrialResult:
        trial = hand_over(of, batch)
        return cheat(trial) if (of.workers, batch) == (2, 48) else trial

    run = measure(answer=answer)

    assert run.verdict.outcome is Outcome.REGRESSION
    assert why in run.verdict.why
    assert run.weak[0].throughput is None
    assert run.summaries[24].of(2).proof


def test_a_single_process_that_no_workers_train_beside_is_held_against_the_seed() -> None:
    def answer(of: TrialSpec, batch: int) -> TrialResult:
        trial = hand_over(of, batch)
        return with_all_epochs(trial, coverage="0" * 32) if (of.workers, batch) == (0, 24) else trial

    run = measure(chosen(scaling="weak"), answer=answer)

    assert run.verdict.outcome is Outcome.REGRESSION
    assert run.verdict.why.startswith("Batch 24, baseline: The baseline did not train on the samples")
    assert run.weak[0].throughput is None


def test_an_accuracy_that_falls_with_the_batch_is_a_finding_and_no_regression() -> None:
    def answer(of: TrialSpec, batch: int) -> TrialResult:
        trial = hand_over(of, batch)
        for epoch in range(of.epochs if of.probe and batch == 48 else 0):
            trial = with_all_epochs(trial, epoch=epoch, accuracy=0.9)
        return trial

    run = measure(answer=answer)

    assert run.verdict.outcome is Outcome.PASS
    lines = make_study(run).block.splitlines()
    assert [line.split()[-3:] for line in lines if "not reached" in line] == [["0.9000", "not", "reached"]] * 2


def test_too_few_cores_say_nothing_about_speed() -> None:
    run = measure(cores=1)

    assert run.verdict.outcome is Outcome.INCONCLUSIVE
    assert "Speedup needs 2 cores, this cluster has 1." in run.verdict.why
    assert run.weak[0].throughput is None
    assert [row["speedup"] for row in make_batches_json(run)["batches"]] == [None] * 4


# What is said


def test_every_report_names_the_rule_the_target_and_that_it_is_another_training() -> None:
    run = measure()
    study = make_study(run)

    for report in (study.block, study.markdown, html.unescape(study.page)):
        assert run.verdict.why in report
        assert (
            "The learning rate grows by the square root of the batch (--lr-rule=sqrt), from that at 24: 1.41x at 48 "
            "after 1 update of warm-up."
        ) in report
        assert (
            "Weak scaling: 2 workers at 48 train 48 samples/s, one process at 24 trains 24 samples/s: 2.00x (" in report
        )
        assert (
            "A test accuracy of 98.0%: 2 workers at 48 after 5.0 s, 1 epoch, one process at 24 after 10.0 s, 1 epoch."
        ) in report
        assert "is another training, not the same work" in report
        assert "The proof holds 2 workers at 48 against one process at 48." in report
    for report in (study.markdown, html.unescape(study.page)):
        assert "Same work: batch 48, 2 workers" in report
    assert '<svg class="chart"' in study.page


def test_the_figures_for_machines_have_each_side_of_each_batch() -> None:
    figures = make_batches_json(measure())

    assert [(row["batch_size"], row["workers"]) for row in figures["batches"]] == [(24, 0), (24, 2), (48, 0), (48, 2)]
    assert figures["batches"][3]["speedup"] == pytest.approx(1.6)
    assert figures["batches"][3]["epochs_to_target"] == 1
    assert figures["batches"][0]["proof"] is None
    assert figures["weak"][0]["throughput"] == pytest.approx(2.0)
    assert (figures["lr_rule"], figures["target"]) == ("sqrt", 0.98)


def test_a_run_without_a_rule_or_a_target_says_so() -> None:
    study = make_study(measure(replace(chosen(lr_rule="none"), min_accuracy=0.0)))

    assert "Every batch trains at the training's own learning rate (--lr-rule=none)." in study.block
    assert "time to it" not in study.block
    assert "A test accuracy of" not in study.block
