"""Where the time of a trial goes: its phases, and who runs beside the ranks while they train, thread by thread.

    python -m benchmarks.overhead [--workers 2] [--epochs 4]
    python -m benchmarks.overhead --try log-monitor --turns 3       # in turn with a cluster as it is

Runs trials on an embedded cluster. What the threads did between the end of the build and the end of the training is
read from /proc/PID/task/*/schedstat (Linux only). A try changes the cluster from outside while the ranks train, and
changes it back: processes are stopped (SIGSTOP), or moved to a core that no rank is on.
"""

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from benchmarks.rounds import BATCH
from benchmarks.threads import RANK, Sample, Share, Threads, read, role, shares
from fixtures.analysis.measurement import Measurement
from fixtures.analysis.plan import TrialSpec
from fixtures.clusters.contract import require_nothing_missing
from fixtures.clusters.local.provider import LocalProvider
from fixtures.errors import BenchmarkError, MissingResultError
from fixtures.measure.display import Display
from fixtures.measure.jobs import JobsClient
from fixtures.measure.trials import TrialRunner

EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class Try:
    """A change of the cluster while its ranks train.

    Attributes:
        what: one sentence.
        stopped: roles whose processes are stopped.
        moved: "head" or "all but ranks", whose processes go to a core that no rank is on.
    """

    what: str
    stopped: tuple[str, ...] = ()
    moved: str = ""


TRIES = MappingProxyType(
    {
        "dashboard": Try("the dashboard's modules that no trial uses are stopped", ("dashboard, other modules",)),
        "log-monitor": Try("the log monitor is stopped", ("log monitor",)),
        "supervisor": Try("the supervisor of the Jobs API is stopped", ("JobSupervisor",)),
        "head": Try("the head is on a core that no rank is on", moved="head"),
        "spare-core": Try("everything but the ranks is on a core that no rank is on", moved="all but ranks"),
    }
)


class Watcher(threading.Thread):
    """Reads all threads every second, and makes a try as long as ranks live.

    Attributes:
        samples: that were read.

    Args:
        provider: whose processes a try may change.
        attempt: the try; None for a cluster as it is.
    """

    def __init__(self, provider: LocalProvider, attempt: Try | None) -> None:
        super().__init__(daemon=True)
        self.samples: list[Sample] = []
        self._provider, self._attempt = provider, attempt
        self._ended = threading.Event()
        self._cores = os.sched_getaffinity(0)

    def run(self) -> None:
        """Watch until `end`."""
        while not self._ended.wait(EVERY_SECONDS):
            threads = read(self._provider.processes() | {os.getpid()})
            self.samples.append(Sample(time.time(), threads))
            if self._attempt is not None:
                self._change(self._attempt, threads)
        self._signal(self._provider.processes(), signal.SIGCONT)

    def end(self) -> None:
        """Stop watching, and let go on what was stopped."""
        self._ended.set()
        self.join()

    def _change(self, attempt: Try, threads: Threads) -> None:
        ours = self._provider.processes()
        ranks = {
            process for (process, _), thread in threads.items() if process in ours and role(thread.command) == RANK
        }
        who = {process: role(thread.command) for (process, _), thread in threads.items() if process in ours}
        stopped = [process for process, name in who.items() if name in attempt.stopped]
        self._signal(stopped, signal.SIGSTOP if ranks else signal.SIGCONT)
        free = self._cores - {
            core for (process, _), thread in threads.items() if process in ranks for core in thread.cores
        }
        for (process, number), thread in threads.items() if ranks and free and attempt.moved else ():
            movable = process in ours and process not in ranks
            if movable and (attempt.moved != "head" or thread.cores >= self._cores):
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(number, free)

    def _signal(self, processes: Iterable[int], what: signal.Signals) -> None:
        for process in processes:
            with contextlib.suppress(OSError):
                os.kill(process, what)


