"""The same training function under Ray Train's TensorflowTrainer, one rank per worker."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, get_context
from ray.train.tensorflow import TensorflowTrainer

from trainer import training
from trainer.progress import Progress, show
from trainer.result import RankRecord
from trainer.training import Work


class Records:
    """Takes every rank's record; Ray Train itself hands back only what rank 0 returns."""

    def __init__(self) -> None:
        self._records: list[RankRecord] = []

    def add(self, record: RankRecord) -> None:
        """Keep one rank's record."""
        self._records.append(record)

    def all(self) -> list[RankRecord]:
        """The records by rank."""
        return sorted(self._records, key=lambda record: record.rank)


def run(work: Work, workers: int, marks: dict[str, float], progress: Progress) -> tuple[RankRecord, ...]:
    """Train with N Ray Train workers and return what each of them hands over, by rank."""
    progress({"phase": "ray"})
    ray.init(address="auto", configure_logging=False)
    marks["ray"] = time.time()
    progress({"phase": "workers"})
    records = ray.remote(num_cpus=0)(Records).remote()
    with TemporaryDirectory(prefix="storage-") as storage:
        trainer = TensorflowTrainer(
            _worker,
            train_loop_config={"work": asdict(work), "records": records},
            scaling_config=ScalingConfig(
                num_workers=workers,
                resources_per_worker={"CPU": work.threads},
                placement_strategy="SPREAD",
            ),
            run_config=RunConfig(
                storage_path=str(Path(storage)),
                # One failure ends the trial: a restarted worker would be another measurement.
                failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),
            ),
        )
        trainer.fit()
    marks["fit"] = time.time()
    collected: list[RankRecord] = ray.get(records.all.remote(), timeout=60)
    return tuple(collected)


def _worker(config: dict[str, Any]) -> None:
    marks = {"worker": time.time()}
    context = get_context()
    record = training.train(
        Work(**config["work"]),
        rank=context.get_world_rank(),
        world_size=context.get_world_size(),
        marks=marks,
        progress=show if context.get_world_rank() == 0 else _say_nothing,
    )
    ray.get(config["records"].add.remote(record), timeout=60)


def _say_nothing(event: Mapping[str, object]) -> None:
    """Rank 0 speaks for all."""
