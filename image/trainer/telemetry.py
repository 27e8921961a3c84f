"""What a trial tells its monitor while it runs: one datagram for each epoch, sent between epochs, by both sides alike.

Off unless the trial is given an address. A datagram is sent and forgotten: nobody waits for an answer, and a lost one
is lost. It carries nothing that a result depends on. Standard library only, since the baseline imports no Ray; what
listens is trainer.exporter, which hands the figures to Ray's metrics.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer.cgroup import throttled, throttled_share
from trainer.progress import Progress


class Telemetry:
    """Sends events of one trial, such as "round 3, 2 workers", to "host:port"; an empty address sends nothing."""

    def __init__(self, address: str, trial: str) -> None:
        host, _, port = address.rpartition(":")
        self._trial = trial
        self._to = (host, int(port)) if address else None

    def send(self, event: str, **figures: object) -> None:
        """Send one event; never raises and never waits."""
        if self._to is None:
            return
        body = json.dumps({"event": event, "trial": self._trial, "at": time.time(), **figures}).encode()
        # A name that cannot be resolved or a network that is gone must not end a training.
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto(body, self._to)

    def of_rank(self, rank: int, world_size: int, batch_size: int, show: Progress) -> Progress:
        """Return progress that is shown as before, and whose epochs are sent as well."""
        if self._to is None:
            return show
        throttling, busy = Throttling(), Busy()

        def progress(event: Mapping[str, object]) -> None:
            show(event)
            if event.get("phase") == "train" and "epoch" in event:
                figures = rank_figures(event, world_size, batch_size)
                self.send("epoch", rank=rank, **figures, throttled=throttling.share(), cpus=busy.cpus())

        return progress


def rank_figures(event: Mapping[str, Any], world_size: int, batch_size: int) -> dict[str, object]:
    """Return what one rank did in an epoch, from its progress event, in which samples/s are those of all ranks."""
    samples, reduced = event["images_per_second"], event.get("all_reduce_seconds")
    return {
        "epoch": event["epoch"],
        "loss": event["loss"],
        "accuracy": event["accuracy"],
        "images_per_second": samples / world_size,
        "step_seconds": batch_size / samples,
        "all_reduce_share": None if reduced is None else reduced / event["seconds"],
    }


class Throttling:
    """How often this process's control groups have used up their CPU quota, between two calls."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._before = throttled(root)

    def share(self) -> float | None:
        """Return the share of the quota's periods since the last call that were throttled; None without a quota."""
        before, self._before = self._before, throttled(self._root)
        return throttled_share(before, self._before)


class Busy:
    """How many CPUs this process keeps busy, between two calls."""

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, cpu: Callable[[], float] = time.process_time
    ) -> None:
        self._clock, self._cpu = clock, cpu
        self._before = clock(), cpu()

    def cpus(self) -> float:
        """Return the CPU seconds for each second since the last call."""
        before, self._before = self._before, (self._clock(), self._cpu())
        return (self._before[1] - before[1]) / max(self._before[0] - before[0], 1e-9)


class Stopwatch:
    """Adds up the seconds that a function takes."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._seconds = clock, 0.0

    def around(self, work: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return the same function, timed: two readings of a clock a call."""

        def timed(argument: Any) -> Any:
            began = self._clock()
            done = work(argument)
            self._seconds += self._clock() - began
            return done

        return timed

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds
