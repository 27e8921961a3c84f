"""Read a workload and its data once, and find out whether N ranks would do the same work; no cluster, no Ray.

Writes data.npz, which every trial trains on, and facts.json. Exits with code 2 and one sentence for what a user can
mend.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer import datasets, deferred, schedule
from trainer.formats import InvalidDataError
from trainer.work import PROBE_UPDATES, SHORT_PROBE_UPDATES
from trainer.workloads.facts import (
    BUILT_IN,
    InvalidWorkloadError,
    WorkloadFacts,
    constants,
    forbid_forks,
    group_size,
    is_built_in,
    workload_file,
)

if TYPE_CHECKING:
    from trainer.workloads.contract import Training
    from trainer.workloads.user_file import Functions

FEW_SAMPLES = 8
"""Of each share, in the split check and in a short probe."""
SCORED = 100
"""Test samples that are tried."""
PROBE_SECONDS, PROBE_GIB = 60.0, 3.0
"""Of one core and of memory; a probe of whole batches that would need more has fewer samples."""


@dataclass(frozen=True)
class Asked:
    """The command line."""

    workload: str
    data: str
    workers: tuple[int, ...]
    batch_size: int
    seed: int
    out: Path


def parse(arguments: Sequence[str]) -> Asked:
    """Parse the command line; exit with code 2 and one sentence when it is wrong."""
    parser = argparse.ArgumentParser(prog="prepare", description=__doc__)
    parser.add_argument("--workload", required=True, metavar="NAME|FILE")
    parser.add_argument("--data", default="", metavar="NAME|PATH", help="empty: the workload's own")
    parser.add_argument(
        "--workers", type=_counts, default=(2,), metavar="N,M", help="worker counts that will be measured"
    )
    parser.add_argument("--batch-size", type=int, default=128, help="global")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    return Asked(**vars(parser.parse_args(arguments)))


def _counts(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def prepare(asked: Asked) -> WorkloadFacts:
    """Check everything, write the data and return the facts. Raises InvalidWorkloadError or InvalidDataError."""
    file = workload_file(asked.workload)
    deferred.import_tensorflow()
    import tensorflow as tf  # noqa: PLC0415

    tf.config.set_visible_devices([], "GPU")  # arithmetic is checked here, and trials need an idle GPU
    from trainer.workloads import user_file  # noqa: PLC0415 - after the settings that TensorFlow reads at its import

    say(f"loading {asked.workload}")
    functions = user_file.load(file) if file else None
    say("reading the data")
    data, source = read_data(asked, functions)
    batch_norm = require_divisible(asked, file, len(data.x_train))
    say("building the training in single and double precision")
    training = build(functions, asked.seed, batch_norm)
    require_scores(training, data)
    split, probe_samples, notes = check_split(training, data, asked, training.batch_norm)
    asked.out.mkdir(parents=True, exist_ok=True)
    datasets.save(data, asked.out / "data.npz")
    target = constants(file).get("TARGET") if file else None
    return WorkloadFacts(
        name=asked.workload if is_built_in(asked.workload) else Path(asked.workload).stem,
        workload_sha256=training.sha256,
        data=source,
        data_sha256=datasets.digest(data),
        train_samples=len(data.x_train),
        test_samples=len(data.x_test),
        tensors=training.tensors,
        sizes=training.sizes,
        split=split,
        batch_norm=training.batch_norm,
        optimizer=training.optimizer,
        target=None if target is None else float(target),
        probe_samples=probe_samples,
        notes=notes,
    )


def read_data(asked: Asked, functions: Functions | None) -> tuple[datasets.Data, str]:
    """Return the arrays, checked, and where they come from, for people."""
    own = functions.get("data") if functions else None
    file = functions.file if functions else None
    if own and file and asked.data not in datasets.KNOWN:
        folder = Path(asked.data) if asked.data else file.parent
        data, source = own(folder), asked.data or f"data() of {file.name}"
    else:
        name = asked.data or (BUILT_IN[asked.workload].data if is_built_in(asked.workload) else "")
        if not name:
            raise InvalidWorkloadError(f"{asked.workload} defines no data(folder): say --data=NAME|PATH, or define it")
        data, source = datasets.read(name), name
    classes = functions is None or functions.get("loss") is None
    data = datasets.check(data, class_labels=classes)
    if functions is None:
        require_images(data)
    return data, Path(source).name if asked.data else source


def require_images(data: datasets.Data) -> None:
    """Require what the CNN is made for."""
    shape, highest = data.x_train.shape[1:], max(data.y_train.max(), data.y_test.max())
    if shape not in ((28, 28), (28, 28, 1)) or data.x_train.dtype != np.uint8 or highest > 9:
        raise InvalidDataError(
            f"x_train holds {data.x_train.dtype} {shape} and labels up to {highest}: the CNN expects uint8 (28, 28) "
            "and labels up to 9"
        )


def require_divisible(asked: Asked, file: Path | None, samples: int) -> str:
    """Return over which samples a BatchNormalization takes its statistics, if there is one: whole groups in a share."""
    if asked.batch_size > samples:
        raise InvalidWorkloadError(f"--batch-size={asked.batch_size}: the data has {samples:,} training samples")
    for workers in asked.workers:
        if workers < 1 or asked.batch_size % workers:
            raise InvalidWorkloadError(f"--batch-size={asked.batch_size} cannot be divided among {workers} workers")
    smallest = asked.batch_size // math.lcm(*asked.workers)
    rule = str(constants(file).get("BATCH_NORM", "")) if file else ""
    rule = rule or f"groups:{smallest}"
    if smallest % group_size(rule):
        raise InvalidWorkloadError(
            f"BATCH_NORM = {rule!r} does not divide the shares of {' and '.join(map(str, asked.workers))} workers: "
            f"expected N to be a divisor of {smallest}"
        )
    return rule


def build(functions: Functions | None, seed: int, batch_norm: str) -> Training:
    """Return the training. Raises InvalidWorkloadError when the same seed gives other weights the second time."""
    if functions is None:
        from trainer.workloads.cnn import Cnn  # noqa: PLC0415 - needs TensorFlow

        return Cnn(seed)
    from trainer.workloads.user_file import UserTraining  # noqa: PLC0415 - likewise

    training, again = (UserTraining(functions, seed, batch_norm) for _ in range(2))
    function = "model" if functions.get("model") else "weights"
    if training.tensors != again.tensors or training.sizes != again.sizes:
        raise InvalidWorkloadError(f"{function}({seed}) gives other tensors when it is called again")
    ends = np.cumsum(training.sizes)
    for name, end, size in zip(training.tensors, ends, training.sizes, strict=True):
        own, other = (np.concatenate([made.weights, made.state])[end - size : end] for made in (training, again))
        if not np.array_equal(own, other):
            raise InvalidWorkloadError(f"{function}({seed}) gives other {name} when it is called again: use its seed")
    if training.batch_norm == "groups:1":
        raise InvalidWorkloadError(
            "BatchNormalization over groups of one sample gives nothing but its offset: expected a batch of at least 2 "
            "samples for each worker, or GroupNormalization"
        )
    return training


def check_split(
    training: Training, data: datasets.Data, asked: Asked, batch_norm: str
) -> tuple[dict[str, float], int, tuple[str, ...]]:
    """Return the differences by worker count, and how many samples of a few batches the probe can afford, and why."""
    from trainer.workloads.split import Split  # noqa: PLC0415 - needs TensorFlow

    few = math.lcm(*asked.workers) * max(FEW_SAMPLES, group_size(batch_norm))
    samples = schedule.global_batches(asked.seed, 0, asked.batch_size, len(data.x_train))[0][:few]
    say(f"comparing the gradient of {len(samples)} samples with those of its shares")
    memory = _peak_gib()
    Split(training, data, samples, asked.seed)  # the first pass pays for what is built once
    before = time.process_time()
    split = Split(training, data, samples, asked.seed)
    seconds = (time.process_time() - before) * asked.batch_size / len(samples) * PROBE_UPDATES
    differences = {}
    for workers in asked.workers:
        differences[str(workers)] = split.difference(workers)
        say(f"{workers} workers: their gradients add up to the whole batch's, to {differences[str(workers)]:.0e}")
    split.require_graph()
    gib = (_peak_gib() - memory) * asked.batch_size / len(samples)
    if seconds <= PROBE_SECONDS and gib <= PROBE_GIB:
        return differences, 0, ()
    why = f"{seconds:.0f} s of a core" if seconds > PROBE_SECONDS else f"{gib:.1f} GiB"
    note = (
        f"the probe has {len(samples)} of {asked.batch_size} samples of {SHORT_PROBE_UPDATES} batches: "
        f"{PROBE_UPDATES} whole ones need about {why}"
    )
    say(note)
    return differences, len(samples), (note,)


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def require_scores(training: Training, data: datasets.Data) -> None:
    """Require a score of each test sample, as a share of 1, and an output for each label."""
    import tensorflow as tf  # noqa: PLC0415 - seconds, which the command line need not pay

    x, y = tf.constant(data.x_test[:SCORED]), tf.constant(data.y_test[:SCORED])
    graph = tf.function(training.scores, autograph=False)  # as it is where it trains
    scores = graph(tf.constant(training.weights), tf.constant(training.state), x, y).numpy()
    if scores.shape != (len(x),) or not ((scores >= 0) & (scores <= 1)).all():
        raise InvalidWorkloadError(
            f"score(labels, outputs) gives {scores.ravel()[0]:g}, shape {scores.shape}, for {len(x)} samples; "
            "expected a number from 0 to 1 for each"
        )
    classes, highest = getattr(training, "classes", 0), max(data.y_train.max(), data.y_test.max())
    if classes and highest >= classes:
        raise InvalidWorkloadError(f"{classes} outputs for labels up to {highest}; expected at least {highest + 1}")


def say(line: str) -> None:
    """Tell what happens now."""
    print(line, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Prepare; return 2 after one sentence for whatever a user can mend."""
    asked = parse(arguments)
    forbid_forks(asked.workload)
    try:
        facts = prepare(asked)
    except (InvalidWorkloadError, InvalidDataError) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        sentence = explain(error, asked.workload)
        if not sentence:
            raise
        print(*"".join(traceback.format_exception(error)).splitlines()[-10:], sep="\n", file=sys.stderr)
        print(f"trainer: {sentence}", file=sys.stderr)
        return 2
    (asked.out / "facts.json").write_text(json.dumps(asdict(facts), indent=1) + "\n")
    return 0


def explain(error: BaseException, workload: str) -> str:
    """Return what an error says, and where in a user's own file it comes from; empty for a built-in training."""
    file = Path(workload)
    if file.suffix != ".py":
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).name == file.name]
    place = f"{file.name}, line {lines[-1]}" if lines else file.name
    said = (str(error).strip().splitlines() or [""])[0]
    return f"{place}: {type(error).__name__}: {said}"


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # TensorFlow's teardown alone takes 0.7 s
