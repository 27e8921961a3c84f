"""The time of an all-reduce: taken by our ring alone, and only when somebody asks."""

import pytest
import tensorflow as tf

from fixtures.system.ports import free_addresses
from trainer.collective import Alone, Delayed, OwnCollective, TensorFlowCollective
from trainer.ring import Ring
from trainer.telemetry import Stopwatch

pytestmark = pytest.mark.training


def test_the_ring_is_timed_only_when_a_stopwatch_is_given() -> None:
    calls = iter([1.0, 1.5, 2.0, 2.25])
    stopwatch = Stopwatch(clock=lambda: next(calls))
    own = OwnCollective(Ring(0, free_addresses(1)), None)
    vector = tf.constant([1.0, 2.0])

    own.all_reduce(vector)  # asks no clock
    assert own.timed_by(stopwatch)
    sums = [own.all_reduce(vector).numpy().tolist() for _ in range(2)]
    own.close()

    assert sums == [[1.0, 2.0]] * 2
    assert stopwatch.lap() == pytest.approx(0.75)
    assert stopwatch.lap() == 0.0
    assert Delayed(own, 0.1).timed_by(stopwatch)
    assert not Alone().timed_by(stopwatch)
    assert not TensorFlowCollective.__new__(TensorFlowCollective).timed_by(stopwatch)
