"""ResNet-20 on CIFAR-10 as He et al. (2016, section 4.2) trained it, but with GroupNormalization.

They report 91.25 % of the test set after 164 epochs, with BatchNormalization and a falling learning rate. A few epochs
are far from that, so there is no TARGET.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers

EPOCHS = 3
BATCH_SIZE = 128


def model(seed: int) -> keras.Model:
    """Return 19 convolutions in blocks of two, and 10 scores: 269,722 weights."""
    return resnet20(seed, lambda: layers.GroupNormalization(8))


def resnet20(seed: int, normalization: Callable[[], keras.Layer]) -> keras.Model:
    """Build the network; where a stage begins, the shortcut takes every second pixel and zeros for new channels."""
    keras.utils.set_random_seed(seed)
    decay = keras.regularizers.L2(5e-5)  # Keras does not halve the square: a weight decay of 1e-4

    def convolve(x: Any, width: int, stride: int = 1) -> Any:
        convolution = layers.Conv2D(
            width, 3, stride, "same", use_bias=False, kernel_initializer="he_normal", kernel_regularizer=decay
        )
        return normalization()(convolution(x))

    image = keras.Input((32, 32, 3))
    x = layers.ReLU()(convolve(image, 16))
    for width, stride in zip((16, 16, 16, 32, 32, 32, 64, 64, 64), (1, 1, 1, 2, 1, 1, 2, 1, 1), strict=True):
        residual = convolve(layers.ReLU()(convolve(x, width, stride)), width)
        if stride > 1:
            x = keras.ops.pad(layers.MaxPooling2D(1, stride)(x), [[0, 0], [0, 0], [0, 0], [width // 4, width // 4]])
        x = layers.ReLU()(layers.Add()([x, residual]))
    scores = layers.Dense(10, kernel_regularizer=decay)
    return keras.Model(image, scores(layers.GlobalAveragePooling2D()(x)))


def augment(x: Any, seeds: Any) -> Any:
    """Shift each image by up to 4 pixels and mirror half of them, each by its own seed."""

    def change(image_and_seed: tuple[Any, Any]) -> Any:
        image, seed = image_and_seed
        shifted = tf.image.stateless_random_crop(tf.pad(image, [[4, 4], [4, 4], [0, 0]]), (32, 32, 3), seed)
        return tf.image.stateless_random_flip_left_right(shifted, tf.random.fold_in(seed, 1))

    return tf.map_fn(change, (x, seeds), fn_output_signature=x.dtype)


def optimizer() -> keras.optimizers.Optimizer:
    """Return gradient descent with momentum, at the rate at which they warm up a deeper network; then they take 0.1."""
    return keras.optimizers.SGD(0.01, momentum=0.9)
