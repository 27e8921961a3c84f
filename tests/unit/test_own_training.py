"""The proof for a training of the user's: what differs is named, and tolerances come from the run itself."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fixtures.analysis.measurement import Measurement, Run
from fixtures.analysis.spread import Recorded, Spread, name_file
from fixtures.analysis.summary import summarise
from fixtures.analysis.verdict import Outcome
from fixtures.analysis.work import prove_same_work
from fixtures.errors import MissingResultError, UnequalWorkError, UsageError
from fixtures.history.entry import Commit, Entry
from fixtures.report.sentences import make_headline
from fixtures.report.terminal import comparison_block
from fixtures.settings.workload import identify
from tests.unit.trials import (
    BATCH,
    NET,
    SAID,
    SETTINGS,
    SPREAD,
    result,
    run,
    spec,
    timing_round,
    with_all_epochs,
    with_all_ranks,
    with_rank,
)
from trainer import schedule
from trainer.result import TrialResult
from trainer.workloads.facts import CNN_MNIST, WorkloadFacts

UNKNOWN = Spread((), ())


def trained(workers: int) -> TrialResult:
    return with_all_ranks(result(spec(workers)), **SAID)


def prove(parallel: TrialResult, training: WorkloadFacts = NET, spread: Spread = UNKNOWN) -> tuple[str, ...]:
    return prove_same_work(spec(2), trained(0), parallel, spread, training)


def own(measured: Run) -> Run:
    """The run as it would be of a training of the user's."""
    trials = [replace(trial, result=with_all_ranks(trial.result, **SAID)) for trial in measured.measurements]
    return replace(measured, measurements=tuple(trials), workload=NET)


def test_an_honest_training_passes_and_says_what_was_the_same() -> None:
    told = prove(trained(2))

    assert told[0] == "seed 1, SGD, global batch 6000 on both sides"
    assert told[1] == "the same training, data (dddddddddddd) and first weights (555555555555) on both sides"
    assert "the first losses and the probe decide: fewer than 3 rounds say how far equal runs differ" in told
    assert told[-1] == "the test accuracies differ by 0.0000 (of equal runs no difference is recorded)"


@pytest.mark.parametrize(
    ("attribute", "named"),
    [
        ("workload", "SHA-256 of the training's file: other on rank 1"),
        ("data", "SHA-256 of the data: other on rank 1"),
        ("start", "SHA-256 of the first weights: other on rank 1"),
        ("optimizer", "Optimizer: other on rank 1"),
        ("libraries", "Keras: other on rank 1"),
    ],
)
def test_a_rank_that_trains_something_else_is_named(attribute: str, named: str) -> None:
    with pytest.raises(UnequalWorkError, match=named):
        prove(with_rank(trained(2), 1, **{attribute: "other"}))


def test_both_sides_must_train_what_was_checked_before_the_run() -> None:
    edited = replace(NET, workload_sha256="e" * 64)

    with pytest.raises(UnequalWorkError, match=f"file: {'f' * 64} on both sides, {'e' * 64} before the run"):
        prove(trained(2), edited)


def test_the_first_weights_are_owed_by_everyone() -> None:
    with pytest.raises(MissingResultError, match="no checksum of its first weights"):
        prove_same_work(
            spec(2), with_all_ranks(trained(0), start=""), with_all_ranks(trained(2), start=""), UNKNOWN, NET
        )


def test_the_samples_are_those_of_the_training() -> None:
    with pytest.raises(UnequalWorkError, match="10 updates in epoch 1, not 9"):
        prove(trained(2), replace(NET, train_samples=59_000))


def test_tensors_that_are_not_in_the_probe_are_missing_figures() -> None:
    more = (*NET.tensors, "another")
    two, one = (with_all_ranks(trained(workers), tensors=more) for workers in (2, 0))

    with pytest.raises(MissingResultError, match="8 of 9 tensors"):
        prove_same_work(spec(2), one, two, UNKNOWN, replace(NET, tensors=more))


def test_a_loss_that_is_no_number_passes_no_comparison_without_a_tolerance_either() -> None:
    lost = with_all_epochs(trained(2), epoch=1, loss=float("nan"))

    with pytest.raises(UnequalWorkError, match="training loss of epoch 2 is nan"):
        prove(lost)


def first_updates(of: Measurement, updates: int) -> Measurement:
    """The trial as it would be had it done the first updates of its epoch only."""
    trial = of.result
    for rank, record in enumerate(trial.ranks):
        share = schedule.share(record.rank, record.world_size, BATCH)
        batches = schedule.global_batches(record.seed, 0, BATCH)[:updates]
        epoch = replace(
            record.epochs[0],
            updates=updates,
            samples=updates * (share.stop - share.start),
            coverage=schedule.coverage([batch[share] for batch in batches], share.start),
        )
        trial = with_rank(trial, rank, epochs=(epoch,))
    return replace(of, spec=replace(of.spec, updates=updates), result=trial)


