"""Measurements of real runs, kept as they were written."""

from __future__ import annotations

import gzip
from pathlib import Path

from fixtures.measurement import Run

FILE = Path(__file__).parents[1] / "data" / "measurements-quick.json.gz"
"""A quick run of 2 and 4 workers on two busy cores: every round disturbed, the count of 4 not applicable."""


def recorded_text() -> str:
    """Of the run, as it was written."""
    return gzip.decompress(FILE.read_bytes()).decode()


def recorded() -> Run:
    """The run."""
    return Run.from_json(recorded_text())
