"""A few numbers that stand for a vector of millions, so that two processes can be compared through a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUCKETS = 32


def sketch(vector: NDArray[np.floating[Any]], sizes: Sequence[int]) -> tuple[tuple[float, ...], ...]:
    """Return BUCKETS sums for each tensor in a flat vector, of its numbers with random signs.

    Two vectors' sketches differ by as much as the vectors do, within about 25 % (CountSketch, Charikar et al.
    2002): each number goes to one bucket, with one sign, both drawn from the tensor's place in the vector.
    """
    sums, start = [], 0
    for number, size in enumerate(sizes):
        drawn = np.random.default_rng(number).integers(0, 2 * BUCKETS, size, np.uint8)
        signed = vector[start : start + size].astype(np.float64) * np.where(drawn & 1, 1.0, -1.0)
        sums.append(tuple(map(float, np.bincount(drawn >> 1, signed, BUCKETS))))
        start += size
    return tuple(sums)
