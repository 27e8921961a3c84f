"""The built-in workloads' own files, with Keras: the networks that they say they are."""

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.workloads.facts import BUILT_IN, constants, workload_file

pytestmark = pytest.mark.training

WEIGHTS = {  # trained, and moving statistics
    "mlp-digits": (4_810, 0),
    "resnet20-cifar10": (269_722, 0),
    "resnet20-bn-cifar10": (269_722, 1_376),
    "vgg11-cifar10": (9_225_610, 0),
}


def module(name: str) -> Any:
    """Import the file only now: pytest collects this one, too, and is not to wait for TensorFlow."""
    return importlib.import_module(f"trainer.workloads.{Path(BUILT_IN[name].file).stem}")


def count(variables: Any) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def test_every_file_that_is_built_in_is_tested() -> None:
    assert set(WEIGHTS) == {name for name, built_in in BUILT_IN.items() if built_in.file}


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_network_has_the_weights_that_its_file_states_the_same_for_the_same_seed(name: str) -> None:
    workload = module(name)
    models = [workload.model(seed) for seed in (1, 1, 2)]
    first, again, other = (np.concatenate([array.ravel() for array in model.get_weights()]) for model in models)

    assert (count(models[0].trainable_weights), count(models[0].non_trainable_weights)) == WEIGHTS[name]
    assert f"{WEIGHTS[name][0]:,} weights" in workload.model.__doc__
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", WEIGHTS)
def test_its_constants_can_be_read_without_running_it(name: str) -> None:
    file = workload_file(name)
    assert file
    assert constants(file).keys() >= {"EPOCHS", "BATCH_SIZE"}


def test_an_augmented_image_depends_on_its_own_seed_alone() -> None:
    augment = module("resnet20-cifar10").augment
    images = np.random.default_rng(1).random((6, 32, 32, 3), np.float32)
    seeds = np.arange(12, dtype=np.int32).reshape(6, 2)

    together, alone = augment(images, seeds).numpy(), augment(images[4:], seeds[4:]).numpy()

    assert together.shape == images.shape
    assert np.array_equal(together[4:], alone)
    assert not np.array_equal(together, images)
    assert not np.array_equal(together, augment(images, seeds + 1).numpy())
