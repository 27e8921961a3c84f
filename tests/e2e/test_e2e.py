"""The product: one baseline, N Ray Train workers, the same work, and an honest speedup.

pytest -m e2e --workers=2,4
"""

import pytest

from fixtures.analysis.summary import Summary
from fixtures.analysis.work import require_accuracy
from fixtures.plugin.reporting import Replay, judge

pytestmark = pytest.mark.e2e


def test_baseline_reaches_the_accuracy(summary: Summary, replay: Replay) -> None:
    trial = summary.run.accuracy_trial(0)
    if trial is None:
        judge(summary.verdict)
    assert trial is not None, "the baseline has no accuracy trial"

    accuracy = require_accuracy(trial.result.ranks[0])
    replay(0, accuracy=accuracy, seconds=trial.result.train_seconds)

    assert accuracy >= summary.settings.min_accuracy


def test_workers_do_the_same_work_faster(workers: int, summary: Summary, replay: Replay) -> None:
    comparison = summary.of(workers)
    if comparison.parallel is not None:
        replay(
            workers,
            accuracy=comparison.parallel.result.accuracy,
            seconds=comparison.parallel.result.train_seconds,
        )

    judge(comparison.verdict)
