"""VGG-11 (Simonyan & Zisserman 2015) on CIFAR-10, with dropout: a gradient of 37 MB, which a slow link delays most.

No TARGET: the suite was never seen to train it for long enough on the real images.
"""

import keras
from keras import layers

EPOCHS = 3
BATCH_SIZE = 128


def model(seed: int) -> keras.Model:
    """Return 8 convolutions in 5 stages, and 10 scores: 9,225,610 weights."""
    keras.utils.set_random_seed(seed)
    network = keras.Sequential([keras.Input((32, 32, 3))])
    for widths in ((64,), (128,), (256, 256), (512, 512), (512, 512)):
        for width in widths:
            network.add(layers.Conv2D(width, 3, padding="same", activation="relu", kernel_initializer="he_normal"))
        network.add(layers.MaxPooling2D())
    for layer in (layers.Flatten(), layers.Dropout(0.5), layers.Dense(10)):
        network.add(layer)
    return network


def optimizer() -> keras.optimizers.Optimizer:
    """Return Adam at a tenth of its usual rate, since nothing is normalised."""
    return keras.optimizers.Adam(1e-4)
