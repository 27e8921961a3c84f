"""However a run is killed, and whenever: nothing of it is left.

`make faults ARGS="-k leaves --kills=100 --kills-seed=1"`; the same seed chooses the same kills again.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Mapping

import pytest

from fixtures.plugin.staging import PARTIAL, Staging
from fixtures.system.processes import reap_abandoned
from tests.faults.record import Seen, keep, read_verdict
from tests.faults.suite_run import SMALL, Setting, SuiteRun, find_left, wait_until_gone

pytestmark = pytest.mark.faults

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
LATEST_SECONDS = 60.0
"""Of a run that takes about as long."""
WATCHDOG = "fixtures.system.processes guard"


def kill_watchdog(run: SuiteRun, number: signal.Signals) -> None:
    run.find_process(WATCHDOG).send_signal(number)


def kill_both(run: SuiteRun, number: signal.Signals) -> None:
    kill_watchdog(run, number)
    os.kill(run.pid, number)


TARGETS: Mapping[str, Callable[[SuiteRun, signal.Signals], None]] = {
    "pytest": lambda run, number: os.kill(run.pid, number),
    "its process group": lambda run, number: os.killpg(run.pid, number),
    "its watchdog": kill_watchdog,
    "its watchdog and pytest": kill_both,
}


def test_a_kill_leaves_nothing(kill: int, setting: Setting, pytestconfig: pytest.Config) -> None:
    chosen = random.Random(f"{pytestconfig.getoption('--kills-seed')} {kill}")
    target, number = chosen.choice(sorted(TARGETS)), chosen.choice(SIGNALS)
    moment = chosen.uniform(0, LATEST_SECONDS)
    setting.options += SMALL
    run = SuiteRun(setting)
    time.sleep(moment)

    try:
        TARGETS[target](run, number)
        how = f"{number.name} to {target}"
    except (LookupError, ProcessLookupError):  # not begun, or ended: what the run leaves counts all the same
        how = "too early or too late"
    code = run.end()

    left = wait_until_gone(lambda: find_left(setting.temporary))
    if how == "SIGKILL to its watchdog and pytest":  # nobody is left that could end the cluster
        reap_abandoned([setting.temporary], also_kept=True)
        left = find_left(setting.temporary)
    Staging(setting.reports).publish()  # as the next run with these reports
    left += [folder.name for folder in setting.reports.glob(f"{PARTIAL}*")]
    seen = Seen(
        "kill",
        f"seed {pytestconfig.getoption('--kills-seed')}, kill {kill}",
        read_verdict(setting),
        code,
        how,
        round(moment, 1),
        left,
    )
    keep(seen)
    assert not left, f"{how} after {moment:.1f} s\n{run.text}"
