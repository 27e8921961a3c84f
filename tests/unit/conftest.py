"""What several test files ask for by name."""

from pathlib import Path

import pytest

from tests.unit.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A machine of its own."""
    return Desk(tmp_path)
