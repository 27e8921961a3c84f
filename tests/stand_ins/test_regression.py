"""A run against its history: rounds run again while the cluster is up, verdicts that hold the answer, and the entry."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from fixtures.analysis.judgement import Finding, Judgement
from fixtures.analysis.measurement import Failure, Run
from fixtures.analysis.plan import TrialSpec
from fixtures.analysis.summary import Summary, summarise
from fixtures.analysis.verdict import Outcome
from fixtures.history.entry import Machine
from fixtures.history.gate import REFERENCE
from fixtures.history.regression import RunHistory, with_history
from fixtures.history.store import History, read_commit
from fixtures.report.terminal import comparison_block
from tests.unit.fake_jobs import FakeJobs, ended, experiment, honest, names, noise
from tests.unit.samples import SPEEDUP, TRAINING
from tests.unit.trials import SETTINGS, SPREAD, result, run, timing_round, with_all_ranks
from trainer.result import Hardware, TrialResult

__all__ = ["noise"]  # a fixture that every test here uses

NIGHTLY = replace(SETTINGS, regression=True, rounds=6, time_budget=7200.0)
HARDWARE = Hardware("AMD EPYC", "x86_64", 2, 24)


def machine(of: TrialSpec, result: TrialResult) -> TrialResult:
    return with_all_ranks(
        result, hardware=HARDWARE, kernel="6.18", calibration_seconds=0.1 * (1 + 0.01 * (of.seed % 3))
    )


def fast(of: TrialSpec) -> TrialResult:
    return machine(of, honest(of))


def worse(of: TrialSpec) -> TrialResult:
    """Two workers lose 15 % of their speed."""
    return machine(of, result(of, honest(of).train_seconds / (0.85 if of.workers else 1.0)))


def past(folder: Path, *, asked: bool = True) -> RunHistory:
    return RunHistory(History(folder), read_commit(folder), asked)


@cache
def run_of(day: int) -> Summary:
    """A fast run of a day, judged."""
    measured = experiment(FakeJobs(fast), NIGHTLY).run() if day == 0 else run_of(0).run
    seconds = 86_400 * day
    trials = [
        replace(m, submitted_at=m.submitted_at + seconds, ended_at=m.ended_at + seconds) for m in measured.measurements
    ]
    return summarise(replace(measured, measurements=tuple(trials)), SPREAD)


def with_past(folder: Path, samples: int = REFERENCE) -> RunHistory:
    made = past(folder)
    for day in range(samples):
        assert made.keep(run_of(day), {"benchmarks": []})
    return made


def again(made: RunHistory, jobs: FakeJobs, lines: list[str] | None = None) -> Run:
    jobs.now = 1000.0 + 86_400 * 100
    running = experiment(jobs, NIGHTLY)
    report = (lines if lines is not None else []).append
    return made.again(summarise(running.run(), SPREAD), running.run_again, report)


def judged(made: RunHistory, measured: Run) -> Summary:
    return made.judged(summarise(measured, SPREAD))


# What is measured


def test_for_the_gate_every_planned_round_is_measured_though_the_verdict_is_settled() -> None:
    jobs = FakeJobs(fast)
    measured = experiment(jobs, NIGHTLY).run()

    assert set(measured.rounds(2)) == set(range(1, 7))
    assert summarise(measured, SPREAD).verdict.outcome is Outcome.PASS


def test_unequal_work_is_not_timed_on_for_the_gate_either() -> None:
    def cheat(of: TrialSpec) -> TrialResult:
        return with_all_ranks(fast(of), seed=of.seed + of.workers) if of.workers else fast(of)

    jobs = FakeJobs(cheat)
    experiment(jobs, NIGHTLY).run()

    assert names(jobs) == ["baseline", "2 workers"]


def test_the_workers_are_asked_for_the_slowdown_and_nobody_else() -> None:
    jobs = FakeJobs(fast)
    experiment(jobs, replace(SETTINGS, inject_slowdown=0.15, rounds=1)).run()

    for command, of in zip(jobs.commands, jobs.submitted, strict=True):
        assert ("--slowdown" in command) is bool(of.workers)
        assert of.slowdown == (0.15 if of.workers else 0.0)


# A drop that is suspected


def test_an_equal_run_is_not_run_again_and_passes(tmp_path: Path) -> None:
    made = with_past(tmp_path)

    measured = again(made, FakeJobs(fast))

    assert measured.rerun_from is None
    assert judged(made, measured).verdict.outcome is Outcome.PASS


def test_a_slower_run_is_run_again_and_is_a_regression_that_names_its_commits(tmp_path: Path) -> None:
    made = with_past(tmp_path)
    jobs, lines = FakeJobs(worse), list[str]()

    measured = again(made, jobs, lines)

    assert measured.rerun_from == 7
    assert len(measured.rounds(2)) == 12
    assert set(names(jobs)[-12:]) == {"baseline", "2 workers"}  # no ceiling again
    assert lines[-1] == "6 rounds are run again"
    summary = judged(made, measured)
    assert summary.verdict.outcome is Outcome.REGRESSION
    assert summary.verdict.why.startswith("The speedup of 2 workers is 15.0% below its reference")
    assert "first bad unversioned" in summary.verdict.why
    assert "drop: The speedup of 2 workers" in " ".join(comparison_block(summary).replace("│", "").split())


def test_a_drop_that_does_not_come_back_is_no_regression(tmp_path: Path) -> None:
    made = with_past(tmp_path)
    summary = judged(made, again(made, FakeJobs(lambda of: worse(of) if of.seed < 8 else fast(of))))

    assert summary.verdict.outcome is Outcome.PASS
    assert summary.judgement is not None
    assert not summary.judgement.findings


def test_the_verdict_on_the_threshold_looks_at_the_planned_rounds_alone() -> None:
    planned = [timing_round(number, 10.0, 5.5 + number / 100) for number in range(1, 4)]
    more = [timing_round(number, 10.0, 8.0) for number in range(4, 8)]

    summary = summarise(replace(run(*planned, *more), rerun_from=4), SPREAD)

    assert summary.of(2).rounds == (1, 2, 3)
    assert summary.verdict.outcome is Outcome.PASS


def test_rounds_that_are_run_again_prove_their_work_too() -> None:
    rounds = [timing_round(number, 10.0, 5.5 + number / 100) for number in range(1, 5)]
    cheat = replace(rounds[3][1], result=with_all_ranks(rounds[3][1].result, seed=99))

    summary = summarise(replace(run(*rounds[:3], (rounds[3][0], cheat)), rerun_from=4), SPREAD)

    assert summary.verdict.outcome is Outcome.REGRESSION
    assert "seed" in summary.verdict.why


def test_a_node_that_is_lost_during_the_rerun_is_the_infrastructures(tmp_path: Path) -> None:
    made = with_past(tmp_path)
    lost = ended("FAILED", "ray.exceptions.NodeDiedError: gone")

    summary = judged(made, again(made, FakeJobs(lambda of: worse(of) if of.seed < 10 else lost)))

    assert summary.verdict.outcome is Outcome.INFRA
    assert summary.judgement is None


def test_a_rerun_ends_with_its_budget_and_the_drop_stays_open(tmp_path: Path) -> None:
    made = with_past(tmp_path)
    jobs = FakeJobs(worse)
    jobs.now = 1000.0 + 86_400 * 100
    settings = replace(NIGHTLY, time_budget=400.0)
    running = experiment(jobs, settings)
    summary = summarise(running.run(), SPREAD)

    measured = made.again(summary, lambda rounds: running.run_again(0), lambda line: None)

    found = judged(made, measured)
    assert found.verdict.outcome is Outcome.INCONCLUSIVE
    assert "not confirmed by a rerun" in found.verdict.why


# Without a past, or without being asked


def test_without_enough_runs_the_verdict_says_that_it_compares_nothing(tmp_path: Path) -> None:
    made = with_past(tmp_path, samples=3)
    summary = judged(made, again(made, FakeJobs(worse)))

    assert summary.judgement is not None
    assert summary.judgement.notes == (f"No comparable history yet: 3 of {REFERENCE} nights.",)
    assert summary.verdict.why.endswith("Not compared with earlier runs.")
    assert "No comparable history yet" in comparison_block(summary)


def test_a_run_of_the_baseline_alone_is_not_asked_for_the_workers_of_earlier_runs(tmp_path: Path) -> None:
    alone = summarise(replace(run_of(0).run, counts=()), SPREAD)

    assert with_past(tmp_path).judged(alone) == alone


def test_a_run_that_was_not_asked_to_compare_is_kept_all_the_same(tmp_path: Path) -> None:
    made = past(tmp_path, asked=False)
    summary = judged(made, experiment(FakeJobs(worse), SETTINGS).run())

    assert summary.judgement is None
    assert made.keep(summary, {"benchmarks": []})


def test_an_entry_holds_what_the_run_measured_on_what_and_with_what(tmp_path: Path) -> None:
    made = with_past(tmp_path, samples=1)

    (found,), _ = made.history.read()

    assert found.machine == Machine("AMD EPYC", "x86_64", 2, 24, None, 2)
    assert found.versions.keys() == {"tensorflow-cpu", "python", "kernel", "suite"}
    assert found.setup == {
        "cluster": "fake",
        "batch-size": "6000",
        "timing-epochs": "1",
        "cpus-per-worker": "1",
        "collective": "auto",
        "ray-train": "shipped",
        "quick": "false",
    }
    assert found.compared[0].speedup == pytest.approx(1.8)
    assert len(found.compared[0].proof) >= 7
    assert (found.outcome, found.complete, len(found.rounds["2"])) == ("PASS", True, 6)


def test_an_interrupted_run_is_kept_and_is_no_run(tmp_path: Path) -> None:
    made = past(tmp_path)
    cut = run(timing_round(1, 10.0, 5.5), failures=(Failure("run", "Infra", "Cut off.", ""),))

    assert made.keep(summarise(cut, SPREAD), {"benchmarks": []})
    assert made.history.samples() == []


# Findings and verdicts


def finding(kind: str, metric: object = SPEEDUP) -> Finding:
    return Finding(metric, kind, f"The {kind}.")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("findings", "outcome", "why"),
    [
        ([], Outcome.PASS, "2 workers are"),
        ([finding("drop")], Outcome.REGRESSION, "The drop. 2 workers are"),
        ([finding("vanished", SPEEDUP._replace(workers=4))], Outcome.REGRESSION, "The vanished."),
        ([finding("drop", TRAINING)], Outcome.REGRESSION, "The drop."),
        ([finding("suspected")], Outcome.INCONCLUSIVE, "The suspected."),
        ([finding("too few rounds")], Outcome.INCONCLUSIVE, "The too few rounds."),
        ([finding("improvement")], Outcome.PASS, "2 workers are"),
    ],
)
def test_an_alarm_is_a_regression_an_open_question_no_pass_and_an_improvement_neither(
    findings: Sequence[Finding], outcome: Outcome, why: str
) -> None:
    summary = summarise(run(*[timing_round(number, 10.0, 5.5 + number / 100) for number in (1, 2, 3)]), SPREAD)

    verdict = with_history(summary, Judgement(20, tuple(findings), ())).verdict

    assert verdict.outcome is outcome
    assert verdict.why.startswith(why)


def test_a_regression_by_the_threshold_keeps_its_reason_and_gets_the_historys() -> None:
    summary = summarise(run(*[timing_round(number, 10.0, 8.0 + number / 100) for number in (1, 2, 3)]), SPREAD)

    verdict = with_history(summary, Judgement(20, (finding("drop"),), ())).verdict

    assert verdict.outcome is Outcome.REGRESSION
    assert verdict.why.endswith("below the 1.50x asked for. The drop.")
