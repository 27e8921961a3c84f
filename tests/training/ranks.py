"""Real trainer processes that find each other, each a rank of one trial; TensorFlow, but no Ray."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from fixtures.system.ports import free_addresses
from tests.training import one_rank
from trainer.result import TrialResult, decode
from trainer.work import Work

ROOT = Path(__file__).parents[2]
LIMIT = 120.0


def start(world_size: int, work: Work, cheat: str = "") -> list[subprocess.Popen[str]]:
    """The processes of a trial."""
    workers = free_addresses(world_size)
    started = []
    for rank in range(world_size):
        task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}}
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "image"),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            **({"TF_CONFIG": json.dumps(task)} if world_size > 1 else {}),
        }
        command = [sys.executable, one_rank.__file__, str(rank), str(world_size), cheat, json.dumps(asdict(work))]
        started.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    return started


def finish(started: list[subprocess.Popen[str]]) -> TrialResult:
    """What all ranks of a trial hand over."""
    try:
        logs = [process.communicate(timeout=LIMIT) for process in started]
    finally:
        for process in started:
            process.kill()
    assert not any(process.returncode for process in started), "\n".join(log[1][-2000:] for log in logs)
    return decode(logs[0][0])
