"""The slowdown that is asked for: how long a step is delayed, and that a rank tells of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trainer.machine import calibrate, hardware

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


def test_a_machine_is_what_its_system_says() -> None:
    found = hardware()

    assert found.cpu
    assert found.cores >= 1
    assert found.memory_gib >= 1
    assert found == hardware()


def test_a_machine_in_a_container_has_the_containers_memory(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor : 0\nmodel name : Example CPU\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal: 33554432 kB\n")
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    limit = tmp_path / "sys/fs/cgroup/memory.max"

    limit.write_text("max\n")
    assert (hardware(tmp_path).cpu, hardware(tmp_path).memory_gib) == ("Example CPU", 32)
    limit.write_text(f"{6 << 30}\n")
    assert hardware(tmp_path).memory_gib == 6


def test_the_calibration_is_short_and_takes_time() -> None:
    assert 0 < calibrate() < 1
