"""Where the time of a trial goes: its phases, and who else computes while it trains.

    python -m benchmarks.overhead [--workers 2] [--epochs 3]

Runs one trial on an embedded cluster. Prints the phases of its job, and the CPU of every process between the
end of its build and the end of its training, read from /proc (Linux only).
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fixtures.errors import BenchmarkError, MissingFigure
from fixtures.jobs import FinishedJob, JobsClient
from fixtures.local import LocalProvider
from trainer.result import MARKER, TrialResult, decode

EVERY_SECONDS = 1.0
DEADLINE_SECONDS = 900.0
ROLES = {
    "RayTrainWorker": "ranks",
    "-m trainer --workers 0": "baseline",
    "-m trainer": "driver",
    "gcs_server": "GCS",
    "raylet/raylet": "raylets",
    "DashboardAgent": "dashboard agents",
    "ray-dashboard": "dashboard",
    "dashboard.py": "dashboard",
    "log_monitor": "log monitor",
    "RuntimeEnvAgent": "runtime environment agents",
    "ray::": "Ray's own actors",
    "benchmarks.overhead": "this program",
}
"""What is found in a command line, the first that fits, and who that is."""

CpuSeconds = dict[int, tuple[str, float]]


@dataclass(frozen=True)
class Sample:
    """CPU seconds of every process since it began, with its command, at a unix time."""

    at: float
    seconds: CpuSeconds


def read(proc: Path = Path("/proc")) -> CpuSeconds:
    """CPU seconds by process id: those of its threads that live, in nanoseconds' precision."""
    found = {}
    for folder in proc.iterdir():
        if folder.name.isdecimal():
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                threads = [(task / "schedstat").read_text().split()[0] for task in (folder / "task").iterdir()]
            except OSError:  # it ended meanwhile
                continue
            found[int(folder.name)] = (command, sum(map(int, threads)) / 1e9)
    return found


def role(command: str) -> str:
    """Who a process is, by its command line.

    >>> role("ray::TrainController.run"), role("vim")
    ("Ray's own actors", 'other programs')
    """
    return next((name for part, name in ROLES.items() if part in command), "other programs")


def shares(before: Sample, after: Sample) -> dict[str, float]:
    """Cores that each role kept busy between two samples, the largest first."""
    cores: defaultdict[str, float] = defaultdict(float)
    for process, (command, seconds) in after.seconds.items():
        cores[role(command)] += (seconds - before.seconds.get(process, ("", 0.0))[1]) / (after.at - before.at)
    return dict(sorted(cores.items(), key=lambda each: -each[1]))


def phases(job: FinishedJob, result: TrialResult) -> dict[str, float]:
    """Seconds of each phase of a job, in order; of a phase that all ranks pass, the slowest rank's end counts."""
    ends = dict(result.marks)
    for name in {name for rank in result.ranks for name in rank.marks}:
        ends[name] = max(rank.marks[name] for rank in result.ranks)
    ordered = sorted([*ends.items(), ("job ends", job.ended_at)], key=lambda each: each[1])
    began, taken = job.submitted_at, {}
    for name, at in ordered:
        taken[name], began = at - began, at
    return taken


def measure(workers: int, epochs: int, environ: Mapping[str, str]) -> tuple[FinishedJob, TrialResult, dict[str, float]]:
    """Run the trial. Raises Infra or MissingFigure."""
    provider = LocalProvider(max(workers, 1), 1, environ)
    samples: list[Sample] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY_SECONDS):
            samples.append(Sample(time.time(), read()))

    try:
        cluster = provider.up(print)
        command = [cluster.python, "-m", "trainer", "--workers", str(workers), "--epochs", str(epochs)]
        with JobsClient(cluster.dashboard, cluster.token) as jobs:
            watcher = threading.Thread(target=watch, daemon=True)
            watcher.start()
            try:
                job = jobs.submit([*command, "--data", cluster.data], cpus=0 if workers else 1)
                finished = jobs.follow(job, lambda line: None, DEADLINE_SECONDS, marker=MARKER)
            finally:
                ended.set()
                watcher.join()
    finally:
        provider.down()
    if not finished.succeeded:
        raise MissingFigure(f"The trial ended {finished.status}: {finished.log[-500:]}")
    result = decode(finished.log)
    first = max(rank.marks["build"] for rank in result.ranks)
    last = min(rank.marks["train"] for rank in result.ranks)
    inside = [sample for sample in samples if first <= sample.at <= last]
    if len(inside) < 2:
        raise MissingFigure("The training was too short to be watched.", "Ask for more --epochs.")
    return finished, result, shares(inside[0], inside[-1])


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description="Where a trial's time goes.")
    parser.add_argument("--workers", type=int, default=2, help="Ray Train workers; 0 is the baseline (default: 2)")
    parser.add_argument("--epochs", type=int, default=3, help="how long it trains (default: 3)")
    options = parser.parse_args(arguments)
    if options.workers < 0 or options.epochs < 1:
        parser.error("--workers starts at 0, --epochs at 1")
    try:
        job, result, busy = measure(options.workers, options.epochs, os.environ)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    epochs = ", ".join(f"{epoch.seconds:.2f}" for epoch in result.ranks[0].epochs)
    print(f"\ntraining loop {result.train_seconds:.2f} s (epochs {epochs}); seconds of the job until")
    for name, seconds in phases(job, result).items():
        print(f"  {name:12s} {seconds:6.2f}")
    print("cores that were busy while it trained")
    for name, cores in busy.items():
        print(f"  {name:28s} {cores:7.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
