"""ResNet-20 on CIFAR-10 as He et al. (2016) trained it, with BatchNormalization over groups of the global batch."""

import keras
from keras import layers

from trainer.workloads.resnet20_cifar10 import augment, optimizer, resnet20

EPOCHS = 3
BATCH_SIZE = 128
BATCH_NORM = "groups:16"  # the share of each of 8 workers

__all__ = ["augment", "model", "optimizer"]


def model(seed: int) -> keras.Model:
    """Return the same network and 1,376 moving statistics: 269,722 weights that are trained."""
    return resnet20(seed, layers.BatchNormalization)
