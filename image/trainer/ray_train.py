"""The same training function under Ray Train's TensorflowTrainer, one rank per worker."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trainer import deferred, ray_private

deferred.defer()

import ray  # noqa: E402 - after the stand-in
from ray.train import FailureConfig, RunConfig, ScalingConfig, get_context  # noqa: E402
from ray.train.tensorflow import TensorflowTrainer  # noqa: E402

from trainer.progress import Progress, show  # noqa: E402
from trainer.ray_checkpoints import Noticing, RayCheckpoints  # noqa: E402
from trainer.recovery import Files, LocalFiles  # noqa: E402
from trainer.result import RankRecord  # noqa: E402
from trainer.ring import said  # noqa: E402
from trainer.telemetry import Telemetry  # noqa: E402
from trainer.work import Work  # noqa: E402

FINAL = FailureConfig(max_failures=0, controller_failure_limit=0, max_preemption_failures=0)
"""One failure ends the trial: a restarted worker would be another measurement. A lost node counts as a preemption,
which is retried without end by default."""
RECOVERED = FailureConfig(max_failures=1)
"""Of a trial whose worker is killed on purpose: all else is as Ray Train's users have it."""


def run(
    work: Work, workers: int, marks: dict[str, float], progress: Progress, *, trimmed: bool
) -> tuple[RankRecord, ...]:
    """Train with N Ray Train workers and return what each of them hands over, by rank.

    Ray Train is used as it ships, by its public interface and with its own defaults, unless it is `trimmed`.
    """
    progress({"phase": "ray"})
    trainer_class = connect(trimmed=trimmed)
    marks["ray"] = time.time()
    progress({"phase": "workers"})
    records = fit(work, workers, trainer_class)
    marks["fit"] = time.time()
    return records


def connect(*, trimmed: bool = False) -> Any:
    """Connect to the cluster, and return the trainer to use there."""
    trainer_class, hook = TensorflowTrainer, "trainer.deferred.defer"
    if trimmed:
        os.environ.update(ray_private.TRIMMED)
        trainer_class, hook = ray_private.trimmed_trainer(), "trainer.ray_private.trim_imports"
    ray.init(address="auto", configure_logging=False, runtime_env={"worker_process_setup_hook": hook})
    return trainer_class


def fit(work: Work, workers: int, trainer_class: Any) -> tuple[RankRecord, ...]:
    """Train with N workers on the cluster that this process is connected to."""
    with _storage(work) as (storage, files):
        trainer = trainer_class(
            _worker,
            train_loop_config={"work": asdict(work), "files": files},
            scaling_config=ScalingConfig(
                num_workers=workers,
                use_gpu=bool(work.gpus),
                resources_per_worker={"CPU": work.threads} | ({"GPU": work.gpus} if work.gpus else {}),
                placement_strategy="SPREAD",
            ),
            run_config=RunConfig(
                **storage,
                failure_config=RECOVERED if work.kill_update else FINAL,
                callbacks=[Noticing(files)] if work.kill_update else [],
            ),
        )
        records: tuple[RankRecord, ...] = trainer.fit().return_value
    return records


@contextmanager
def _storage(work: Work) -> Iterator[tuple[dict[str, Any], Files]]:
    """Yield where Ray Train keeps checkpoints, and where ranks keep what they tell of their lives."""
    if work.lose_node:
        from trainer import head_files  # noqa: PLC0415 - of few trials

        with head_files.keep() as files:
            yield {"storage_path": "/checkpoints", "storage_filesystem": files.arrow()}, files
        return
    with TemporaryDirectory(prefix="storage-") as storage:
        lives = Path(storage) / "lives"
        lives.mkdir()
        yield {"storage_path": storage}, LocalFiles(str(lives))


def _worker(config: dict[str, Any]) -> tuple[RankRecord, ...]:
    """Train as a rank; Ray Train hands back what rank 0 returns, which is the records of all."""
    marks = {"worker": time.time()}
    deferred.restore()
    deferred.import_tensorflow()
    from trainer import training  # noqa: PLC0415 - needs TensorFlow

    marks["import"] = time.time()
    context = get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    work = Work(**config["work"]).found_in(sys.path)
    say = show if rank == 0 else _say_nothing
    progress = Telemetry(work.monitor, work.trial).of_rank(rank, world_size, work.batch_size, say)
    kept = (config["files"], RayCheckpoints()) if work.checkpoint_every else None
    try:
        return training.train(work, rank, world_size, marks, progress, kept=kept)
    except Exception as error:
        traceback.print_exc()
        # The driver has no TensorFlow, and could not even unpickle one of its exceptions.
        raise RuntimeError(f"rank {rank}: {said(error)}") from None


def _say_nothing(event: Mapping[str, object]) -> None:
    """Leave it to rank 0."""
