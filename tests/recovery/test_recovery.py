"""What a killed worker costs: trainings whose worker is killed, beside the same ones undisturbed.

pytest -m recovery --workers=2 --recoveries=5
"""

from collections.abc import Callable

import pytest

from fixtures.analysis.recovery import RecoveryRun
from fixtures.plugin.reporting import judge

pytestmark = pytest.mark.recovery


def test_a_killed_worker_costs_time_and_nothing_else(workers: int, recover: Callable[[int], RecoveryRun]) -> None:
    judge(recover(workers).verdict)
