"""The time of an all-reduce: taken by our ring alone, and only when somebody asks."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.collective import Alone, Delayed, OwnCollective, TensorFlowCollective
from trainer.telemetry import Stopwatch

pytestmark = pytest.mark.training


def test_the_ring_is_timed_only_when_a_stopwatch_is_given() -> None:
    ring: Any = OwnCollective.__new__(OwnCollective)
    ring.name = "ring"
    calls = iter([1.0, 1.5, 2.0, 2.25])

    class Added:
        def all_reduce(self, vector: Any) -> Any:
            return vector + 1

    ring._ring = Added()
    ring._sum = ring._ring.all_reduce
    before = ring._sum
    stopwatch = Stopwatch(clock=lambda: next(calls))

    assert ring._sum is before
    assert ring.timed_by(stopwatch)
    assert [ring._sum(1), ring._sum(2)] == [2, 3]
    assert stopwatch.lap() == pytest.approx(0.75)
    assert stopwatch.lap() == 0.0
    assert Delayed(ring, 0.1).timed_by(stopwatch)
    assert not Alone().timed_by(stopwatch)
    assert not TensorFlowCollective.__new__(TensorFlowCollective).timed_by(stopwatch)
