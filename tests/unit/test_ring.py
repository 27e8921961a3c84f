"""The ring all-reduce, and what it has in common with that of shared memory: threads of this process as ranks."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from fixtures.system.ports import free_addresses
from trainer import memory, ring
from trainer.memory import Memory
from trainer.ring import LostRankError, Ring, said

T = TypeVar("T")
LIMIT = 20.0


@pytest.fixture(autouse=True)
def _haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for a neighbour that does not listen yet more often than a rank does between seconds of other work."""
    monkeypatch.setattr(ring, "RETRY_SECONDS", 0.002)


def on_every_rank(world_size: int, work: Callable[[Ring], T]) -> list[T]:
    """What each rank's work returns; a ring is closed when its rank is done."""
    places = free_addresses(world_size)

    def one(rank: int) -> T:
        own = Ring(rank, places)
        try:
            return work(own)
        finally:
            own.close()

    with ThreadPoolExecutor(world_size) as pool:
        return [future.result(LIMIT) for future in [pool.submit(one, rank) for rank in range(world_size)]]


def vector(rank: int, size: int, kind: Any = np.float32) -> NDArray[np.floating[Any]]:
    values: NDArray[np.floating[Any]] = np.random.default_rng(rank).normal(size=size).astype(kind)
    return values


def join_memory(own: Ring, folder: Path, slot_bytes: int = 1 << 16) -> Memory:
    shared = memory.shared(own, slot_bytes, folder)
    assert shared is not None
    return shared


JOIN: tuple[Callable[[Ring, Path], Ring | Memory], ...] = (lambda own, folder: own, join_memory)
"""What adds the ranks' vectors: the ring itself, or memory that its ranks share."""
BOTH = pytest.mark.parametrize("join", JOIN, ids=["ring", "memory"])


@BOTH
@pytest.mark.parametrize("world_size", [2, 3, 4])
@pytest.mark.parametrize("size", [1, 3, 1001])  # shorter than the ranks are many, and not divisible
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_every_rank_gets_the_sum_with_the_same_bits(
    tmp_path: Path, join: Callable[[Ring, Path], Ring | Memory], world_size: int, size: int, kind: Any
) -> None:
    sums = on_every_rank(world_size, lambda own: join(own, tmp_path).all_reduce(vector(own.rank, size, kind)))

    expected = sum(vector(rank, size, np.float64) for rank in range(world_size))
    assert {total.tobytes() for total in sums} == {sums[0].tobytes()}
    assert sums[0].dtype == kind
    np.testing.assert_allclose(sums[0], expected, rtol=1e-5, atol=1e-6)


def test_the_argument_is_left_alone_and_a_ring_can_be_used_again() -> None:
    def twice(own: Ring) -> tuple[bool, bytes, bytes]:
        given = vector(own.rank, 50)
        before = given.copy()
        first, second = own.all_reduce(given), own.all_reduce(given)
        return bool((given == before).all()), first.tobytes(), second.tobytes()

    for unchanged, first, second in on_every_rank(3, twice):
        assert unchanged
        assert first == second


def test_vectors_far_larger_than_the_sockets_buffers_do_not_deadlock() -> None:
    sums = on_every_rank(3, lambda own: own.all_reduce(np.full(4_000_000, own.rank + 1, np.float32)))

    assert all((total == 6).all() for total in sums)


def test_every_rank_gathers_what_each_of_them_gave() -> None:
    given = [b"a" * 3000, b"", "\u00e9".encode()]

    assert on_every_rank(3, lambda own: own.gather(given[own.rank])) == [given] * 3
    assert on_every_rank(1, lambda own: own.gather(b"alone")) == [[b"alone"]]


def test_nobody_leaves_a_barrier_before_the_last_has_come() -> None:
    def late(own: Ring) -> tuple[float, float]:
        time.sleep(0.03 * own.rank)
        came = time.monotonic()
        own.barrier()
        return came, time.monotonic()

    times = on_every_rank(3, late)

    assert min(left for _, left in times) >= max(came for came, _ in times)


@BOTH
def test_a_rank_that_dies_is_noticed_at_once(tmp_path: Path, join: Callable[[Ring, Path], Ring | Memory]) -> None:
    def work(own: Ring) -> str:
        joined = join(own, tmp_path)
        if own.rank == 1:
            return "died"
        with pytest.raises(LostRankError) as lost:
            joined.all_reduce(vector(own.rank, 10_000))
        return str(lost.value)

    assert "rank 0: lost rank 1" in on_every_rank(2, work)[0]


def test_a_rank_that_stays_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "STEP_SECONDS", 0.1)
    given_up = threading.Event()

    def work(own: Ring) -> str:
        if own.rank == 1:
            given_up.wait(LIMIT)
            return ""
        try:
            with pytest.raises(LostRankError) as lost:
                own.barrier()
        finally:
            given_up.set()
        return str(lost.value)

    assert on_every_rank(2, work)[0].startswith("rank 0: no answer from a neighbour for")


def test_a_rank_that_never_comes_or_only_listens_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "CONNECT_SECONDS", 0.1)
    own, absent = free_addresses(2)

    with pytest.raises(LostRankError, match=f"rank 0: no rank listens on {absent}"):
        Ring(0, (own, absent))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        places = (free_addresses(1)[0], f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(LostRankError, match="rank 0: the previous rank did not connect in time"):
            Ring(0, places)


@pytest.mark.parametrize("greeting", [b"", b"GET / HTTP/1.1\r\n\r\n", b"ring\x00\x00\x00\x01\x00\x00\x00\x05"])
def test_a_stranger_who_connects_first_is_turned_away(greeting: bytes) -> None:
    places = free_addresses(2)

    def stranger() -> bytes:
        host, _, port = places[0].rpartition(":")
        until = time.monotonic() + LIMIT
        while True:
            try:
                link = socket.create_connection((host, int(port)), timeout=LIMIT)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < until
                time.sleep(0.005)
        with link:
            link.sendall(greeting)
            link.shutdown(socket.SHUT_WR)
            come.set()
            try:
                return link.recv(10)
            except ConnectionResetError:
                return b""

    def one(rank: int) -> bytes:
        if rank == 1:
            come.wait(LIMIT)
        own = Ring(rank, places)
        total = own.all_reduce(vector(rank, 9)).tobytes()
        own.barrier()
        own.close()
        return total

    come = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        turned_away, ranks = pool.submit(stranger), [pool.submit(one, rank) for rank in range(2)]
        assert turned_away.result(LIMIT) == b""
        assert len({future.result(LIMIT) for future in ranks}) == 1


def test_an_address_may_be_of_either_internet_protocol() -> None:
    assert ring.host_and_port("[::1]:80") == ("::1", 80)
    assert ring.host_and_port("10.0.0.1:80") == ("10.0.0.1", 80)


def test_out_of_the_graph_comes_what_was_raised_there_and_not_tensorflows_word_for_it() -> None:
    lost = "LostRankError: rank 0: lost rank 1 (it closed the ring)"

    assert said(RuntimeError(f"Graph execution error:\n\n{lost}\nTraceback\n")) == lost
    assert said(ValueError("odd")) == "ValueError: odd"
