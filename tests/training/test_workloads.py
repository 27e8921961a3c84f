"""Users' trainings whose shares add up, and random numbers by position. No Ray."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.training.user_files import MODEL, Prepare, arrays
from trainer.workloads import cnn
from trainer.workloads.contract import Draw
from trainer.workloads.positional import normal, rows, uniform, whole_numbers
from trainer.workloads.user_file import UserTraining, load

pytestmark = pytest.mark.training

KERAS_CNN = """
import keras
from keras import layers

def model(seed):
    conv = lambda width: layers.Conv2D(width, 3, activation="relu")
    hidden = layers.Dense(128, activation="relu")
    return keras.Sequential([keras.Input((28, 28, 1)), conv(32), layers.MaxPooling2D(), conv(64),
                             layers.MaxPooling2D(), layers.Flatten(), hidden, layers.Dense(10)])
"""
ROUNDING = 1e-12


@pytest.mark.parametrize(
    "middle",
    [
        "layers.Dropout(0.3)",
        "layers.Dropout(0.5, noise_shape=(None, 1, None, None))",
        "layers.SpatialDropout2D(0.4)",
        "layers.GaussianDropout(0.2), layers.GaussianNoise(0.3)",
        "layers.BatchNormalization()",
        "layers.BatchNormalization(axis=1, scale=False), layers.ReLU(), layers.BatchNormalization(center=False)",
        "layers.GroupNormalization(3), layers.LayerNormalization()",
        "layers.Conv2D(2, 1, kernel_regularizer='l2', activity_regularizer='l1')",
        "keras.Sequential([layers.Conv2D(4, 1), layers.BatchNormalization(), layers.Dropout(0.5)])",
        "layers.Conv2D(2, 1, trainable=False), layers.BatchNormalization(trainable=False)",
    ],
)
def test_layers_by_position_and_groups_give_shares_that_add_up(prepared: Prepare, middle: str) -> None:
    facts = prepared(MODEL.format(middle), workers=(2, 3), batch_size=24)

    assert facts.split.keys() == {"2", "3"}
    assert max(facts.split.values()) < ROUNDING
    assert facts.batch_norm == ("groups:4" if "BatchNorm" in middle else "")


def test_a_functional_model_with_branches_and_operations_is_fine(prepared: Prepare) -> None:
    facts = prepared(
        """
def model(seed):
    image = keras.Input((4, 4, 1))
    shared = layers.Dense(4)
    left, right = shared(layers.Dropout(0.5)(image)), keras.ops.relu(shared(image))
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(layers.Add()([left, right * 2]))))
"""
    )

    assert max(facts.split.values()) < ROUNDING
    assert facts.tensors == ("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias")
    assert facts.sizes == (4, 4, 192, 3)


def test_the_cnn_in_keras_gives_the_built_in_ones_loss_and_gradient_for_the_same_weights(tmp_path: Path) -> None:
    file = tmp_path / "keras_cnn.py"
    file.write_text(KERAS_CNN)
    training = UserTraining(load(file), 1, "groups:8")
    random = np.random.default_rng(1)
    x, y = tf.constant(random.integers(0, 256, (8, 28, 28, 1), np.uint8)), tf.constant(random.integers(0, 10, 8))
    weights = tf.constant(cnn.initial_weights(1), tf.float64)

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(weights)
        draw = Draw(1, tf.constant(0, tf.int64), 0, 8)
        loss, _ = training.loss(weights, tf.zeros(0, tf.float64), x, y, draw)
        scores = cnn.logits(weights, tf.cast(x, tf.float64) / 255)
        own = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, scores))

    assert training.sizes == cnn.Cnn.sizes
    assert float(loss) == pytest.approx(float(own), rel=1e-12)
    apart = tf.norm(tape.gradient(loss, weights) - tape.gradient(own, weights))
    assert float(apart) <= ROUNDING * float(tf.norm(tape.gradient(own, weights)))


def test_the_cnn_in_keras_equals_its_two_shares(prepared: Prepare) -> None:
    larger = np.ones((1, 7, 7, 1), np.uint8)
    images = {name: np.kron(getattr(arrays(), name), larger) for name in ("x_train", "x_test")}

    facts = prepared(KERAS_CNN.replace("hidden,", "hidden, layers.Dropout(0.5),"), data=arrays(**images))

    assert facts.sizes == cnn.Cnn.sizes
    assert facts.split["2"] < ROUNDING


def test_plain_tensorflow_is_fine(prepared: Prepare) -> None:
    facts = prepared(
        """
