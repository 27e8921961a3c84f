"""What a killed worker costs: the plan, the proof, the verdict, and what is said about it."""

import html
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.analysis.measurement import Measurement
from fixtures.analysis.plan import TrialSpec
from fixtures.analysis.recovery import Recovery, RecoveryRun, plan_recovery, prove_recovered, why_not
from fixtures.analysis.verdict import Outcome
from fixtures.clusters.contract import cluster_facts
from fixtures.errors import MissingResultError, UnequalWorkError
from fixtures.measure.display import Display
from fixtures.measure.failures import explain
from fixtures.measure.jobs import FinishedJob
from fixtures.measure.recovery import run_recoveries
from fixtures.measure.trials import TrialRunner
from fixtures.report.recovery import describe_checkpoints, make_block, write_recovery
from fixtures.settings.recovery import RecoverySettings
from tests.contract.fake import FakeProvider
from tests.unit.fake_jobs import NOISY, FakeJobs, ended, noise
from tests.unit.recoveries import CHOSEN, MARKS, hand_over, recovery, recovery_run
from tests.unit.trials import with_epoch, with_rank
from trainer.progress import LOSE_NODE
from trainer.result import TrialResult

__all__ = ["noise"]  # a fixture that every test here uses

KILLED_LOG = "LostRankError: rank 0: lost rank 1\nray.exceptions.ActorDiedError: The actor died unexpectedly"


def recover(
    jobs: FakeJobs,
    settings: Any = CHOSEN,
    workers: int = 2,
    keep: Callable[[RecoveryRun], None] = lambda run: None,
    provider: FakeProvider | None = None,
) -> RecoveryRun:
    provider = provider or FakeProvider(workers, 1)
    cluster = provider.up(lambda line: None)
    display = Display(lambda text: None, live=False)
    runner = TrialRunner(provider, cluster, jobs, display, cpus=1, collective="auto")
    return run_recoveries(settings, workers, cluster_facts("fake", cluster), runner, display, keep=keep)


def one(**changes: Any) -> Recovery:
    """An honest recovery, but the killed training hands over something else about one epoch of rank 1."""
    honest = recovery()
    return replace(honest, killed=changed(honest.killed, with_epoch(honest.killed.result, 1, **changes)))


def changed(trial: Measurement, result: TrialResult) -> Measurement:
    return replace(trial, result=result)


# The plan


def test_a_round_trains_without_checkpoints_with_them_and_with_a_worker_killed_from_one_seed() -> None:
    specs = plan_recovery(CHOSEN, 2, 1)

    assert [spec.name for spec in specs] == ["2 workers", "2 workers, checkpoints", "2 workers, one killed"]
    assert {(spec.kind, spec.seed, spec.epochs) for spec in specs} == {("recovery", CHOSEN.seed + 1, 1)}
    assert [spec.name for spec in plan_recovery(CHOSEN, 2, 2)] == [
        *("2 workers, checkpoints", "2 workers, one killed", "2 workers"),
    ]


def test_rank_0_is_never_killed_and_nobody_before_the_first_checkpoint() -> None:
    kills = [plan_recovery(CHOSEN, 4, 1 + 3 * number)[2] for number in range(100)]

    assert {spec.kill_rank for spec in kills} == {1, 2, 3}
    assert {spec.kill_update for spec in kills} == set(range(3, 10))
    assert plan_recovery(CHOSEN, 4, 7) == plan_recovery(CHOSEN, 4, 7), "the same seed kills the same"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"workers": (2, 1)}, "--workers='1': expected counts from 2 on, rank 0 is never killed."),
        (
            {"recovery": RecoverySettings(checkpoint_every=10)},
            "--checkpoint-every='10': expected less than the 10 updates of a training.",
        ),
        ({}, ""),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(changes: dict[str, Any], why: str) -> None:
    assert why_not(replace(CHOSEN, **changes)).startswith(why)


# The proof


