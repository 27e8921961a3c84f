"""The numbers that stand for a gradient in a trial's record."""

import math

import numpy as np
import pytest

from trainer.sketch import BUCKETS, sketch

SIZES = (10, 50_000, 300)


def vector(seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(size=sum(SIZES))


def test_each_tensor_has_as_many_numbers_whatever_its_size() -> None:
    assert [len(numbers) for numbers in sketch(vector(1), SIZES)] == [BUCKETS] * len(SIZES)


def test_two_vectors_sketches_differ_by_as_much_as_the_vectors() -> None:
    first, second = vector(1), vector(2)

    apart = [math.dist(a, b) for a, b in zip(sketch(first, SIZES), sketch(second, SIZES), strict=True)]

    difference = np.split(first - second, np.cumsum(SIZES)[:-1])
    assert apart == pytest.approx([float(np.linalg.norm(tensor)) for tensor in difference], rel=0.5)


def test_a_change_of_one_weight_in_a_million_shows_in_its_tensor_alone() -> None:
    changed = vector(1)
    changed[-1] += 1e-3

    apart = [math.dist(a, b) for a, b in zip(sketch(vector(1), SIZES), sketch(changed, SIZES), strict=True)]

    assert apart == pytest.approx([0, 0, 1e-3], abs=1e-9)
