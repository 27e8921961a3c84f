"""One trial on the command line: the baseline, N ranks under Ray Train, or N copies of the baseline.

The last line of the output carries the result (see trainer.result).
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from trainer import data, deferred, ray_private
from trainer.formats import InvalidDataError
from trainer.gpu import UnusableGpuError
from trainer.progress import READY, show
from trainer.result import (
    DAMAGED_DATA,
    DIVERGED,
    INVALID_WORKLOAD,
    UNUSABLE_GPU,
    DivergedError,
    RankRecord,
    TrialResult,
    encode,
)
from trainer.telemetry import Telemetry
from trainer.work import Work
from trainer.workloads.facts import CNN_MNIST, InvalidWorkloadError

MNIST = Path(__file__).parent.parent / "data" / "mnist.npz"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; exit with code 2 and one sentence when it is wrong."""
    parser = argparse.ArgumentParser(prog="trainer", description=__doc__)
    parser.add_argument("--workers", type=int, required=True, help="0: no Ray; N: Ray Train workers")
    parser.add_argument("--copies", type=int, default=1, help="with --workers 0: independent baselines at once")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=128, help="global, divided among the workers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, metavar="X", help="in the place of the workload's own")
    parser.add_argument("--rate-factor", type=float, default=1.0, metavar="X", help="times the learning rate")
    parser.add_argument("--warm-up", type=int, default=0, metavar="N", help="updates in which it grows to that")
    parser.add_argument("--cpus", type=int, default=1, help="of each worker, and of the baseline")
    parser.add_argument("--cores", type=_cores, default=(), help="with --workers 0: cores to run on, such as 0,1")
    parser.add_argument("--gpus", type=int, choices=(0, 1), default=0, help="of each worker, and of the baseline")
    parser.add_argument("--tf32", action="store_true", help="let a GPU round to TF32, except beside --probe")
    parser.add_argument("--workload", default=CNN_MNIST.name, metavar="NAME|FILE", help="built in, or a user's file")
    parser.add_argument("--data", default=str(MNIST), help="of other workloads: what `workloads.prepare` wrote")
    parser.add_argument("--batch-norm", default="", metavar="groups:N", help="samples of a BatchNorm's statistics")
    parser.add_argument("--timing-updates", type=int, default=0, metavar="N", help="of each epoch; 0: all of them")
    parser.add_argument("--probe-samples", type=int, default=0, metavar="N", help="of each batch; 0: all of them")
    parser.add_argument("--collective", choices=("auto", "memory", "ring", "tensorflow"), default="auto")
    parser.add_argument("--ray-train", choices=("shipped", "trimmed"), default="shipped", help="trimmed: no helpers")
    parser.add_argument("--probe", action="store_true", help="run the equivalence probe first")
    parser.add_argument("--evaluate", action="store_true", help="test accuracy after every epoch")
    parser.add_argument("--slowdown", type=float, default=0.0, help="share by which each step is delayed on purpose")
    parser.add_argument("--checkpoint-every", type=int, default=0, metavar="N", help="of workers: updates between two")
    parser.add_argument("--kill", type=_kill, default=(0, 0), metavar="RANK:UPDATE", help="once, right before UPDATE")
    parser.add_argument("--lose-node", action="store_true", help="with --kill: wait until the node is taken away")
    parser.add_argument("--monitor", default="", metavar="HOST:PORT", help="who is told of each epoch, by datagrams")
    parser.add_argument("--trial", default="", metavar="NAME", help="what the monitor calls this trial")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds that copies may train")
    parser.add_argument("--wait-for-start", action="store_true", help=f"print {READY}, then wait for a line")
    options = parser.parse_args(arguments)
    _require_fitting(options, parser)
    return options


