"""Which sample is where in which batch. Standard library only: the harness recomputes it as a check.

Both sides train on the same global batches; ranks only divide them. The order is Python's own
Mersenne Twister shuffle, whose sequence does not change between library versions.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence

TRAIN_SAMPLES = 60_000


def updates_per_epoch(batch_size: int, samples: int = TRAIN_SAMPLES, most: int = 0) -> int:
    """Return the number of full global batches in an epoch, at `most` so many unless that is 0.

    The samples that fill none are dropped.
    """
    whole = samples // batch_size
    return min(most or whole, whole)


def global_batches(seed: int, epoch: int, batch_size: int, samples: int = TRAIN_SAMPLES) -> list[Sequence[int]]:
    """Return the sample indices of every global batch of an epoch, in order; no sample occurs twice."""
    order = list(range(samples))
    random.Random(f"{seed}/{epoch}").shuffle(order)  # noqa: S311 - a shuffle, not a secret
    return [order[k * batch_size : (k + 1) * batch_size] for k in range(updates_per_epoch(batch_size, samples))]


def share(rank: int, world_size: int, batch_size: int) -> slice:
    """Return the positions of a global batch that one rank trains on."""
    per_replica = batch_size // world_size
    return slice(rank * per_replica, (rank + 1) * per_replica)


def coverage(batches: Iterable[Sequence[int]], first_position: int = 0) -> str:
    """Return an order-free hash of every (update, position, sample): the ranks' hashes add up to the whole's.

    An additive multiset hash (Clarke et al. 2003, MSet-Add-Hash): the sum of a SHA-256 per item, modulo
    2**128. Equal sums mean equal multisets, so no rank can swap, skip or repeat a sample unseen.
    """
    total = 0
    for update, batch in enumerate(batches):
        for position, sample in enumerate(batch, first_position):
            item = hashlib.sha256(f"{update}/{position}/{sample}".encode()).digest()
            total += int.from_bytes(item[:16], "big")
    return f"{total % 2**128:032x}"


def add_coverage(hashes: Iterable[str]) -> str:
    """Return the coverage of several ranks together."""
    return f"{sum(int(text, 16) for text in hashes) % 2**128:032x}"
