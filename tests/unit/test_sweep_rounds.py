"""The rounds of a sweep on a Jobs API that answers at once: order, commands, looks, what ends them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from fixtures.analysis.sweep import SIDES, Side, SweepRun, SweepSummary
from fixtures.analysis.verdict import Outcome
from fixtures.clusters.contract import cluster_facts
from fixtures.measure.display import Display
from fixtures.measure.jobs import FinishedJob
from fixtures.measure.sweep import Sweep
from fixtures.measure.trials import CNN
from fixtures.report.sweep import make_study, make_sweep_json
from fixtures.settings.settings import Settings
from fixtures.settings.sweep import SweepSettings
from fixtures.system.noise import Noise
from tests.contract.fake import FakeProvider
from tests.unit.fake_jobs import NOISY, FakeJobs, ended, noise
from tests.unit.sweeps import CONFIGURATIONS, SECONDS, one_pass
from tests.unit.trials import SETTINGS
from trainer.__main__ import parse
from trainer.sweep_result import SweepResult

__all__ = ["noise"]  # a fixture that every test here uses

ROUNDS = replace(SETTINGS, sweeps=SweepSettings(max_sweep_overhead=1.3))


@dataclass
class SweepJobs(FakeJobs):
    """Understands the command line of a sweep's job, and answers as `answers` says of its way."""

    answers: dict[Side, FinishedJob | SweepResult] = field(default_factory=dict)
    sides: list[Side] = field(default_factory=list)

    def understand(self, entrypoint: Sequence[str], resource: str) -> None:
        self.sides.append(cast("Side", entrypoint[entrypoint.index("--side") + 1]))

    def reply(self) -> tuple[Any, float]:
        side = self.sides[-1]
        return self.answers.get(side) or one_pass(side, 1.0).result, SECONDS[side] + len(self.sides) / 100


@dataclass
class InterruptedJobs(SweepJobs):
    """Is interrupted by Ctrl-C while the given way runs, counted from 1."""

    at: int = 1

    def reply(self) -> tuple[Any, float]:
        if len(self.sides) == self.at:
            raise KeyboardInterrupt
        return super().reply()


def prepare(jobs: SweepJobs, settings: Settings = ROUNDS, lines: list[str] | None = None) -> Sweep:
    provider = FakeProvider(2, 1)
    cluster = provider.up(lambda line: None)
    write = (lambda text: None) if lines is None else lines.append
    display = Display(write, live=False, clock=lambda: jobs.now)
    facts = replace(cluster_facts("fake", cluster), usable_cores=8)
    return Sweep(settings, CONFIGURATIONS, provider, cluster, facts, jobs, display, CNN, clock=lambda: jobs.now)


def measure(jobs: SweepJobs, settings: Settings = ROUNDS, lines: list[str] | None = None) -> SweepRun:
    return prepare(jobs, settings, lines).run()


def test_each_round_has_the_four_ways_in_rotating_order_until_the_verdict_is_settled() -> None:
    jobs = SweepJobs()
    run = measure(jobs)

    ways = list(SIDES)
    assert jobs.sides == [*ways, *ways[1:], ways[0], *ways[2:], *ways[:2]]
    assert len(run.rounds) == 3


def test_only_the_way_without_ray_takes_the_place_of_a_worker() -> None:
    jobs = SweepJobs()
    measure(jobs, replace(ROUNDS, rounds=1))

    assert dict(zip(jobs.sides, jobs.cpus, strict=True)) == {"alone": 1, "workers": 0, "tune": 0, "asha": 0}


def test_every_training_gets_the_options_of_the_run() -> None:
    jobs = SweepJobs()
    measure(jobs, replace(ROUNDS, rounds=1, collective="ring"))

    command = jobs.commands[0]
    options = parse(["--workers", "0", *command[command.index("--epochs") :]])
    assert (options.epochs, options.cpus, options.collective) == (ROUNDS.epochs, 1, "ring")


def test_a_disturbed_round_is_set_aside_and_repeated(noise: list[Noise]) -> None:
    noise.append(NOISY)
    lines: list[str] = []
    run = measure(SweepJobs(), lines=lines)

    assert [bool(one.disturbed) for one in run.rounds] == [True, False, False, False]
    assert any("round 1 is set aside: A: other programs kept 1.00 cores busy" in line for line in lines)


def test_the_time_budget_ends_the_rounds() -> None:
    run = measure(SweepJobs(), replace(ROUNDS, time_budget=200.0))

    assert len(run.rounds) == 1


def test_a_job_without_a_result_ends_the_sweep_and_keeps_what_was_measured() -> None:
    run = measure(SweepJobs(answers={"tune": ended("SUCCEEDED", "no line", None)}))

    assert run.failure is not None
    assert run.failure.cause.startswith("C: side by side under Ray Tune: expected one TRIAL-RESULT line")
    assert SweepSummary(run).verdict.outcome is Outcome.REGRESSION
    assert [way.side for way in run.unfinished] == ["alone", "workers"]


def test_a_sweep_of_which_every_configuration_diverges_ends() -> None:
    made = one_pass("alone", 1.0).result
    run = measure(SweepJobs(answers={"alone": replace(made, trials=(None,) * 4)}))

    assert run.failure is not None
    assert run.failure.cause == "A: one after the other, without Ray: every configuration diverged."


@pytest.mark.parametrize(
    ("way", "rounds", "unfinished"), [(1, 0, []), (3, 0, ["alone", "workers"]), (6, 1, ["workers"])]
)
def test_a_signal_ends_the_sweep_and_keeps_the_ways_that_were_finished(
    way: int, rounds: int, unfinished: list[str]
) -> None:
    sweep = prepare(InterruptedJobs(at=way))
    with pytest.raises(KeyboardInterrupt):
        sweep.run()

    run = sweep.so_far()
    assert len(run.rounds) == rounds
    assert [done.side for done in run.unfinished] == unfinished
    summary = SweepSummary(run)
    assert summary.verdict.outcome is Outcome.INFRA
    assert summary.verdict.why.startswith("The run was interrupted.")
    assert SweepRun.from_json(run.to_json()) == run
    study = make_study(summary)
    for report in (study.block, study.markdown, study.page):
        assert ("had finished A (42.0 s), B (36.0 s), which count for no figure" in report) == (way == 3)
    assert list(make_sweep_json(summary)["unfinished"]) == unfinished
