"""All-reduce of ranks on one host: the numbers go through shared memory, a barrier on the ring says when.

Each rank writes its vector to a slot of its own, waits until all have, and adds the slots up in the order of the
ranks: every rank computes the same sum with the same bits. There are two sets of slots, used in turn: a rank that
writes to a set again has passed a barrier that every rank came to after it had read that set, so nobody reads
what is being overwritten. The barrier is a system call at both ends, which orders the memory on any processor,
and a rank that dies is noticed as on the ring.

A sum reads world size x vector, the ring copies at most four times the vector into and out of the kernel.
"""

from __future__ import annotations

import mmap
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.ring import Ring, Vector

TMPFS = Path("/dev/shm")  # noqa: S108 - memory, not a place for files
SETS = 2
FEW_RANKS = 4  # more read more than the ring copies
NONCE_BYTES = 32
ALIGNMENT = 64
"""TensorFlow takes an array over without a copy where it begins at a multiple of this (EIGEN_MAX_ALIGN_BYTES)."""


class NoSharedMemoryError(RuntimeError):
    """Ranks that were to share memory do not."""


class Memory:
    """SETS x world size slots that every rank of a ring has mapped."""

    def __init__(self, ring: Ring, mapped: mmap.mmap) -> None:
        self._ring = ring
        self._slots: NDArray[np.uint8] = np.frombuffer(mapped, np.uint8).reshape(SETS, ring.world_size, -1)
        self._turn = 0

    def all_reduce(self, vector: Vector) -> Vector:
        """Return the sum of every rank's vector. Raises LostRankError, or ValueError for one larger than a slot."""
        slots = self._slots[self._turn][:, : vector.nbytes].view(vector.dtype)
        self._turn = (self._turn + 1) % SETS
        slots[self._ring.rank] = vector
        self._ring.barrier()
        total: Vector = _aligned(vector)
        np.add(slots[0], slots[1], out=total)
        for slot in slots[2:]:
            total += slot
        return total


def shared(ring: Ring, slot_bytes: int, folder: Path = TMPFS) -> Memory | None:
    """Return memory that all ranks of this ring share, with slots of at least so many bytes; None when they cannot.

    They cannot where they run on several hosts, or in containers with memories of their own. Whether they do is
    tried, not guessed: rank 0 makes a file with a random content, and every rank looks for it.
    """
    slot_bytes = -(-slot_bytes // ALIGNMENT) * ALIGNMENT
    place, nonce = "", secrets.token_hex(NONCE_BYTES // 2).encode()
    size = SETS * ring.world_size * slot_bytes
    mapped: mmap.mmap | None = None
    if ring.rank == 0:
        place, mapped = _make(folder, size, nonce)
    found = ring.gather(f"{place} {nonce.decode()}".encode())[0].decode()
    place, _, known = found.rpartition(" ")
    if ring.rank and place:
        mapped = map_existing(Path(place), size, known.encode())
    everybody = all(answer == b"1" for answer in ring.gather(b"1" if mapped is not None else b"0"))
    if ring.rank == 0 and place:
        Path(place).unlink()  # mapped by everybody who can: it goes with the last of them, however that ends
    return Memory(ring, mapped) if everybody and mapped is not None else None


def _make(folder: Path, size: int, nonce: bytes) -> tuple[str, mmap.mmap | None]:
    """Make a file of `size` bytes, really there, and its mapping; "" and None where there is no room or no folder."""
    try:
        number, name = tempfile.mkstemp(prefix="ray-train-e2e-", dir=folder)
    except OSError:
        return "", None
    try:
        os.posix_fallocate(number, 0, size)  # a sparse file would end the process when memory runs out
        os.pwrite(number, nonce, 0)
        return name, mmap.mmap(number, size)
    except OSError:
        Path(name).unlink()
        return "", None
    finally:
        os.close(number)


def map_existing(file: Path, size: int, nonce: bytes) -> mmap.mmap | None:
    """Return the mapping of rank 0's file; None when it is not there, or is somebody else's."""
    try:
        with file.open("r+b") as opened:
            if opened.read(NONCE_BYTES) != nonce:
                return None
            return mmap.mmap(opened.fileno(), size)
    except (OSError, ValueError):  # ValueError: the file is shorter
        return None


def _aligned(like: NDArray[Any]) -> Any:
    """Return an array of this shape and type, not filled."""
    raw = np.empty(like.nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + like.nbytes].view(like.dtype).reshape(like.shape)
