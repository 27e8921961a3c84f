"""Measurements of real runs, kept as they were written."""

import gzip
import json
from pathlib import Path

from fixtures.analysis.measurement import Run

DATA = Path(__file__).parents[1] / "data"
FILE = DATA / "measurements-quick.json.gz"
"""A quick run of 2 and 4 workers on two busy cores: every round disturbed, the count of 4 not applicable."""


def recorded_text() -> str:
    """Of the run, as it was written."""
    return gzip.decompress(FILE.read_bytes()).decode()


def recorded() -> Run:
    """The run."""
    return Run.from_json(recorded_text())


HISTORY = DATA / "nights.json.gz"
"""The history of twelve nights of one afternoon, `--regression --rounds=6`, of one machine and one suite."""
RECORDED = {"equal": DATA / "night-equal.json.gz", "slowed": DATA / "night-slowed.json.gz"}
"""Two more nights after them: one alike, and one whose workers were delayed by `--inject-slowdown=0.15`."""


def recorded_night(name: str) -> Run:
    """Such a night's run."""
    return Run.from_json(gzip.decompress(RECORDED[name].read_bytes()).decode())


def put_recorded(folder: Path, name: str) -> Path:
    """A folder of reports as such a night left it: its measurements, and the history of the twelve before."""
    (folder / "results").mkdir(parents=True)
    (folder / "results" / "measurements.json").write_bytes(gzip.decompress(RECORDED[name].read_bytes()))
    (folder / "history").mkdir()
    for file, entry in json.loads(gzip.decompress(HISTORY.read_bytes())).items():
        (folder / "history" / file).write_text(json.dumps(entry), encoding="utf-8")
    return folder
