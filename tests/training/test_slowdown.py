"""The slowdown that is asked for: how long each step is delayed. It needs TensorFlow, but no Ray."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.training

ROOT = Path(__file__).parents[2]
DELAYED = """
import sys
sys.path.insert(0, "image")
import numpy as np
import tensorflow as tf
from trainer.collective import Alone, Delayed

now, slept = [0.0], []
def sleep(seconds):
    slept.append(round(seconds, 6))
    now[0] += seconds
collective = Delayed(Alone(), 0.15, clock=lambda: now[0], sleep=sleep)

now[0] += 100.0  # a graph is built, an epoch is evaluated
collective.barrier()
for step in (0.010, 0.020):
    now[0] += step
    total = collective.all_reduce(tf.constant([1.0, 2.0]))
assert total.numpy().tolist() == [1.0, 2.0] and total.shape == (2,)
print(collective.name, slept)
"""


def test_each_step_is_delayed_by_its_share_and_the_time_before_a_barrier_by_none() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DELAYED], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.stdout == "none [0.0015, 0.003]\n", done.stderr[-2000:]
