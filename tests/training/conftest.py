"""What the tests of users' trainings share."""

from pathlib import Path

import pytest

from tests.training.user_files import Prepare


@pytest.fixture
def prepared(tmp_path: Path) -> Prepare:
    """Prepares a file on arrays of noise."""
    return Prepare(tmp_path)
