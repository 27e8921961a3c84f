"""The private interfaces of pytest's plugins are those that were seen."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from fixtures.plugin import pytest_benchmark_private


def test_pytest_benchmark_is_the_version_whose_private_parts_were_seen(pytestconfig: pytest.Config) -> None:
    assert version("pytest-benchmark") == pytest_benchmark_private.SEEN, "look at pytest_benchmark_private.py again"
    assert callable(pytest_benchmark_private.writer_of(pytestconfig).write)  # type: ignore[union-attr]
