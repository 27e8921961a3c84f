"""--predict: shares of the batch are timed once, and reports predict more workers for this training from them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from fixtures.analysis.measurement import Run
from fixtures.analysis.shares import TimedShares, list_shares
from fixtures.analysis.summary import Comparison, summarise
from fixtures.measure.jobs import FinishedJob
from fixtures.measure.workloads import Prepared
from fixtures.report.pays import describe_pays
from fixtures.settings.settings import Settings
from fixtures.system.noise import Noise
from tests.unit.fake_jobs import NOISY, FakeJobs, ended, experiment, noise, seconds
from tests.unit.trials import (
    NET,
    QUIET,
    SAID,
    SCALING,
    SETTINGS,
    SPREAD,
    result,
    run,
    timing_round,
    with_all_ranks,
    with_rank,
)
from trainer.__main__ import parse
from trainer.result import ShareTimes

__all__ = ["noise"]  # a fixture that every test here uses

MILLISECONDS = {"1": 1000, "2": 520, "4": 270, "8": 150, "16": 90}
SHARES = TimedShares({workers: (took / 1000, took / 1000, 9.0) for workers, took in MILLISECONDS.items()})
PREDICTING = replace(SETTINGS, predict=True)
ROUNDS = [timing_round(number, 10.0, 5.5) for number in (1, 2, 3)]


@dataclass
class SharesJobs(FakeJobs):
    """Also understands the command line that times shares; its job ends as `ending` says, or hands over SHARES."""

    ending: FinishedJob | None = None
    asked: list[list[str]] = field(default_factory=list)

    def understand(self, entrypoint: Sequence[str], resource: str) -> None:
        if entrypoint[2] == "trainer.shares":
            self.asked.append(list(entrypoint))
        else:
            super().understand(entrypoint, resource)

    def reply(self) -> tuple[Any, float]:
        return (self.ending or ShareTimes(SHARES.updates), 9.0) if self.asked else super().reply()


def of_user(measured: Run, **changes: Any) -> Run:
    """The run as it would be of a training of the user's."""
    trials = [replace(trial, result=with_all_ranks(trial.result, **SAID)) for trial in measured.measurements]
    return replace(measured, measurements=tuple(trials), workload=NET, **changes)


def compare(measured: Run) -> Comparison:
    return summarise(measured, SPREAD, SCALING).of(2)


def said(measured: Run) -> tuple[str, ...]:
    return describe_pays(summarise(measured, SPREAD, SCALING)).get("Predicted, not measured", ())


@pytest.mark.parametrize(
    ("batch", "batch_norm", "counts", "even"),
    [
        (128, "", (2,), (1, 2, 4, 8, 16)),
        (100, "", (5,), (1, 2, 4, 5)),
        (128, "groups:32", (2,), (1, 2, 4)),
    ],
)
def test_shares_are_those_that_the_batch_and_the_groups_of_a_batch_norm_can_be_divided_into(
    batch: int, batch_norm: str, counts: tuple[int, ...], even: tuple[int, ...]
) -> None:
    assert list_shares(batch, batch_norm, counts) == even


def test_one_job_in_a_workers_place_times_the_shares_after_the_rounds() -> None:
    jobs = SharesJobs(answer=lambda of: with_all_ranks(result(of, seconds(of)), **SAID))
    training = Prepared(NET, "my_net.py", "data.npz")

    measured = experiment(jobs, PREDICTING, training=training).run()

    (asked,) = jobs.asked
    assert asked == jobs.commands[-1]
    assert len(measured.rounds(2)) == 3
    assert asked[:5] == ["python", "-m", "trainer.shares", "--shares", "1,2,4,8,16"]
    options = parse(["--workers", "0", *asked[5:]])
    assert (options.batch_size, options.workload, options.data) == (6000, "my_net.py", "data.npz")
    assert jobs.cpus[-1] == PREDICTING.cpus_per_worker
    assert measured.shares == SHARES
    assert "prediction" in measured.phases


def test_without_the_option_nothing_is_timed() -> None:
    jobs = SharesJobs()

    assert experiment(jobs).run().shares is None
    assert jobs.asked == []


def test_shares_that_could_not_be_timed_change_no_verdict_and_are_said() -> None:
    measured = experiment(SharesJobs(ending=ended("FAILED", "Traceback\nMemoryError: too large")), PREDICTING).run()

    assert compare(measured).verdict == compare(experiment(FakeJobs()).run()).verdict
    assert measured.shares is None
    assert said(measured)[0].startswith("No share of the batch was timed, so recorded times are used: shares of the")
    assert said(of_user(measured))[0].startswith("Nothing: shares of the batch: ")


