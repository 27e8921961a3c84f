"""What is said of an embedded cluster that does not start: the words of the node that failed first. No Ray."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from fixtures.clusters.local.start import await_exits, dashboard_address
from fixtures.errors import InfraError

NO_DASHBOARD = (Path(__file__).parents[1] / "data" / "ray-start-no-dashboard.txt").read_text(encoding="utf-8")
SLEEP = "import time; time.sleep(60)"
FAIL = "raise SystemExit(1)"
TIMED_OUT = "Exception: The current node timed out during startup. This could happen because"


def failure(run: Path, nodes: Mapping[str, str], logs: Mapping[str, str], seconds: float = 30.0) -> InfraError:
    """Return how a start fails whose nodes run this code and leave these files."""
    for name, text in logs.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(text)
    starters = {name: subprocess.Popen([sys.executable, "-S", "-c", code]) for name, code in nodes.items()}
    try:
        if seconds == 30.0:
            for name, code in nodes.items():
                if code == FAIL:
                    starters[name].wait()
        with pytest.raises(InfraError) as caught:
            await_exits(run, starters, seconds, "s3cret")
    finally:
        for starter in starters.values():
            starter.kill()
            starter.wait()
    return caught.value


def test_a_start_that_takes_too_long_names_the_head_for_which_the_others_wait(tmp_path: Path) -> None:
    logs = {"head.out": "Local node IP: 127.0.0.1\n", "worker-1.out": ""}

    late = failure(tmp_path, {"head": SLEEP, "worker-1": SLEEP}, logs, seconds=0.1)

    assert late.cause == "`ray start` of head did not end within 0 s: Local node IP: 127.0.0.1"
    assert "load average" in late.remedy
    assert late.remedy.endswith("(see TROUBLESHOOTING: ray-not-started)")


def test_a_head_that_failed_is_named_before_a_worker_that_failed_beside_it(tmp_path: Path) -> None:
    logs = {"head.out": "Exception: The head failed.\n", "worker-1.out": "ValueError: the worker too\n"}

    failed = failure(tmp_path, {"head": FAIL, "worker-1": FAIL}, logs)

    assert failed.cause == "`ray start` of head ended with 1: Exception: The head failed."


def test_a_limit_that_only_another_log_names_is_the_cause_of_a_start_that_timed_out(tmp_path: Path) -> None:
    logs = {
        "worker-2.out": f"{TIMED_OUT} it could.\n",
        "head/session_2026/logs/raylet.1.err": "s3cret terminate: what():  Resource temporarily unavailable\n",
    }

    hit = failure(tmp_path, {"worker-2": FAIL}, logs)

    assert hit.cause.startswith(f"`ray start` of worker-2 ended with 1: {TIMED_OUT} it could. Ray's logs say: [token]")
    assert "pids.max" in hit.remedy
    assert hit.remedy.endswith("(see TROUBLESHOOTING: limit-hit)")


def test_a_dashboard_that_did_not_come_up_is_the_cause_with_its_reason(tmp_path: Path) -> None:
    reason = "Failed to start the dashboard: ModuleNotFoundError: import of aiohttp halted; None in sys.modules"

    failed = failure(tmp_path, {"head": FAIL}, {"head.out": NO_DASHBOARD})
    (tmp_path / "head.out").write_text(f"{NO_DASHBOARD.partition('Traceback')[0]}{'Ray runtime started.' * 200}")
    with pytest.raises(InfraError, match="The head named no dashboard: ") as caught:
        dashboard_address(tmp_path)

    assert reason in failed.cause
    assert caught.value.cause.endswith(reason)
    (tmp_path / "head.out").write_text("see http://127.0.0.1:8265 for it")
    assert dashboard_address(tmp_path) == "http://127.0.0.1:8265"
