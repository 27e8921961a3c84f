"""A great run makes a page that is quick to make and small enough to send."""

import time
from dataclasses import replace
from functools import cache

import pytest

from fixtures.analysis.measurement import ClusterFacts, Measurement, Run
from fixtures.analysis.plan import TrialSpec
from fixtures.analysis.speedup import Ceiling, Share, Speedup
from fixtures.analysis.summary import Comparison, Summary
from fixtures.analysis.verdict import Outcome, Verdict
from fixtures.report.frame import frame
from fixtures.report.markdown import make_markdown
from fixtures.report.page import Material, make_page
from tests.unit.trials import QUIET, SCALING, SETTINGS, measurement, spec

COUNTS = tuple(range(1, 51))
ROUNDS = 50
SECONDS, BYTES = 5.0, 5_000_000
COMMENT = 65_536
"""Characters of a comment on a pull request."""


@cache
def ranks(workers: int, seconds: float) -> Measurement:
    """An honest trial whose ranks are as many as its workers."""
    one = measurement(spec(0), seconds=seconds)
    many = tuple(replace(one.result.ranks[0], rank=rank, world_size=workers) for rank in range(max(workers, 1)))
    result = replace(one.result, workers=workers, ranks=many)
    return replace(one, spec=TrialSpec("accuracy", workers, 1, 2, 1, probe=True), result=result)


def great_run() -> Summary:
    """50 worker counts in 50 rounds, with their ceilings: 5,050 trials. Nothing is proven here, only drawn."""
    at = 1_800_000_000.0
    measured: list[Measurement] = []

    def add(trial: Measurement, kind: TrialSpec, number: int) -> None:
        nonlocal at
        noise = replace(QUIET, steal=0.2, load=3.0) if number == 7 else replace(QUIET, load=1.0)
        took = trial.job_seconds
        measured.append(replace(trial, spec=kind, round=number, submitted_at=at, ended_at=at + took, noise=noise))
        at += took

    for count in (0, *COUNTS):
        add(ranks(count, 30.0 / max(count, 1)), TrialSpec("accuracy", count, 1, 2, 1, probe=True), 0)
    times = {count: 10.0 / max(1, count) ** 0.9 for count in (0, *COUNTS)}
    for number in range(1, ROUNDS + 1):
        for count, seconds in times.items():
            add(
                ranks(count, seconds * (1 + number / 1000)),
                TrialSpec("timing", count, 1, 1, number, probe=False),
                number,
            )
            if count > 1:
                add(ranks(0, seconds * count * 0.95), TrialSpec("ceiling", 0, count, 1, number, probe=False), number)
    run = Run(
        settings=replace(SETTINGS, workers=COUNTS),
        counts=COUNTS,
        cluster=ClusterFacts("fake", 50, 1, 64, 0, "f" * 64),
        measurements=tuple(measured),
        polluted={"7": "baseline: 20% of the CPU time stolen by other machines (limit 5%)"},
        failures=(),
        phases={"cluster": 3.0, "accuracy": 60.0, "timing": 9000.0},
        budget_ended=False,
    )
    return Summary(run, tuple(_compared(run, count) for count in COUNTS))


def _compared(run: Run, count: int) -> Comparison:
    own, many = run.rounds(0), run.rounds(count)
    alone, together = ([trials[n].result.train_seconds for n in trials] for trials in (own, many))
    copies = [trial.result.train_seconds for trial in run.rounds(0, count).values()] if count > 1 else []
    speedup = Speedup.from_times(count, alone, together)
    return Comparison(
        workers=count,
        verdict=Verdict(Outcome.PASS, "As fast as asked for."),
        proof=("seed 1 on both sides", "all ranks hold bit for bit the same weights after every epoch"),
        baseline=run.accuracy_trial(0),
        parallel=run.accuracy_trial(count),
        rounds=tuple(range(1, ROUNDS + 1)),
        speedup=speedup,
        speedup_of_all=speedup,
        job_speedup=speedup,
        end_to_end=None,
        ceiling=Ceiling.from_times(count, alone, copies) if copies else None,
        share=Share.from_times(count, copies, together) if copies else None,
        threshold=1 + (count - 1) / 2,
        prediction=None,
    )


@pytest.mark.great
def test_fifty_configurations_in_fifty_rounds_take_few_seconds_and_few_megabytes() -> None:
    summary = great_run()
    began = time.process_time()  # of this process alone: others may keep the machine busy

    made = frame(make_page(Material(summary, SCALING)), "")

    assert time.process_time() - began < SECONDS
    assert len(made.encode()) < BYTES
    assert made.count("<svg") == 5
    assert len(make_markdown(summary)) < COMMENT