TARGET = 0.5

def weights(seed):
    random = np.random.default_rng(seed)
    return {"dense": random.normal(size=(16, 3)).astype("float32"), "bias": np.zeros(3, "float32")}

def outputs(weights, x, seeds):
    x = tf.reshape(x, (-1, 16))
    if seeds is not None:
        x *= tf.cast(seeds[:, :1] > 0, x.dtype)
    return tf.matmul(x, weights["dense"]) + weights["bias"]
"""
    )

    assert max(facts.split.values()) < ROUNDING
    assert (facts.tensors, facts.sizes, facts.target) == (("dense", "bias"), (48, 3), 0.5)


def test_every_other_function_of_the_contract_is_used(prepared: Prepare) -> None:
    facts = prepared(
        MODEL.format("")
        + """
def loss(labels, outputs):
    return tf.reduce_sum((outputs - tf.one_hot(labels, 3, dtype=outputs.dtype)) ** 2, 1)

def score(labels, outputs):
    return 1 / (1 + loss(labels, outputs))

def prepare(x):
    return tf.cast(x, "float32") / 128 - 1

def augment(x, seeds):
    flip = lambda sample: tf.image.stateless_random_flip_left_right(sample[0], sample[1])
    return tf.map_fn(flip, (x, seeds), fn_output_signature=x.dtype)

def optimizer():
    return keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=1.0)
"""
    )

    assert max(facts.split.values()) < ROUNDING
    assert facts.optimizer.startswith("SGD(learning_rate=0.1")


@pytest.mark.parametrize("distribution", [uniform, normal, whole_numbers])
def test_a_ranks_random_numbers_are_rows_of_the_whole_batchs(distribution: Any) -> None:
    def drawn(first: int, samples: int, number: int = 1, step: int = 0) -> Any:
        draw = Draw(seed=7, step=tf.constant(step, tf.int64), first=first, batch_size=9)
        return rows(draw, number, (samples, 5, 1), distribution).numpy()

    whole = drawn(0, 9)

    assert np.array_equal(np.concatenate([drawn(0, 3), drawn(3, 4), drawn(7, 2)]), whole)
    for other in (drawn(0, 9, number=2), drawn(0, 9, step=1)):
        assert not (other == whole).any(axis=(1, 2)).any()


@pytest.mark.parametrize(
    "network",
    [
        "layers.Embedding(256, 4, mask_zero=True), layers.LSTM(5)",
        "layers.Embedding(256, 4), layers.Bidirectional(layers.GRU(3))",
        "layers.Embedding(256, 4, embeddings_regularizer='l2'), layers.Conv1D(3, 3), layers.GlobalMaxPooling1D()",
    ],
)
def test_sequences_of_whole_numbers_are_fine(prepared: Prepare, network: str) -> None:
    tokens = {name: getattr(arrays(), name).reshape(-1, 16).astype(np.int32) for name in ("x_train", "x_test")}

    facts = prepared(
        f"def model(seed): return keras.Sequential([keras.Input((16,), dtype='int32'), {network}, layers.Dense(3)])",
        data=arrays(**tokens),
    )

    assert max(facts.split.values()) < ROUNDING


def test_a_test_set_of_one_sample_is_evaluated(prepared: Prepare) -> None:
    facts = prepared(MODEL.format(""), data=arrays(x_test=arrays().x_test[:1], y_test=arrays().y_test[:1]))

    assert facts.test_samples == 1
