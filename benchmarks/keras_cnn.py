"""The built-in CNN as a user would write it: `--workload=benchmarks/keras_cnn.py --data=mnist`."""

import keras
from keras import layers


def model(seed: int) -> keras.Model:
    """Return the layers of trainer.workloads.cnn; 225,034 weights."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )
