"""A training to be measured: `python -m fixtures workload check my_net.py` tells whether it can be."""

from pathlib import Path

import keras
from keras import layers

from trainer.workload import Data, read

# Defaults of --epochs, --batch-size and --min-accuracy. They are read without running this file: write plain numbers.
EPOCHS = 3
BATCH_SIZE = 128
TARGET = 0.95


def data(folder: Path) -> Data:
    """Return the arrays x_train, y_train, x_test and y_test. `folder` is what --data names, or where this file is.

    `read` knows mnist, digits, fashion-mnist and cifar10, and files and folders: .npz, IDX, CIFAR's batches. Or make
    the arrays yourself: `return Data(x_train, y_train, x_test, y_test)`.
    """
    return read("mnist", folder)


def model(seed: int) -> keras.Model:
    """Return a Functional or Sequential model that ends in logits, a number for each class, without a softmax."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10),
        ]
    )


# What else a file may have, each with its default (docs/WORKLOADS.md says more):
#
# def optimizer():                # keras.optimizers.Adam(0.001)
# def loss(labels, outputs):      # of each sample; sparse softmax cross-entropy
# def score(labels, outputs):     # of each sample, from 0 to 1; 1 where the largest logit is the label's
# def prepare(x):                 # of each sample, before the model; pixels (uint8) / 255
# def augment(x, seeds):          # of each training sample, by two random numbers of its own; nothing
