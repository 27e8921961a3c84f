"""N independent baselines side by side, one per Ray node: what the machine can show at most.

Each copy is the plain baseline process, which imports no Ray; an actor on each node only starts it and
lets all of them begin their first epoch at the same moment.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Sequence

import ray

from trainer.progress import READY, Progress
from trainer.result import RankRecord, decode

BUILD_SECONDS = 180.0


class CopyFailedError(RuntimeError):
    """A copy ended without a result."""


class Copy:
    """Starts one baseline process on its node and talks to it through its standard input and output."""

    def __init__(self, arguments: Sequence[str]) -> None:
        command = [sys.executable, "-m", "trainer", *arguments, "--wait-for-start"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ready(self) -> None:
        """Return when the copy has built its graph and waits for the start."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == READY:
                return
        raise CopyFailedError(f"a copy of the baseline ended with exit code {self._process.wait()} before it was ready")

    def go(self, timeout: float) -> RankRecord:
        """Let it train, and return what it hands over."""
        log, _ = self._process.communicate("\n", timeout=timeout)
        if self._process.returncode:
            raise CopyFailedError(f"a copy of the baseline ended with exit code {self._process.returncode}")
        return decode(log).ranks[0]


def run(
    arguments: Sequence[str],
    copies: int,
    cpus: int,
    gpus: int,
    timeout: float,
    marks: dict[str, float],
    progress: Progress,
) -> tuple[RankRecord, ...]:
    """Run `copies` baselines with these arguments at the same time; return their records, numbered as ranks."""
    progress({"phase": "ray"})
    ray.init(address="auto", configure_logging=False)
    marks["ray"] = time.time()
    progress({"phase": "build"})
    actor = ray.remote(num_cpus=cpus, num_gpus=gpus, scheduling_strategy="SPREAD")(Copy)
    started = [actor.remote(list(arguments)) for _ in range(copies)]
    ray.get([copy.ready.remote() for copy in started], timeout=BUILD_SECONDS)
    marks["build"] = time.time()
    progress({"phase": "train", "copies": copies})
    records: list[RankRecord] = ray.get([copy.go.remote(timeout) for copy in started], timeout=timeout + 30)
    marks["train"] = time.time()
    return tuple(dataclasses.replace(record, rank=number) for number, record in enumerate(records))
