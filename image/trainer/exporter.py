"""Pass the figures of trials to Ray's metrics: a job of its own on the head.

It listens for the datagrams of trainer.telemetry and says on which address, as its first line. A trial itself knows
nothing of Ray's metrics, so that the baseline, which imports no Ray, and the workers report in the same way.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer.reading import parse_json

MARKER = "EXPORTER-READY"
TICK_SECONDS = 2.0
LINGER_SECONDS = 30.0
"""So long the last figures of a trial that has ended are still reported: each must be scraped at least once."""

RANK_FIGURES: Mapping[str, str] = {
    "images_per_second": "Samples that one rank trained on in a second of the last epoch's training loop",
    "step_seconds": "Mean time of one update in the last epoch",
    "all_reduce_share": "Share of the last epoch's training loop that the rank spent in all-reduce, waiting included",
    "loss": "Mean loss of the rank's samples in the last epoch",
    "accuracy": "Mean score of the test samples after the last epoch",
    "throttled": "Share of the CPU quota's periods since the last epoch in which it was used up",
    "cpus": "CPUs that the rank's process kept busy since the last epoch",
    "epoch": "Epochs that the rank has trained",
}
"""Field of an epoch's datagram, and what it is. The metric is `ray_e2e_` and the field."""

TRIAL_FIGURES: Mapping[str, str] = {
    "trial_start_time_seconds": "Unix time at which the trial's driver began",
    "trial_end_time_seconds": "Unix time at which the trial's driver ended",
    "trial_running": "1 from the beginning of a trial to its end, then 0",
    "trial_workers": "Ray Train workers of a running trial; 0 for the baseline and its copies",
    "trial_progress_time_seconds": "Unix time at which a running trial was last heard of",
}

Gauge = Callable[[str, float, dict[str, str]], None]
"""Takes a metric's name, a value, and its tags."""


@dataclass
class _Trial:
    """The last that was heard of one trial."""

    began: float
    workers: int
    heard: float
    ended: float | None = None
    ranks: dict[int, dict[str, float]] = field(default_factory=dict)


class Figures:
    """What is known of the trials that run or have just ended."""

    def __init__(self) -> None:
        self._trials: dict[str, _Trial] = {}

    def take(self, datagram: bytes) -> bool:
        """Learn from one datagram; False for one that is not ours, or of a trial whose beginning was not heard."""
        try:
            said = parse_json(datagram.decode())
            event, name, at = str(said["event"]), str(said["trial"]), float(said["at"])
            if event == "begin":
                self._end_others(at)
                self._trials[name] = _Trial(at, int(said["workers"]), at)
                return True
            trial = self._trials[name]
            if event == "epoch":
                given = {key: float(said[key]) for key in RANK_FIGURES if said.get(key) is not None}
                trial.ranks[int(said["rank"])] = given
            elif event == "end":
                trial.ended = at
            trial.heard = max(trial.heard, at)
        except (ValueError, KeyError, TypeError):
            return False
        return True

    def _end_others(self, at: float) -> None:
        """End the trials before a new one: a killed one has not said that it ended."""
        for trial in self._trials.values():
            trial.ended = trial.ended or at

    def report(self, gauge: Gauge, now: float) -> None:
        """Report every figure as it is now, and forget trials that ended long ago."""
        for name, trial in list(self._trials.items()):
            if trial.ended is not None and now - trial.ended >= LINGER_SECONDS:
                del self._trials[name]
        for name, metric, value, tags in self._values():
            gauge(f"e2e_{metric}", value, {"trial": name, **tags})

    def _values(self) -> Iterator[tuple[str, str, float, dict[str, str]]]:
        for name, trial in self._trials.items():
            yield name, "trial_start_time_seconds", trial.began, {}
            yield name, "trial_running", float(trial.ended is None), {}
            if trial.ended is None:
                yield name, "trial_workers", float(trial.workers), {}
                yield name, "trial_progress_time_seconds", trial.heard, {}
            else:
                yield name, "trial_end_time_seconds", trial.ended, {}
            for rank, figures in trial.ranks.items():
                for metric, value in figures.items():
                    yield name, metric, value, {"rank": str(rank)}


def ray_gauges() -> Gauge:
    """Return Ray's own gauges, one for each figure; connects to the cluster that this process is a job of."""
    import ray  # noqa: PLC0415 - what reads the tables above needs no Ray
    from ray.util import metrics  # noqa: PLC0415

    ray.init(address="auto", configure_logging=False, log_to_driver=False)
    gauges: dict[str, Any] = {}
    for figures, tags in ((RANK_FIGURES, ("trial", "rank")), (TRIAL_FIGURES, ("trial",))):
        for name, help_text in figures.items():
            gauges[f"e2e_{name}"] = metrics.Gauge(f"e2e_{name}", description=help_text, tag_keys=tags)
    return lambda name, value, tags: gauges[name].set(value, tags=tags)


def own_address() -> str:
    """Return the address of this node, as the other nodes reach it."""
    from ray.util import get_node_ip_address  # noqa: PLC0415

    return str(get_node_ip_address())


def serve(channel: socket.socket, gauge: Gauge, clock: Callable[[], float] = time.time) -> Iterator[None]:
    """Listen, and report at each tick and as soon as something was heard; yield after each report."""
    figures = Figures()
    channel.settimeout(TICK_SECONDS)
    while True:
        with contextlib.suppress(TimeoutError):  # a tick: values that are not set again count as stale
            figures.take(channel.recv(65_536))
        figures.report(gauge, clock())
        yield


def main() -> None:
    """Serve until the job is stopped."""
    os.nice(10)  # trials go first
    gauge = ray_gauges()
    host = own_address()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind((host, 0))
        print(f"{MARKER} {host}:{channel.getsockname()[1]}", flush=True)
        for _ in serve(channel, gauge):
            continue


if __name__ == "__main__":
    main()
