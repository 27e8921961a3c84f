"""Strong and weak scaling over global batches, each batch with a proof of its own.

pytest -m scaling --batch-sizes=128,256,512
"""

import pytest

from fixtures.analysis.batches import BatchRun
from fixtures.plugin.reporting import judge

pytestmark = pytest.mark.scaling


def test_workers_do_the_work_of_one_process_at_every_batch(batches: BatchRun) -> None:
    judge(batches.verdict)
