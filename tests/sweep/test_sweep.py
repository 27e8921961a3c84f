"""The sweep: the same configurations in four ways, and whether Ray Tune pays.

pytest -m sweep --sweep=docs/sweep.toml
"""

import pytest

from fixtures.analysis.sweep import SweepSummary
from fixtures.plugin.reporting import judge

pytestmark = pytest.mark.sweep


def test_a_sweep_under_ray_tune_does_the_same_work_with_little_overhead(sweep: SweepSummary) -> None:
    judge(sweep.verdict)