def measure(
    workers: int, epochs: int, attempts: Sequence[Try | None], environ: Mapping[str, str]
) -> list[tuple[Measurement, list[Share]]]:
    """Run a trial with each try, and see who runs from the end of its build to the end of its training.

    Raises:
        InfraError: no cluster, or a job that was lost.
        MissingResultError: a job failed, or trained too shortly to be watched.
    """
    display = Display(_write, live=False)
    measured = []
    for number, attempt in enumerate(attempts, 1):
        provider = LocalProvider(max(workers, 1), 1, environ)
        require_nothing_missing(provider.preflight())
        watcher = Watcher(provider, attempt)
        try:
            cluster = provider.up(display.line)
            with JobsClient(cluster.dashboard, cluster.token) as jobs:
                runner = TrialRunner(provider, cluster, jobs, display, cpus=1, collective="auto")
                watcher.start()
                spec = TrialSpec("timing", workers, 1, epochs, seed=number, probe=False)
                trial = runner.trial(spec, BATCH, number, f"trial {number}/{len(attempts)}")
        finally:
            if watcher.is_alive():
                watcher.end()
            provider.down()
        measured.append((trial, shares(*_ends(trial, watcher.samples))))
    return measured


def _ends(trial: Measurement, samples: Sequence[Sample]) -> tuple[Sample, Sample]:
    first = max(rank.marks["build"] for rank in trial.result.ranks)
    last = min(rank.marks["train"] for rank in trial.result.ranks)
    inside = [sample for sample in samples if first <= sample.at <= last]
    if len(inside) < 2:
        raise MissingResultError("The training was too short to be watched.", "Ask for more --epochs.")
    return inside[0], inside[-1]


def parse(arguments: Sequence[str], cores: Collection[int]) -> argparse.Namespace:
    """The command line; exits with code 2 and one sentence when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description="Where a trial's time goes.")
    parser.add_argument("--workers", type=int, default=2, help="Ray Train workers; 0 is the baseline (default: 2)")
    parser.add_argument("--epochs", type=int, default=4, help="how long it trains (default: 4)")
    tries = "; ".join(f"{name}: {attempt.what}" for name, attempt in TRIES.items())
    parser.add_argument("--try", dest="attempt", choices=tuple(TRIES), help=tries)
    parser.add_argument("--turns", type=int, default=1, help="how often, with a try in turn without and with it")
    options = parser.parse_args(arguments)
    if options.workers < 0 or options.epochs < 1 or options.turns < 1:
        parser.error("--workers starts at 0, --epochs and --turns at 1")
    if options.attempt and TRIES[options.attempt].moved and max(1, options.workers) >= len(cores):
        parser.error(f"--try {options.attempt} needs a core more than ranks, here are {len(cores)}: --workers 1")
    return options


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    options = parse(arguments, os.sched_getaffinity(0))
    names = [None, options.attempt] if options.attempt else [None]
    try:
        attempts = [TRIES[name] if name else None for name in names] * options.turns
        measured = measure(options.workers, options.epochs, attempts, os.environ)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    for attempt, (trial, table) in zip(attempts, measured, strict=True):
        print(f"\n{attempt.what if attempt else 'the cluster as it is'}")
        show(trial, table)
    return 0


def show(trial: Measurement, table: Sequence[Share]) -> None:
    """Print the phases of a job, and who ran beside its ranks."""
    result = trial.result
    epochs = ", ".join(f"{epoch.seconds:.2f}" for epoch in result.ranks[0].epochs)
    print(f"training loop {result.train_seconds:.2f} s (epochs {epochs}), job {trial.job_seconds:.2f} s; of it")
    for name, seconds in trial.phases.items():
        print(f"  {name:36s} {seconds:7.2f} s")
    print(f"  {'while it trained, of a core':36s} {'ran':>9s} {'waited':>9s} {'slices/s':>9s} {'cost a rank':>12s}")
    for share in table:
        print(f"  {share.who:36s} {share.ran:9.2%} {share.waited:9.2%} {share.slices:9.0f} {share.cost:12.2%}")


def _write(text: str) -> None:
    print(text, end="", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