def _require_fitting(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse values that are out of bounds, or do not fit together."""
    if options.workers < 0 or options.batch_size < 1 or options.batch_size % max(1, options.workers):
        parser.error(f"--batch-size {options.batch_size} cannot be divided among --workers {options.workers}")
    if options.epochs < 1 or options.cpus < 1 or options.copies < 1 or (options.copies > 1 and options.workers):
        parser.error("--epochs, --cpus and --copies start at 1, and --copies needs --workers 0")
    if options.timing_updates < 0 or not 0 <= options.probe_samples <= options.batch_size:
        parser.error("--timing-updates and --probe-samples start at 0, and a probe has no more than --batch-size")
    if options.probe_samples % max(1, options.workers):
        parser.error(f"--probe-samples {options.probe_samples} cannot be divided among --workers {options.workers}")
    if not 0 < options.rate_factor < math.inf or options.warm_up < 0:
        parser.error("--rate-factor is above 0, and --warm-up a number of updates")
    if options.cores and (options.workers or options.copies > 1):
        parser.error("--cores is for one process alone: the cores of others are their nodes'")
    if not 0 <= options.slowdown <= 1 or (options.slowdown and not options.workers):
        parser.error("--slowdown is a share from 0 to 1, of workers alone: a baseline is never slowed down")
    kill_rank, kill_update = options.kill
    if options.checkpoint_every < 0 or (options.checkpoint_every and not options.workers):
        parser.error("--checkpoint-every is a number of updates, of workers alone")
    if options.kill != (0, 0) and not (0 < kill_rank < options.workers and 0 < options.checkpoint_every <= kill_update):
        parser.error("--kill names a rank that is not 0, and an update that is not before the first checkpoint")


def _cores(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _kill(text: str) -> tuple[int, int]:
    rank, update = map(int, text.split(":"))
    return rank, update


def wait_for_start() -> None:
    """Say that everything is built, and wait for a line on standard input."""
    print(READY, flush=True)
    sys.stdin.readline()


def run(options: argparse.Namespace, arguments: Sequence[str], marks: dict[str, float]) -> tuple[RankRecord, ...]:
    """Dispatch to the baseline, to its copies or to Ray Train; each imports only what it needs."""
    if options.copies > 1:
        from trainer import copies  # noqa: PLC0415

        # Copies would all speak as rank 0 of this trial: only its beginning and end are told.
        own = _without(_without(arguments, "--copies"), "--monitor")
        own = [argument for argument in own if argument != "--wait-for-start"]
        return copies.run(own, options.copies, options.cpus, options.gpus, options.timeout, marks, show)
    work = make_work(options)
    if options.workers:
        trimmed = options.ray_train == "trimmed"
        if trimmed:
            ray_private.trim_imports()
        from trainer import ray_train  # noqa: PLC0415 - the baseline imports no Ray

        return ray_train.run(work, options.workers, marks, show, trimmed=trimmed)
    deferred.import_tensorflow()  # seconds, which the command line need not pay
    from trainer import training  # noqa: PLC0415

    marks["import"] = time.time()
    hold = wait_for_start if options.wait_for_start else lambda: None
    progress = Telemetry(work.monitor, work.trial).of_rank(0, 1, work.batch_size, show)
    return training.train(work, 0, 1, dict(marks), progress, hold)


def make_work(options: argparse.Namespace) -> Work:
    """Return what every rank has to do."""
    return Work(
        seed=options.seed,
        epochs=options.epochs,
        batch_size=options.batch_size,
        threads=options.cpus,
        data=options.data,
        collective=options.collective,
        probe=options.probe,
        evaluate=options.evaluate,
        slowdown=options.slowdown,
        monitor=options.monitor,
        trial=options.trial,
        workload=options.workload,
        batch_norm=options.batch_norm,
        updates=options.timing_updates,
        probe_samples=options.probe_samples,
        checkpoint_every=options.checkpoint_every,
        kill_rank=options.kill[0],
        kill_update=options.kill[1],
        lose_node=options.lose_node,
        learning_rate=options.learning_rate,
        rate_factor=options.rate_factor,
        warm_up=options.warm_up,
        gpus=options.gpus,
        tf32=options.tf32,
    )


def main(arguments: Sequence[str]) -> int:
    """Run one trial and print its result line."""
    options = parse(arguments)
    marks = {"start": time.time()}
    if options.cores:
        os.sched_setaffinity(0, options.cores)  # before anything starts a thread, which inherits it
    show({"phase": "import"})
    telemetry = Telemetry(options.monitor, options.trial)
    telemetry.send("begin", workers=options.workers)
    try:
        ranks = run(options, arguments, marks)
    except data.DamagedDataError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return DAMAGED_DATA
    except (InvalidWorkloadError, InvalidDataError) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return INVALID_WORKLOAD
    except DivergedError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return DIVERGED
    except UnusableGpuError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return UNUSABLE_GPU
    finally:
        telemetry.send("end")
    marks["end"] = time.time()
    result = make_result(options, ranks, marks)
    print(encode(result), flush=True)
    return 0


def make_result(options: argparse.Namespace, ranks: tuple[RankRecord, ...], marks: dict[str, float]) -> TrialResult:
    """Return what a trial hands back, with the versions that it depends on."""
    names = ("numpy", "ray", "tensorflow-cpu", "tensorflow", *(("keras",) if ranks[0].libraries else ()))
    installed = {each.metadata["Name"].lower().replace("_", "-"): each.version for each in metadata.distributions()}
    return TrialResult(
        workers=options.workers,
        copies=options.copies,
        seed=options.seed,
        epochs=options.epochs,
        batch_size=options.batch_size,
        ranks=ranks,
        marks=marks,
        versions={name: installed[name] for name in names if name in installed}
        | {"python": ".".join(map(str, sys.version_info[:3]))},
    )


def _without(arguments: Sequence[str], flag: str) -> list[str]:
    """Return the arguments without a flag and its value, in either spelling."""
    kept, skip = [], False
    for argument in arguments:
        if not skip and argument != flag and not argument.startswith(flag + "="):
            kept.append(argument)
        skip = argument == flag and not skip
    return kept


def leave(code: int) -> NoReturn:
    """End the process at once, with this exit code."""
    sys.stdout.flush()
    sys.stderr.flush()
    # The result is out, and a job ends when its process does: TensorFlow's teardown alone takes 0.7 s.
    os._exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
