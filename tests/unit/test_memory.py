"""The all-reduce through shared memory: threads of this process as ranks, each with a mapping of its own."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.test_ring import join_memory, on_every_rank, vector
from trainer import memory
from trainer.memory import ALIGNMENT
from trainer.ring import Ring


def test_many_sums_in_a_row_are_each_of_their_own_vectors(tmp_path: Path) -> None:
    def many(own: Ring) -> list[float]:
        shared = join_memory(own, tmp_path)
        return [float(shared.all_reduce(np.full(500, own.rank + 10 * turn, np.float32)).max()) for turn in range(200)]

    for sums in on_every_rank(3, many):
        assert sums == [3 + 30 * turn for turn in range(200)]


def test_the_argument_is_left_alone_and_a_sum_stays_what_it_is(tmp_path: Path) -> None:
    def twice(own: Ring) -> tuple[bool, bool]:
        shared, given = join_memory(own, tmp_path), vector(own.rank, 50)
        before = given.copy()
        first = shared.all_reduce(given)
        kept = first.copy()
        for _ in range(3):
            shared.all_reduce(-given)
        return bool((given == before).all()), bool((first == kept).all())

    assert on_every_rank(2, twice) == [(True, True)] * 2


def test_a_sum_lies_where_tensorflow_takes_it_without_a_copy(tmp_path: Path) -> None:
    starts = on_every_rank(2, lambda own: join_memory(own, tmp_path).all_reduce(vector(own.rank, 77)).ctypes.data)

    assert [start % ALIGNMENT for start in starts] == [0, 0]


def test_a_vector_larger_than_a_slot_is_refused(tmp_path: Path) -> None:
    def too_large(own: Ring) -> None:
        shared = join_memory(own, tmp_path, slot_bytes=64)
        with pytest.raises(ValueError, match="could not broadcast"):
            shared.all_reduce(vector(own.rank, 100))

    on_every_rank(2, too_large)
    assert list(tmp_path.iterdir()) == [], "nothing is left once all have mapped it"


def test_a_file_of_the_same_name_with_other_content_is_somebody_elses(tmp_path: Path) -> None:
    file = tmp_path / "theirs"
    file.write_bytes(b"x" * 4096)

    assert memory.map_existing(file, 4096, b"0" * memory.NONCE_BYTES) is None
    assert memory.map_existing(file, 4096, b"x" * memory.NONCE_BYTES) is not None
    assert memory.map_existing(file, 8192, b"x" * memory.NONCE_BYTES) is None


def full(number: int, offset: int, size: int) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("module", "name", "replacement"),
    [(memory, "map_existing", lambda file, size, nonce: None), (os, "posix_fallocate", full)],
    ids=["a rank that cannot see the file, as on another host", "no room"],
)
def test_what_cannot_be_shared_means_no_shared_memory(
    module: Any, name: str, replacement: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert on_every_rank(2, lambda own: memory.shared(own, 64, tmp_path / "absent")) == [None, None]
    monkeypatch.setattr(module, name, replacement)
    assert on_every_rank(3, lambda own: memory.shared(own, 64, tmp_path)) == [None] * 3
    assert list(tmp_path.iterdir()) == []
