"""Ring all-reduce over TCP (Patarasuk & Yuan 2009): every rank ends with the same bits.

Each part of the vector is added up in one fixed order on one rank and handed round, so ranks cannot
differ even in rounding. Two neighbours always send and receive at the same time: sockets never block.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[Any]

CONNECT_SECONDS = 60.0
RETRY_SECONDS = 0.05
STEP_SECONDS = 120.0
_HELLO = struct.Struct("!4sII")


class LostRankError(ConnectionError):
    """A neighbour closed its socket or stayed silent."""


def said(error: BaseException) -> str:
    """Return what an error says; for one out of TensorFlow's graph, what was raised there."""
    found = re.search(r"^LostRankError: .*$", str(error), re.MULTILINE)
    return found[0] if found else f"{type(error).__name__}: {error}"


class Ring:
    """Sockets to the next and from the previous rank; `addresses` has the "host:port" of every rank, in order."""

    def __init__(self, rank: int, addresses: tuple[str, ...]) -> None:
        self.rank, self.world_size = rank, len(addresses)
        self._deadline_in(CONNECT_SECONDS)
        host, port = host_and_port(addresses[rank])
        with socket.create_server((host, port), backlog=8) as listener:
            self._next = self._connect(*host_and_port(addresses[(rank + 1) % self.world_size]))
            self._previous = self._accept(listener)
        for link in (self._next, self._previous):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.setblocking(False)
        self._sent, self._heard = np.zeros(1, np.uint8), np.zeros(1, np.uint8)

    def all_reduce(self, vector: Vector) -> Vector:
        """Return the sum of every rank's vector; the argument is left alone. Raises LostRankError."""
        total = vector.copy()
        parts = np.array_split(total, self.world_size)
        received = np.empty_like(parts[0])
        self._deadline_in(STEP_SECONDS)
        for step in range(self.world_size - 1):  # reduce-scatter: part r + 1 is complete on rank r at the end
            outgoing = parts[(self.rank - step) % self.world_size]
            incoming = parts[(self.rank - step - 1) % self.world_size]
            self._exchange(outgoing, received[: incoming.size])
            incoming += received[: incoming.size]
        for step in range(self.world_size - 1):  # all-gather
            outgoing = parts[(self.rank + 1 - step) % self.world_size]
            incoming = parts[(self.rank - step) % self.world_size]
            self._exchange(outgoing, incoming)
        return total

    def barrier(self) -> None:
        """Return when every rank has called it: a byte for each of them goes round."""
        self._deadline_in(STEP_SECONDS)
        for _ in range(self.world_size - 1):
            self._exchange(self._sent, self._heard)

    def gather(self, data: bytes) -> list[bytes]:
        """Return what every rank gave, by rank. Raises LostRankError."""
        return gathered(data, self.rank, self.world_size, self.all_reduce)

    def close(self) -> None:
        """Close both sockets."""
        self._next.close()
        self._previous.close()

    def _exchange(self, outgoing: Vector, incoming: Vector) -> None:
        out, into = outgoing.data.cast("B"), incoming.data.cast("B")
        sent = received = 0
        while sent < len(out) or received < len(into):
            moved = 0
            if sent < len(out):
                try:
                    moved = self._next.send(out[sent:])
                    sent += moved
                except BlockingIOError:
                    moved = 0
                except OSError as error:
                    raise self._lost(1, error) from error
            if received < len(into):
                try:
                    got = self._previous.recv_into(into[received:])
                except BlockingIOError:
                    got = -1
                except OSError as error:
                    raise self._lost(-1, error) from error
                if got == 0:
                    raise self._lost(-1, "it closed the ring")
                received += max(got, 0)
                moved += max(got, 0)
            if not moved:
                self._wait(writing=sent < len(out), reading=received < len(into))

    def _lost(self, step: int, why: object) -> LostRankError:
        return LostRankError(f"rank {self.rank}: lost rank {(self.rank + step) % self.world_size} ({why})")

    def _wait(self, *, writing: bool, reading: bool) -> None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise LostRankError(f"rank {self.rank}: no answer from a neighbour for {STEP_SECONDS:.0f} s")
        select.select([self._previous] if reading else [], [self._next] if writing else [], [], remaining)

    def _deadline_in(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def _connect(self, host: str, port: int) -> socket.socket:
        while True:
            try:
                link = socket.create_connection((host, port), timeout=5)
                break
            except OSError as error:  # the neighbour may not listen yet
                if time.monotonic() > self._deadline:
                    raise LostRankError(f"rank {self.rank}: no rank listens on {host}:{port} ({error})") from error
                time.sleep(RETRY_SECONDS)
        link.sendall(_HELLO.pack(b"ring", self.rank, self.world_size))
        return link

    def _accept(self, listener: socket.socket) -> socket.socket:
        expected = _HELLO.pack(b"ring", (self.rank - 1) % self.world_size, self.world_size)
        while True:
            listener.settimeout(max(0.0, self._deadline - time.monotonic()) or 0.001)
            try:
                link, _ = listener.accept()
            except TimeoutError:
                raise LostRankError(f"rank {self.rank}: the previous rank did not connect in time") from None
            link.settimeout(5)
            try:
                hello = link.recv(_HELLO.size, socket.MSG_WAITALL)
            except OSError:
                hello = b""
            if hello == expected:
                return link
            link.close()  # a stranger (a port scan, another run): not ours to answer


def gathered(data: bytes, rank: int, world_size: int, add: Callable[[Vector], Vector]) -> list[bytes]:
    """Return what every rank gave, by rank, from two sums of floats: one rank's number and the others' zeros.

    The data of a rank must be less than 16 MiB, which floats still count exactly.
    """
    lengths = np.zeros(world_size, np.float32)
    lengths[rank] = len(data)
    sizes = add(lengths).astype(int)
    slots = np.zeros((world_size, int(sizes.max())), np.float32)
    slots[rank, : len(data)] = np.frombuffer(data, np.uint8)
    everybodys = add(slots.ravel()).reshape(slots.shape).astype(np.uint8)
    return [slot[:size].tobytes() for slot, size in zip(everybodys, sizes, strict=True)]


def host_and_port(address: str) -> tuple[str, int]:
    """Split "host:port"; an IPv6 host stands in brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