def test_a_disturbance_meanwhile_is_said(noise: list[Noise]) -> None:
    noise += [*[QUIET] * 11, NOISY]

    measured = experiment(SharesJobs(), PREDICTING).run()

    assert any(
        sentence.startswith("These times were disturbed: other programs kept 1.00") for sentence in said(measured)
    )


def test_a_prediction_has_the_timed_shares_on_the_runs_cores_and_the_trainings_own_gradient() -> None:
    large = replace(NET, sizes=(250_000_000,))
    comparison = compare(replace(of_user(run(*ROUNDS), shares=SHARES), workload=large))

    assert comparison.prediction is not None
    assert comparison.prediction.scale == pytest.approx(1.0)  # ten updates took 10 s, and one 1 s when it was timed
    for workers, speedup in comparison.outlook:
        reduce_seconds = SCALING.link.seconds(workers, 4 * 250_000_000)
        assert speedup == pytest.approx(1 / (MILLISECONDS[str(workers)] / 1000 + reduce_seconds))
    assert [workers for workers, _ in comparison.outlook] == [4, 8, 16]


def test_a_slower_machine_than_the_one_that_was_timed_computes_longer_and_adds_up_as_before() -> None:
    slower = [timing_round(number, 20.0, 11.0) for number in (1, 2, 3)]
    now, later = (compare(replace(of_user(run(*rounds)), shares=SHARES)) for rounds in (ROUNDS, slower))

    assert later.prediction is not None
    assert later.prediction.scale == pytest.approx(2.0)
    assert all(slow > fast for (_, slow), (_, fast) in zip(later.outlook, now.outlook, strict=True))


def test_a_users_training_is_predicted_only_from_what_was_timed() -> None:
    assert compare(of_user(run(*ROUNDS))).outlook == ()
    assert said(of_user(run(*ROUNDS))) == ()


def test_the_report_says_what_was_timed_and_that_it_is_a_prediction() -> None:
    first, second, third = said(of_user(run(*ROUNDS, settings=PREDICTING), shares=SHARES))

    assert first == (
        "One process was timed on an update of the share that each of N workers has: 1 worker 1,000.00 "
        "ms, 2 workers 520.00 ms, 4 workers 270.00 ms, 8 workers 150.00 ms, 16 workers 90.00 ms."
    )
    assert second == "The gradient of 0.9 MB is added up over links of one host that were fitted beforehand."
    assert third.startswith("With a core for each that shares nothing: 4 workers 3.7")


def test_a_prediction_that_is_slower_than_one_process_never_pays() -> None:
    slow = TimedShares(dict.fromkeys(SHARES.updates, (1.0,)))

    assert "4 workers 1.00x, never pays; 8 workers" in said(of_user(run(*ROUNDS), shares=slow))[-1]


def test_counts_that_cannot_share_the_batch_are_left_out_and_said() -> None:
    some = TimedShares({workers: SHARES.updates[workers] for workers in ("1", "2", "4")})
    grouped = replace(NET, batch_norm="groups:1500")
    measured = replace(of_user(run(*ROUNDS, settings=PREDICTING), shares=some), workload=grouped)
    trials = [
        replace(trial, result=with_all_ranks(trial.result, batch_norm="groups:1500")) for trial in measured.measurements
    ]

    assert said(replace(measured, measurements=tuple(trials)))[-1] == (
        "Nothing for 8 and 16 workers: they cannot share a batch of 6000 in whole groups of 1500, which its BatchNorm "
        "needs."
    )


def test_nothing_is_predicted_for_links_that_were_not_fitted_and_the_report_says_so() -> None:
    measured = of_user(run(*ROUNDS, settings=PREDICTING), shares=SHARES)
    apart = [replace(trial, result=with_rank(trial.result, 0, host="there")) for trial in measured.measurements]
    grpc = [
        replace(trial, result=with_all_ranks(trial.result, collective="tensorflow")) for trial in measured.measurements
    ]

    assert said(replace(measured, measurements=tuple(apart))) == (
        "Nothing: the workers ran on several hosts, and the links between them were not fitted.",
    )
    assert said(replace(measured, measurements=tuple(grpc))) == (
        "Nothing: what TensorFlow's collective costs was not fitted.",
    )


def test_what_was_timed_survives_the_runs_json_and_an_older_run_has_none() -> None:
    measured = replace(run(*ROUNDS), shares=SHARES)
    older = measured.to_json().replace('"shares": {', '"unknown": {')

    assert Run.from_json(measured.to_json()) == measured
    assert Run.from_json(older).shares is None
    assert Settings.from_recorded(["workers=2"]).predict is False
