"""The ranks of a trial as plain processes, or started by MPI: what Ray Train's workers are compared with.

They get what the cluster's workers get, without the cluster: environment, core, priority, collective.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from fixtures.analysis.plan import TrialSpec
from fixtures.clusters.evidence import tail
from fixtures.clusters.training_environment import trainer_environment
from fixtures.errors import InfraError, MissingResultError
from fixtures.system.paths import IMAGE
from fixtures.system.ports import free_addresses
from trainer.reading import BrokenResultError
from trainer.result import TrialResult, decode

ROOT = Path(__file__).resolve().parents[1]
POLL_SECONDS = 1.0
MPIEXEC = Path(sys.executable).with_name("mpiexec")

Start = Callable[[Sequence[Sequence[str]]], Sequence[Sequence[str]]]
"""From the command of each rank to those that are to be started."""


def start_each(ranks: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    """Start each rank by itself."""
    return ranks


def start_by_mpi(ranks: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    """Let MPI's launcher start all of them; they take their core themselves, as the others do."""
    command = [str(MPIEXEC), "-bind-to", "none"]
    for number, rank in enumerate(ranks):
        command += [*([":"] if number else []), "-n", "1", *rank]
    return [command]


def run(
    spec: TrialSpec,
    batch_size: int,
    environ: Mapping[str, str],
    start: Start = start_each,
    *,
    on_poll: Callable[[], None],
    deadline_seconds: float,
) -> TrialResult:
    """Train with `spec.workers` processes on this machine, one core each.

    Args:
        spec: what to do.
        batch_size: global, divided among the ranks.
        environ: the environment from which the few variables are taken that training gets.
        start: who starts the ranks.
        on_poll: called about once a second while they train.
        deadline_seconds: after this they are ended.

    Raises:
        InfraError: a rank failed, or the deadline passed.
        MissingResultError: they handed over no result.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    addresses = free_addresses(spec.workers)
    with TemporaryDirectory(prefix="ranks-") as folder, ExitStack() as stack:
        scratch = Path(folder)
        common = {
            **trainer_environment(environ, Path(sys.executable)),
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, IMAGE))),
            "HOME": folder,
            "TMPDIR": folder,
            "OMP_NUM_THREADS": "1",  # as Ray sets it for a worker with one CPU
        }
        ranks = []
        for rank in range(spec.workers):
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
            command = ["env", f"TF_CONFIG={json.dumps(task)}", sys.executable, "-m", "benchmarks.rank"]
            command += ["--rank", str(rank), "--workers", str(spec.workers)]
            command += ["--epochs", str(spec.epochs), "--seed", str(spec.seed), "--batch-size", str(batch_size)]
            command += ["--data", str(IMAGE / "data" / "mnist.npz")]
            command += ["--core", str(cores[rank % len(cores)])] if cores else []
            ranks.append([*command, *(["--evaluate"] if spec.kind == "accuracy" else [])])
        started = []
        for number, wanted in enumerate(start(ranks)):
            process = subprocess.Popen(
                wanted,
                cwd=scratch,
                env=common,
                stdin=subprocess.DEVNULL,
                stdout=stack.enter_context(_log(scratch, number).open("wb")),
                stderr=stack.enter_context((scratch / f"{number}.err").open("wb")),
            )
            stack.callback(_end, process)
            started.append(process)
        _await(started, scratch, on_poll, deadline_seconds)
        return _result(scratch)


def _await(
    started: list[subprocess.Popen[bytes]], scratch: Path, on_poll: Callable[[], None], deadline_seconds: float
) -> None:
    until = time.monotonic() + deadline_seconds
    while True:
        codes = [process.poll() for process in started]
        for rank, code in enumerate(codes):
            if code:
                said = tail(scratch / f"{rank}.err", 600).strip()
                raise InfraError(f"Rank {rank} without Ray ended with exit code {code}: {said}", see="rank-lost")
        if None not in codes:
            return
        if time.monotonic() > until:
            raise InfraError(
                f"The ranks without Ray did not end within {deadline_seconds:.0f} s.", "Is the machine overloaded?"
            )
        on_poll()
        time.sleep(POLL_SECONDS)


def _result(scratch: Path) -> TrialResult:
    try:
        return decode(_log(scratch, 0).read_text(errors="replace"))
    except BrokenResultError as error:
        raise MissingResultError(f"The ranks without Ray: {error}.", see="result-incomplete") from error


def _log(scratch: Path, rank: int) -> Path:
    return scratch / f"{rank}.out"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(timeout=10)
