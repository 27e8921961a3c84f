"""The run of trials: what is submitted in which order, and when it ends."""

from dataclasses import replace

import pytest

from fixtures.analysis.plan import TrialSpec
from fixtures.analysis.summary import summarise
from fixtures.analysis.verdict import Outcome
from fixtures.clusters.contract import Cluster, Place, Report
from fixtures.system.noise import Noise
from tests.contract.fake import FakeProvider
from tests.unit.fake_jobs import NOISY, FakeJobs, experiment, honest, measure, names, noise, slow
from tests.unit.trials import QUIET, SETTINGS, SPREAD, spec
from trainer import __main__ as trainer
from trainer.result import TrialResult

__all__ = ["noise"]  # a fixture that every test here uses


def test_accuracy_comes_first_then_rounds_in_rotating_order_until_the_verdict_is_settled() -> None:
    jobs = FakeJobs()

    measured = measure(jobs)

    assert names(jobs) == [
        *("baseline", "2 workers"),
        *("baseline", "2 workers", "2 copies"),
        *("2 workers", "2 copies", "baseline"),
        *("2 copies", "baseline", "2 workers"),
    ]
    assert [trial.seed for trial in jobs.submitted] == [1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert summarise(measured, SPREAD).verdict.outcome is Outcome.PASS
    assert not measured.failures
    assert not measured.budget_ended


def test_a_verdict_that_is_open_is_looked_at_again_after_6_rounds_and_at_the_end() -> None:
    settings = replace(SETTINGS, rounds=7)
    measured = measure(FakeJobs(slow), settings)

    assert set(measured.rounds(2)) == set(range(1, 8))
    assert summarise(measured, SPREAD).verdict.outcome is Outcome.INCONCLUSIVE


def test_a_count_that_is_decided_is_not_timed_on_with_one_that_is_not() -> None:
    def answer(of: TrialSpec) -> TrialResult:
        return slow(of) if of.workers in (0, 2) and of.copies == 1 else honest(of)

    measured = measure(FakeJobs(answer), replace(SETTINGS, rounds=6), (2, 4))

    assert len(measured.rounds(2)) == 6
    assert len(measured.rounds(4)) == 3


def test_the_accuracy_trials_are_the_only_round_when_it_is_quick() -> None:
    jobs = FakeJobs()

    measured = measure(jobs, replace(SETTINGS, quick=True, rounds=1))

    assert names(jobs) == ["baseline", "2 workers"]
    two = summarise(measured, SPREAD).of(2)
    assert two.verdict.outcome is Outcome.INCONCLUSIVE
    assert two.speedup is not None
    assert two.rounds == (1,)


def test_more_rounds_than_one_are_timed_without_a_ceiling_when_it_is_quick() -> None:
    jobs = FakeJobs()

    measure(jobs, replace(SETTINGS, quick=True, rounds=2))

    assert names(jobs) == ["baseline", "2 workers", "baseline", "2 workers", "2 workers", "baseline"]


def test_the_only_round_of_a_quick_run_is_set_aside_when_it_was_disturbed(noise: list[Noise]) -> None:
    noise += [QUIET, NOISY]

    measured = measure(FakeJobs(), replace(SETTINGS, quick=True, rounds=1))

    assert list(measured.polluted) == ["1"]
    assert summarise(measured, SPREAD).of(2).speedup is None


def test_a_count_with_too_few_cores_is_trained_for_accuracy_and_not_timed() -> None:
    jobs = FakeJobs()

    measured = measure(jobs, cores=1)

    assert names(jobs) == ["baseline", "2 workers"]
    assert summarise(measured, SPREAD).of(2).verdict.outcome is Outcome.NOT_APPLICABLE


def test_only_a_plain_baseline_is_placed_on_a_worker_node_by_its_cpus() -> None:
    jobs = FakeJobs()

    measure(jobs)

    placed = {trial.name: cpus for trial, cpus in zip(jobs.submitted, jobs.cpus, strict=True)}
    assert placed == {"baseline": 1, "2 workers": 0, "2 copies": 0}


def test_every_round_trains_with_one_process_on_all_cores_where_a_place_has_them() -> None:
    jobs = FakeJobs()

    measured = experiment(jobs, counts=(2, 4), all_cores={2: Place(cores=(5, 6))}).run()

    alone = [trial for trial in jobs.submitted if trial.kind == "all-cores"]
    assert [trial.seed for trial in alone] == [2, 3, 4]
    assert {trial.name for trial in alone} == {"1 process, 2 cores"}
    assert set(measured.all_cores_rounds(2)) == set(measured.rounds(0)) == {1, 2, 3}
    assert not measured.all_cores_rounds(4)
    assert all(trial.spec.name == "baseline" for trial in measured.rounds(0).values())


@pytest.mark.parametrize(
    ("place", "placed", "cores"),
    [(Place(cores=(5, 6)), (1, ""), (5, 6)), (Place(resource="wide-2"), (0, "wide-2"), ())],
)
def test_the_process_on_all_cores_starts_where_the_cluster_has_a_place_for_it(
    place: Place, placed: tuple[int, str], cores: tuple[int, ...]
) -> None:
    jobs = FakeJobs()

    experiment(jobs, all_cores={2: place}).run()

    at = [trial.name for trial in jobs.submitted].index("1 process, 2 cores")
    options = trainer.parse(jobs.commands[at][3:])
    assert (options.workers, options.copies, options.cpus, options.cores) == (0, 1, 2, cores)
    assert (jobs.cpus[at], jobs.resources[at]) == placed


def test_no_process_on_all_cores_runs_unless_it_is_wanted() -> None:
    jobs = FakeJobs()

    experiment(jobs, replace(SETTINGS, all_cores=False), all_cores={2: Place()}).run()

    assert "1 process, 2 cores" not in names(jobs)


def test_the_one_round_of_a_quick_run_has_the_process_on_all_cores_too() -> None:
    jobs = FakeJobs()

    measured = experiment(jobs, replace(SETTINGS, quick=True, rounds=1), all_cores={2: Place(resource="wide-2")}).run()

    assert names(jobs) == ["baseline", "2 workers", "1 process, 2 cores"]
    assert {(trial.seed, trial.epochs) for trial in jobs.submitted} == {(1, 2)}
    against = summarise(measured, SPREAD).of(2).against_all_cores
    assert against is not None
    assert against.estimate == pytest.approx(1.8 / 1.7)


def test_a_trial_is_expected_to_take_as_long_as_the_same_of_earlier_rounds() -> None:
    jobs = FakeJobs()

    measured = measure(jobs)

    seconds = [trial.job_seconds for trial in measured.measurements]
    assert jobs.expected[:5] == [None] * 5, "accuracy trials and the first round: nothing like them has ended"
    assert jobs.expected[5:8] == [seconds[3], seconds[4], seconds[2]]


def test_every_command_carries_the_settings() -> None:
    jobs = FakeJobs()

    measure(jobs, replace(SETTINGS, collective="ring", ray_train="trimmed"))

    for command in jobs.commands:
        options = trainer.parse(command[3:])
        assert (options.batch_size, options.cpus, options.collective, options.data) == (6000, 1, "ring", "mnist.npz")
        assert (options.ray_train == "trimmed") is (options.workers > 0)


# Budget and noise


def test_no_round_begins_that_the_time_budget_cannot_hold_but_the_first_always_does() -> None:
    jobs = FakeJobs(slow)
    measured = measure(jobs, replace(SETTINGS, time_budget=100.0))

    assert measured.budget_ended
    assert set(measured.rounds(2)) == {1}
    assert jobs.now - 1000 <= 100


def test_a_budget_that_is_used_up_by_the_accuracy_trials_still_allows_one_round() -> None:
    measured = measure(FakeJobs(), replace(SETTINGS, time_budget=1.0))

    assert set(measured.rounds(2)) == {1}
    assert measured.budget_ended


def test_a_polluted_round_is_set_aside_whole_and_repeated_with_a_seed_of_its_own(noise: list[Noise]) -> None:
    noise += [QUIET, QUIET, QUIET, NOISY]
    measured = measure(FakeJobs())

    assert list(measured.polluted) == ["1"]
    assert measured.polluted["1"] == "2 workers: other programs kept 1.00 cores busy (limit 0.25)"
    assert set(measured.rounds(2)) == {1, 2, 3, 4}
    assert summarise(measured, SPREAD).of(2).rounds == (2, 3, 4)


def test_a_third_of_the_rounds_is_repeated_at_most(noise: list[Noise]) -> None:
    noise += [QUIET, QUIET, *[NOISY] * 100]
    measured = measure(FakeJobs(), replace(SETTINGS, rounds=3))

    assert set(measured.polluted) == set(map(str, measured.rounds(2))) == {"1", "2", "3", "4"}
    assert summarise(measured, SPREAD).verdict.outcome is Outcome.INCONCLUSIVE


def test_noise_in_the_accuracy_trials_sets_nothing_aside(noise: list[Noise]) -> None:
    noise += [NOISY, NOISY]

    assert not measure(FakeJobs()).polluted


# What goes wrong


def test_people_see_why_a_round_is_set_aside_and_why_a_run_ends(noise: list[Noise]) -> None:
    noise += [QUIET, QUIET, NOISY]
    lines: list[str] = []

    experiment(FakeJobs(slow), replace(SETTINGS, time_budget=130.0), lines=lines).run()

    assert any("round 1 is set aside: baseline: other programs kept 1.00 cores busy" in line for line in lines)
    assert any("the time budget ends the run before the next round" in line for line in lines)


def test_people_see_the_ratio_of_each_round_and_why_there_are_more_rounds() -> None:
    lines: list[str] = []

    experiment(FakeJobs(slow), replace(SETTINGS, rounds=4), lines=lines).run()

    said = [line.partition("] ")[2] for line in lines if "x" in line]
    assert said[0] == "round 1: 2 workers 1.75x\n"
    assert said[3].endswith("the 1.50x asked for is still inside the interval. 1 more round.\n")
    assert said[4] == "round 4: 2 workers 1.30x\n"


def test_people_see_that_a_settled_verdict_does_not_end_the_rounds_of_a_run_for_the_gate() -> None:
    lines: list[str] = []

    experiment(FakeJobs(), replace(SETTINGS, rounds=4, regression=True), lines=lines).run()

    assert any("--regression compares runs of equally many rounds. 1 more round." in line for line in lines)


def test_the_spec_of_a_trial_survives_its_command() -> None:
    jobs = FakeJobs()

    measured = measure(jobs)

    assert [trial.spec for trial in measured.measurements] == jobs.submitted
    assert measured.measurements[0].spec == spec(0)


class Monitored(FakeProvider):
    """Whose monitors took a second of its start."""

    def up(self, report: Report) -> Cluster:
        return replace(super().up(report), phases=(("image", 0.5), ("monitoring", 1.0)))


def test_the_start_of_monitors_is_no_time_that_a_training_waits_for() -> None:
    measured = experiment(FakeJobs(), provider=Monitored(2, 1)).run()

    assert measured.phases["cluster"] == 3.0 - 1.0
    assert measured.phases["cluster: monitoring"] == 1.0
