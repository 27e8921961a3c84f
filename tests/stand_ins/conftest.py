"""Fixtures that several files of tests against a played cluster share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stand_ins import kubernetes_world as played
from tests.stand_ins.kubernetes_world import World
from tests.stand_ins.operator_bench import Bench, make_bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield from make_bench(tmp_path)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with played.world(tmp_path, monkeypatch) as made:
        yield made
