"""What a trial says while it runs, one line per event, readable by people and by the harness."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping

from trainer.reading import BrokenResultError, parse_json

MARKER = "TRIAL-PROGRESS"
READY = "TRIAL-READY"
LOSE_NODE = "lose_node"
"""Key of the event in which a rank asks to be rid of its node, which it names."""

Progress = Callable[[Mapping[str, object]], None]


def show(event: Mapping[str, object]) -> None:
    """Print one event; Ray Train would send a worker's `print` through a logger as well."""
    sys.stdout.write(f"{MARKER} {json.dumps(event)}\n")
    sys.stdout.flush()


def parse(line: str) -> dict[str, object] | None:
    """Return the event in a line of a job's log, whatever a cluster put before it; None when there is none."""
    _, found, body = line.partition(MARKER + " ")
    if not found:
        return None
    try:
        event = parse_json(body)
    except BrokenResultError:  # two processes wrote into one line
        return None
    return event if isinstance(event, dict) else None