def test_the_first_updates_of_an_epoch_are_the_same_work_where_they_were_asked_for() -> None:
    rounds = [tuple(first_updates(trial, 4) for trial in timing_round(number, 10.0, 5.5)) for number in (1, 2, 3)]
    measured = run(*rounds, settings=replace(SETTINGS, timing_updates=4))
    whole = replace(rounds[0][1], spec=replace(rounds[0][1].spec, updates=5))

    assert summarise(measured, SPREAD).of(2).speedup is not None
    with pytest.raises(UnequalWorkError, match="4 updates in epoch 1, not 5"):
        prove_same_work(whole.spec, rounds[0][0].result, whole.result, SPREAD)


def losses(measured: Run, by_seed: dict[int, float], of_workers: float = 0.0) -> Run:
    """The run, with a loss of each seed's first epoch; the workers' is so much higher."""
    trials = []
    for trial in measured.measurements:
        loss = by_seed[trial.spec.seed] + (of_workers if trial.spec.workers else 0)
        trials.append(replace(trial, result=with_all_epochs(trial.result, loss=loss)))
    return replace(measured, measurements=tuple(trials))


def test_later_losses_may_differ_as_far_as_the_runs_own_baselines_do_from_3_rounds_on() -> None:
    rounds = [timing_round(number, 10.0, 5.5) for number in (1, 2, 3, 4)]
    by_seed = {1: 0.30, 2: 0.31, 3: 0.29, 4: 0.30, 5: 0.31}

    def outcome(count: int, apart: float) -> Outcome:
        return summarise(losses(own(run(*rounds[:count])), by_seed, apart), SPREAD).verdict.outcome

    assert outcome(4, apart=0.05) is Outcome.PASS
    assert outcome(4, apart=3.0) is Outcome.REGRESSION
    assert outcome(2, apart=3.0) is not Outcome.REGRESSION


RECORDED = Recorded(
    "command", identify(NET), BATCH, {}, ((0.30, 0.31, 0.29),) * 2, ((0.97, 0.98, 0.99),) * 2
)  # of two epochs and three seeds


def keep(reports: Path, recorded: Recorded = RECORDED) -> Path:
    file = name_file(reports, NET, BATCH)
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(asdict(recorded)))
    return file


def test_a_spread_that_was_recorded_is_that_of_runs_of_the_same_file_data_and_batch(tmp_path: Path) -> None:
    keep(tmp_path)
    edited = replace(NET, workload_sha256="e" * 64)

    assert Spread.find(tmp_path, NET, BATCH) == Spread.of(
        [[0.30] * 2, [0.31] * 2, [0.29] * 2], [[0.97] * 2, [0.98] * 2, [0.99] * 2]
    )
    assert Spread.find(tmp_path, edited, BATCH) is Spread.find(tmp_path, NET, 12) is None


def test_a_recorded_spread_that_is_damaged_is_refused(tmp_path: Path) -> None:
    keep(tmp_path).write_text('{"command": "command"}')

    with pytest.raises(
        UsageError, match=r"Recorded\.training is missing .*: expected what benchmarks\.baseline_spread"
    ):
        Spread.find(tmp_path, NET, BATCH)


def test_a_recorded_spread_decides_from_the_first_round_on_and_is_kept_with_the_run(tmp_path: Path) -> None:
    keep(tmp_path)
    measured = own(run(timing_round(1, 10.0, 5.5)))
    known = replace(measured, spread=Spread.find(tmp_path, NET, BATCH))

    def judge(made: Run, apart: float) -> Outcome:
        return summarise(losses(made, {1: 0.30, 2: 0.30}, apart), SPREAD).verdict.outcome

    assert judge(measured, apart=50.0) is not Outcome.REGRESSION
    assert judge(known, apart=50.0) is Outcome.REGRESSION
    assert judge(known, apart=0.01) is not Outcome.REGRESSION
    assert Run.from_json(known.to_json()) == known


def test_a_tolerance_from_few_baselines_is_wide_and_one_from_many_is_four_deviations() -> None:
    three, many = (Spread.of([[0.0], [1.0], [0.5]] * times) for times in (1, 1000))

    assert three.deviations > 100
    assert many.deviations == pytest.approx(4, abs=0.02)
    assert Spread.of([[0.0], [1.0]]).tolerance((), 0) == float("inf")


def test_a_run_keeps_what_it_trained_and_an_older_one_trained_the_cnn() -> None:
    measured = own(run())
    older = measured.to_json().replace('"workload": {', '"unknown": {')

    assert Run.from_json(measured.to_json()).workload == NET
    assert Run.from_json(older).workload == CNN_MNIST


def test_runs_are_compared_with_runs_of_the_same_file_and_data_only() -> None:
    def like(measured: Run) -> str:
        return Entry.of(summarise(measured, SPREAD), Commit("c"), "1").like

    edited = replace(own(run()), workload=replace(NET, workload_sha256="e" * 64))

    assert "workload" not in like(run())
    assert "my_net ffffffffffff on mine.npz dddddddddddd" in like(own(run()))
    assert like(edited) != like(own(run()))


def test_the_first_line_names_another_training_than_cnn_mnist() -> None:
    summary = summarise(own(run()), SPREAD)

    assert "baseline against Ray Train, my_net on mine.npz" in comparison_block(summary).splitlines()[0]
    assert make_headline(summary).training == "my_net on mine.npz"
    assert make_headline(summarise(run(), SPREAD)).training == ""
