"""The configurations of a sweep under Ray: one after the other by Ray Train, or several at a time by Ray Tune.

A trial of Tune has one process, so there is nothing for Ray Train to distribute: it is a plain function, as Tune's
guide has it. Ray Train inside each trial would start its controller and helpers as well, on the cores that train.
"""

import json
import math
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from tempfile import TemporaryDirectory
from typing import Any

from trainer import deferred, ray_train  # which puts a stand-in in TensorFlow's place before Ray is imported

from ray import tune  # isort: skip
from ray.train import TrainingFailedError  # isort: skip
from ray.tune.schedulers import ASHAScheduler  # isort: skip

from trainer.__main__ import make_result, make_work
from trainer.progress import show
from trainer.reading import from_dict, parse_json
from trainer.result import DivergedError, RankRecord, TrialResult
from trainer.sweep_result import SweepResult
from trainer.work import Work


def train_in_turn(asked: Sequence[Namespace]) -> SweepResult:
    """Train one configuration after the other, each with all workers."""
    trainer_class = ray_train.connect()
    trials: list[TrialResult | None] = []
    seconds = []
    for number, options in enumerate(asked, 1):
        show({"phase": f"configuration {number} of {len(asked)}"})
        began, marks = time.monotonic(), {"start": time.time()}
        try:
            records = ray_train.fit(make_work(options), options.workers, trainer_class)
        except TrainingFailedError as error:
            if f"{DivergedError.__name__}: " not in str(error):
                raise
            print(error, flush=True)
            trials.append(None)
        else:
            trials.append(make_result(options, records, marks | {"end": time.time()}))
        seconds.append(time.monotonic() - began)
    return SweepResult(tuple(trials), tuple(seconds))


def train_side_by_side(asked: Sequence[Namespace], concurrent: int, *, stop_early: bool) -> SweepResult:
    """Train several configurations at a time, one process each; `stop_early` ends the worse ones by ASHA."""
    ray_train.connect()
    works = [asdict(make_work(options)) for options in asked]
    with TemporaryDirectory(prefix="storage-") as storage:
        grid = tune.Tuner(
            tune.with_resources(_train, {"CPU": asked[0].cpus}),
            param_space={"number": tune.grid_search(list(range(len(works)))), "works": works},
            tune_config=tune.TuneConfig(
                metric="score",
                mode="max",
                max_concurrent_trials=concurrent,
                scheduler=ASHAScheduler(max_t=asked[0].epochs) if stop_early else None,
            ),
            run_config=tune.RunConfig(
                storage_path=storage,
                verbose=0,
                failure_config=tune.FailureConfig(fail_fast=True),
                callbacks=[_Progress(len(works))],
            ),
        ).fit()
        if grid.errors:
            raise grid.errors[0]
        metrics = {result.config["number"]: result.metrics for result in grid}
    trials = [_read(options, metrics[number]) for number, options in enumerate(asked)]
    return SweepResult(tuple(trials), tuple(metrics[number]["time_total_s"] for number in range(len(works))))


class _Progress(tune.Callback):  # type: ignore[misc]
    """Prints how many trials have ended."""

    def __init__(self, trials: int) -> None:
        self._trials, self._ended = trials, 0

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._ended += 1
        show({"phase": f"{self._ended} of {self._trials} configurations ended"})


def _train(config: dict[str, Any]) -> None:
    """Train one configuration, and report after each epoch what was done: a trial that is stopped returns nothing."""
    marks = {"worker": time.time()}
    deferred.restore()
    deferred.import_tensorflow()
    from trainer import training  # noqa: PLC0415 - needs TensorFlow

    marks["import"] = time.time()

    def report(record: RankRecord) -> None:
        tune.report({"score": record.epochs[-1].accuracy, "record": json.dumps(asdict(record))})

    work = Work(**config["works"][config["number"]]).found_in(sys.path)
    try:
        training.train(work, 0, 1, marks, lambda event: None, report=report)
    except DivergedError as error:
        print(error, flush=True)
        tune.report({"score": math.nan, "record": ""})  # ASHA leaves what is no number out of account


def _read(options: Namespace, metrics: dict[str, Any]) -> TrialResult | None:
    """Return the result of one trial from its last report, in which it may have done fewer epochs than asked."""
    if not metrics["record"]:
        return None
    record = from_dict(RankRecord, parse_json(metrics["record"]))
    ended = float(metrics["timestamp"])
    marks = {"start": ended - float(metrics["time_total_s"]), "end": ended}
    return make_result(Namespace(**{**vars(options), "epochs": len(record.epochs)}), (record,), marks)
