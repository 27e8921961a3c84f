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

from benchmarks.rounds import BATCH
from fixtures.analysis.measurement import Measurement
from fixtures.analysis.plan import TrialSpec
from fixtures.clusters.contract import require_nothing_missing
from fixtures.clusters.local.provider import LocalProvider
from fixtures.errors import BenchmarkError, MissingResultError
from fixtures.measure.display import Display
from fixtures.measure.jobs import JobsClient
from fixtures.measure.trials import TrialRunner

EVERY_SECONDS = 1.0
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
    seconds = {}
    for folder in proc.iterdir():
        if folder.name.isdecimal():
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                threads = [(task / "schedstat").read_text().split()[0] for task in (folder / "task").iterdir()]
            except OSError:  # it ended meanwhile
                continue
            seconds[int(folder.name)] = (command, sum(map(int, threads)) / 1e9)
    return seconds


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
    return dict(sorted(cores.items(), key=lambda share: -share[1]))


def measure(workers: int, epochs: int, environ: Mapping[str, str]) -> tuple[Measurement, dict[str, float]]:
    """Run the trial, and see who computes from the end of its build to the end of its training.

    Raises:
        InfraError: no cluster, or a job that was lost.
        MissingResultError: the job failed, or trained too shortly to be watched.
    """
    provider = LocalProvider(max(workers, 1), 1, environ)
    require_nothing_missing(provider.preflight())
    display = Display(_write, live=False)
    samples: list[Sample] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY_SECONDS):
            samples.append(Sample(time.time(), read()))

    watcher = threading.Thread(target=watch, daemon=True)
    try:
        cluster = provider.up(display.line)
        with JobsClient(cluster.dashboard, cluster.token) as jobs:
            runner = TrialRunner(provider, cluster, jobs, display, cpus=1, collective="auto")
            watcher.start()
            trial = runner.trial(TrialSpec("timing", workers, 1, epochs, seed=1, probe=False), BATCH, 1, "trial")
    finally:
        ended.set()
        provider.down()
    watcher.join()
    first = max(rank.marks["build"] for rank in trial.result.ranks)
    last = min(rank.marks["train"] for rank in trial.result.ranks)
    inside = [sample for sample in samples if first <= sample.at <= last]
    if len(inside) < 2:
        raise MissingResultError("The training was too short to be watched.", "Ask for more --epochs.")
    return trial, shares(inside[0], inside[-1])


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description="Where a trial's time goes.")
    parser.add_argument("--workers", type=int, default=2, help="Ray Train workers; 0 is the baseline (default: 2)")
    parser.add_argument("--epochs", type=int, default=3, help="how long it trains (default: 3)")
    options = parser.parse_args(arguments)
    if options.workers < 0 or options.epochs < 1:
        parser.error("--workers starts at 0, --epochs at 1")
    try:
        trial, busy = measure(options.workers, options.epochs, os.environ)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    result = trial.result
    epochs = ", ".join(f"{epoch.seconds:.2f}" for epoch in result.ranks[0].epochs)
    print(f"\ntraining loop {result.train_seconds:.2f} s (epochs {epochs}), job {trial.job_seconds:.2f} s; of it")
    for name, seconds in trial.phases.items():
        print(f"  {name:28s} {seconds:7.2f} s")
    print("cores that were busy while it trained")
    for name, cores in busy.items():
        print(f"  {name:28s} {cores:7.4f}")
    return 0


def _write(text: str) -> None:
    print(text, end="", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