def test_a_recovery_that_lost_nothing_but_time_is_proven() -> None:
    proof = prove_recovered(one(), CHOSEN)

    assert any(fact.endswith("equal the undisturbed training's, bit for bit, on every rank") for fact in proof)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"weights": "f" * 64}, "After epoch 1 rank 1 has other weights than in the undisturbed training: ffff"),
        ({"loss": 0.31}, "After epoch 1 rank 1 has other loss than in the undisturbed training: 0.31, not 0.3."),
        ({"coverage": "0" * 32}, "The ranks together did not train on the samples of epoch 1"),
    ],
)
def test_a_recovery_that_lost_more_than_time_is_not(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(UnequalWorkError, match=why):
        prove_recovered(one(**changes), CHOSEN)


def test_checkpoints_that_change_the_training_are_found() -> None:
    honest = recovery()
    plain = changed(honest.plain, with_epoch(honest.plain.result, 0, weights="e" * 64))

    with pytest.raises(UnequalWorkError, match="rank 0 has other weights than in the training without checkpoints"):
        prove_recovered(replace(honest, plain=plain), CHOSEN)


def test_another_rank_or_update_than_planned_is_found() -> None:
    honest = recovery()
    spec = replace(honest.killed.spec, kill_update=honest.life.update + 1)

    with pytest.raises(UnequalWorkError, match=r"Rank 1 was killed before update .*, not rank 1 before update"):
        prove_recovered(replace(honest, killed=replace(honest.killed, spec=spec)), CHOSEN)


def test_ranks_that_went_on_from_different_checkpoints_are_found() -> None:
    honest = recovery()
    other = replace(honest.life, restored=0)
    killed = changed(honest.killed, with_rank(honest.killed.result, 1, second_life=other))

    with pytest.raises(MissingResultError, match="do not tell alike from which checkpoint they went on"):
        prove_recovered(replace(honest, killed=killed), CHOSEN)


def test_a_worker_that_comes_back_with_other_cores_is_found() -> None:
    honest = recovery()
    means = replace(honest.killed.result.ranks[1].means, cores=2)
    killed = changed(honest.killed, with_rank(honest.killed.result, 1, means=means))

    with pytest.raises(UnequalWorkError, match=r"Rank 1 computed with .*cores=2"):
        prove_recovered(replace(honest, killed=killed), CHOSEN)


# The figures and the verdict


def test_the_parts_of_a_recovery_add_up_from_the_kill_until_all_is_done_again() -> None:
    honest = recovery()

    assert honest.parts == pytest.approx({"noticed": 2, "started": 0.6, "built": 4.4, "restored": 0.5, "redone": 1})
    assert honest.seconds == pytest.approx(8.5)
    assert honest.longer_job == pytest.approx(4.0)
    assert honest.redone_updates == honest.life.update - honest.life.restored


def test_a_part_whose_time_is_missing_is_an_error() -> None:
    honest = recovery()
    marks = {name: at for name, at in MARKS.items() if name != "redone"} | {"worker": 1011.0}
    killed = changed(honest.killed, with_rank(honest.killed.result, 1, marks=marks))

    with pytest.raises(MissingResultError, match="a rank lacks the time at which it was redone"):
        _ = replace(honest, killed=killed).parts


def test_the_price_of_the_checkpoints_is_that_of_an_undisturbed_training() -> None:
    assert one().price == pytest.approx(0.2)  # 2 s on 10 s


def test_equal_weights_and_a_short_recovery_pass() -> None:
    run = recover(FakeJobs(hand_over))

    assert run.verdict.outcome is Outcome.PASS
    assert run.verdict.why == (
        "2 of 2 trainings whose worker was killed ended with the undisturbed training's weights, bit for bit; "
        "recovery took 8.5 s on average (8.5 to 8.5 s), at most 60 s asked for."
    )


def test_a_recovery_that_takes_longer_than_asked_for_is_a_regression() -> None:
    run = recover(FakeJobs(hand_over), replace(CHOSEN, recovery=replace(CHOSEN.recovery, max_recovery=8.0)))

    assert run.verdict.outcome is Outcome.REGRESSION
    assert run.verdict.why.endswith(
        "but recovery took 8.5 s on average (8.5 to 8.5 s): above the 8 s of --max-recovery."
    )


def test_weights_that_differ_are_a_regression_however_fast_it_was() -> None:
    def answer(of: TrialSpec) -> TrialResult:
        trial = hand_over(of)
        return with_epoch(trial, 0, weights="f" * 64) if of.kill_update and of.seed == CHOSEN.seed + 2 else trial

    run = recover(FakeJobs(answer))

    assert run.verdict.outcome is Outcome.REGRESSION
    assert run.verdict.why.startswith("Kill 2: After epoch 1 rank 0 has other weights")
    assert [recovery.number for recovery in run.proven] == [1]


def test_a_disturbed_recovery_counts_for_the_weights_and_not_for_the_time(noise: list[Any]) -> None:
    noise += [NOISY] * 6

    run = recover(FakeJobs(hand_over))

    assert run.verdict.outcome is Outcome.INCONCLUSIVE
    assert run.verdict.why.startswith("2 of 2 trainings whose worker was killed ended with the undisturbed")
    assert "other programs kept 1.00 cores busy" in run.verdict.why


def test_a_lost_job_is_the_machines_fault_and_keeps_what_was_measured() -> None:
    def answer(of: TrialSpec) -> TrialResult | FinishedJob:
        return ended("FAILED", KILLED_LOG) if of.seed == CHOSEN.seed + 2 and not of.kill_update else hand_over(of)

    run = recover(FakeJobs(answer))

    assert run.verdict.outcome is Outcome.INFRA
    assert len(run.recoveries) == 1


@pytest.mark.parametrize(("seed", "kept"), [(1, []), (2, [1])])
def test_a_signal_ends_the_run_and_keeps_the_kills_before_it(seed: int, kept: list[int]) -> None:
    runs: list[RecoveryRun] = []

    def answer(of: TrialSpec) -> TrialResult:
        if of.seed == CHOSEN.seed + seed:
            raise KeyboardInterrupt
        return hand_over(of)

    with pytest.raises(KeyboardInterrupt):
        recover(FakeJobs(answer), keep=runs.append)

    assert [recovery.number for run in runs for recovery in run.proven] == kept
    assert all(run.verdict.outcome is Outcome.INFRA for run in runs)
    assert all(run.verdict.why.startswith("The run was interrupted.") for run in runs)


@dataclass
class LosingJobs(FakeJobs):
    """A rank that is to be killed asks to be rid of its node, among what else it says."""

    def follow(self, job: str, on_line: Callable[[str], None], *arguments: Any, **options: Any) -> FinishedJob:
        if self.submitted[-1].kill_update:
            event = {"phase": "waiting", LOSE_NODE: f"e2e-worker-{len(self.submitted)}"}
            on_line(f"(RayTrainWorker pid=7, ip=10.0.0.3) TRIAL-PROGRESS {json.dumps(event)}")
            on_line("another line")
        return super().follow(job, on_line, *arguments, **options)


def test_on_machines_of_their_own_the_killed_ranks_node_is_taken_away() -> None:
    jobs, provider = LosingJobs(hand_over), FakeProvider(2, 1)

    run = recover(jobs, provider=provider)

    assert run.verdict.outcome is Outcome.PASS
    assert provider.replaced == ["e2e-worker-3", "e2e-worker-5"]
    asked = ["--lose-node" in command for command in jobs.commands]
    assert asked == [bool(spec.checkpoint_every) for spec in jobs.submitted]


def test_on_the_embedded_cluster_a_rank_kills_itself() -> None:
    provider = FakeProvider(2, 1)
    provider.name = "local"
    jobs = FakeJobs(hand_over)

    recover(jobs, provider=provider)

    assert not any("--lose-node" in command for command in jobs.commands)


def test_a_killed_worker_that_ray_train_does_not_recover_from_is_a_regression() -> None:
    def answer(of: TrialSpec) -> TrialResult | FinishedJob:
        return ended("FAILED", KILLED_LOG) if of.kill_update else hand_over(of)

    run = recover(FakeJobs(answer))

    assert run.verdict.outcome is Outcome.REGRESSION
    assert "Ray Train did not recover from it." in run.verdict.why
    assert explain("x", ended("FAILED", KILLED_LOG), "A node is gone.", killed=True).kind == "Infra"


# What is said


def test_the_reports_have_each_kill_its_parts_and_what_was_proven(tmp_path: Path) -> None:
    run = recover(FakeJobs(hand_over))

    files = {file.name: html.unescape(file.read_text()) for file in write_recovery(run, tmp_path)}

    assert list(files) == ["recovery_2workers.json", "recovery_2workers.md", "recovery_2workers.html"]
    for text in (files["recovery_2workers.md"], files["recovery_2workers.html"], make_block(run)):
        assert run.verdict.why in text
        assert "+20%" in text
        assert "never enters the history" in text
    for text in (files["recovery_2workers.md"], files["recovery_2workers.html"]):
        assert "bit for bit, on every rank" in text
    assert "  in all             8.5 s    8.5 s" in make_block(run)


def test_a_disturbed_training_says_nothing_about_the_price_of_its_checkpoints() -> None:
    disturbed = recovery_run(recovery(1, NOISY))

    assert describe_checkpoints(disturbed).endswith(
        "each: other programs disturbed the trainings that say what they cost in all."
    )
