"""Users' trainings that cannot be equal on N ranks: refused by name and with the way out. No Ray."""

from pathlib import Path

import pytest

from tests.training.user_files import MODEL, Prepare, arrays
from trainer.datasets import InvalidDataError, save
from trainer.workloads.facts import InvalidWorkloadError
from trainer.workloads.prepare import Asked, prepare

pytestmark = pytest.mark.training

COUPLED = "my_norm couples samples; it must treat each sample by itself: keras.layers.GroupNormalization"
DTYPE = "computes in {}: the proof builds the model in float32 and in float64, so leave dtype and mixed precision out"
CHEATS = {
    "a constant that is set where nobody reads it": (
        "if keras:\n    EPOCHS = 3\n" + MODEL.format(""),
        "EPOCHS is 3 once the file has run, and None where it is read without running it: ",
    ),
    "BatchNorm by rank": (
        """
class Norm(layers.Layer):
    def call(self, x):
        return x - tf.reduce_mean(x, 0)
"""
        + MODEL.format("Norm(name='my_norm')"),
        f"2 shares of a batch do not do the whole batch's work, .*: layer {COUPLED}",
    ),
    "BatchNorm inside a layer": (
        """
class Block(layers.Layer):
    def __init__(self):
        super().__init__(name="my_norm")
        self.norm = layers.BatchNormalization()
    def build(self, shape):
        self.norm.build(shape)
    def call(self, x, training=False):
        return self.norm(x, training=training)
"""
        + MODEL.format("Block()"),
        f"layer {COUPLED}.*or keras.layers.BatchNormalization with BATCH_NORM = 'groups:N'",
    ),
    "own dropout with a hidden seed": (
        """
class Drop(layers.Layer):
    def call(self, x):
        return x * tf.cast(tf.random.stateless_uniform(tf.shape(x), (1, 2)) > 0.5, x.dtype)
"""
        + MODEL.format("Drop(name='my_drop')"),
        "layer my_drop couples samples; .*keras.layers.Dropout for random numbers",
    ),
    "own dropout without a seed": (
        """
class Drop(layers.Layer):
    def call(self, x):
        return x * tf.cast(tf.random.uniform(tf.shape(x)) > 0.5, x.dtype)
"""
        + MODEL.format("Drop(name='my_drop')"),
        "layer my_drop gives other random numbers each time; .*keras.layers.Dropout for random numbers",
    ),
    "a generator of its own": (MODEL.format("layers.RandomFlip()"), "layer random_flip draws .*augment.x, seeds."),
    "a Dropout of its own class": (
        "class Mine(layers.Dropout): pass\n" + MODEL.format("Mine(0.5, name='mine')"),
        "layer mine draws random numbers of its own, or counts .*, differently on each rank: .*keras.layers.Dropout",
    ),
    "dropout in an LSTM": (
        MODEL.format("layers.Reshape((4, 3)), layers.LSTM(2, dropout=0.2)"),
        "layer lstm draws random numbers of its own, .*: set its own dropout to 0 and use keras.layers.Dropout",
    ),
    "dropout in an attention": (
        """
def model(seed):
    image = keras.Input((4, 4, 1))
    x = layers.Reshape((4, 4))(image)
    x = layers.MultiHeadAttention(2, 2, dropout=0.1)(x, x)
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))
""",
        "layer multi_head_attention draws random numbers of its own, .*: set its own dropout to 0",
    ),
    "samples of another shape": (
        "def model(seed): return keras.Sequential([keras.Input((5, 5)), layers.Flatten(), layers.Dense(3)])",
        r"samples of shape \(4, 4, 1\) for the model's input of \(5, 5\)",
    ),
    "mean over the local batch": (
        MODEL.format("") + "def loss(labels, outputs): return tf.reduce_mean(outputs)",
        r"my_net.py: loss gives shape \(\) for \d+ samples; expected a first dimension of the samples",
    ),
    "a loss for each output": (
        MODEL.format("") + "def loss(labels, outputs): return outputs",
        r"my_net.py: loss gives shape \(\d+, 3\); expected one number for each sample",
    ),
    "contrastive loss": (
        MODEL.format("")
        + "def loss(labels, outputs): return tf.reduce_sum(tf.matmul(outputs, outputs, transpose_b=True) ** 2, 1)",
        r"loss couples samples; loss\(labels, outputs\) must give a number for each sample, of that sample alone",
    ),
    "random numbers in augment": (
        MODEL.format("") + "def augment(x, seeds): return x * random.random()",
        r"augment gives other random numbers each time; augment\(x, seeds\) must .*from its seeds",
    ),
    "prepare over the batch": (
        MODEL.format("") + "def prepare(x): x = tf.cast(x, 'float64'); return x - tf.reduce_mean(x)",
        r"prepare couples samples; prepare\(x\) must change each sample by itself",
    ),
    "a sum that is added to the loss": (
        """
class Sum(layers.Layer):
    def call(self, x):
        self.add_loss(tf.reduce_sum(x) * tf.reduce_sum(x))
        return x
"""
        + MODEL.format("Sum()"),
        "what is added to the loss, such as an activity regulariser, must be a mean over the samples",
    ),
    "the time": (
        "def model(seed):\n    keras.utils.set_random_seed(time.perf_counter_ns() % 2**31)\n    return sequential()",
        r"model\(1\) gives other sequential/conv2d/kernel when it is called again: use its seed",
    ),
    "another shape in float64": (
        "def model(seed): return sequential(layers.Conv2D(2 if keras.config.floatx() == 'float32' else 3, 1))",
        r"model\(seed\) has other shapes in float64 than in float32",
    ),
    "a subclass": ("class Mine(keras.Model): pass\ndef model(seed): return Mine()", "Mine is a subclass, whose layers"),
    "no shapes": ("def model(seed): return keras.Sequential([layers.Dense(3)])", r"begin it with keras.Input\(shape\)"),
    "no model": (
        "def model(seed): return 3",
        r"model\(seed\) gives builtins.int; expected keras.Sequential, or keras.M",
    ),
    "two outputs": (
        "def model(seed):\n    i = keras.Input((4, 4, 1))\n    return keras.Model(i, [layers.Dense(3)(i), i])",
        "the model has 1 inputs and 2 outputs; expected 1 and 1",
    ),
    "mixed precision": (MODEL.format("layers.Conv2D(2, 1, dtype='mixed_float16')"), DTYPE.format("mixed_float16")),
    "a dtype": (MODEL.format("layers.Conv2D(2, 1, dtype='float32')"), DTYPE.format("float32")),
    "a constraint": (MODEL.format("layers.Conv2D(2, 1, kernel_constraint='non_neg')"), "kernel has a constraint"),
    "clipnorm": (
        MODEL.format("") + "def optimizer(): return keras.optimizers.Adam(clipnorm=1.0)",
        "clipnorm, a bound for each tensor, .*: use global_clipnorm",
    ),
    "LAMB": (
        MODEL.format("") + "def optimizer(): return keras.optimizers.Lamb()",
        r"optimizer\(\) gives Lamb: all weights are updated as one vector, .*\(SGD, Adam, ",
    ),
    "biases without decay": (
        MODEL.format("")
        + "def optimizer():\n    o = keras.optimizers.AdamW()\n    o.exclude_from_weight_decay(var_names=['bias'])\n"
        "    return o",
        "excludes tensors from weight decay, .*: use a kernel_regularizer",
    ),
    "a score that is no share": (
        MODEL.format("") + "def score(labels, outputs): return 2 + 0 * outputs[:, 0]",
        r"score\(labels, outputs\) gives 2, shape \(5,\), for 5 samples; expected a number from 0 to 1 for each",
    ),
    "another function in float64": (
        MODEL.format("")
        + "def loss(labels, outputs): return outputs[:, 0] ** 2 * (1 if outputs.dtype == 'float32' else 2)",
        "the loss of the first batch is .* in a graph and single precision, and .* expected the same",
    ),
    "logits of a wrong shape": (
        "def model(seed): return keras.Sequential([keras.Input((4, 4, 1)), layers.Dense(3)])",
        r"the network gives shape \(\d+, 4, 4, 3\) for labels of shape \(\d+,\); expected \(samples, classes\)",
    ),
    "too few logits": (
        "def model(seed): return keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2)])",
        "2 outputs for labels up to 2; expected at least 3",
    ),
    "nothing to train": (
        MODEL.format("") + "def loss(labels, outputs): return 0 * outputs[:, 0]",
        "gradient .* is zero",
    ),
    "nothing": ("", r"my_net.py defines none of them: expected either model\(seed\), or weights\(seed\) and outputs"),
    "half of a network": ("def weights(seed): return {}", "my_net.py defines weights: expected either"),
    "weights that are none": (
        "def weights(seed): return {'a': 3}\ndef outputs(weights, x, seeds): return x",
        r"weights\(seed\) gives no float array for 'a'; expected names with float arrays",
    ),
    "groups that are not whole": (
        "BATCH_NORM = 'groups:3'\n" + MODEL.format("layers.BatchNormalization()"),
        "BATCH_NORM = 'groups:3' does not divide the shares of 2 and 4 workers: expected N to be a divisor of 8",
    ),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_what_cannot_be_equal_is_refused_by_name_in_one_sentence(prepared: Prepare, cheat: str) -> None:
    text, message = CHEATS[cheat]

    with pytest.raises(InvalidWorkloadError, match=message) as refused:
        prepared(text)

    assert "\n" not in str(refused.value)


def test_what_works_on_arrays_alone_fails_here_and_not_on_the_cluster(prepared: Prepare) -> None:
    with pytest.raises(NotImplementedError, match=r"Cannot convert a symbolic tf\.Tensor"):
        prepared(MODEL.format("") + "def prepare(x): return np.log(x) / 255")


def test_a_share_of_one_sample_and_batch_norm_is_refused(prepared: Prepare) -> None:
    with pytest.raises(InvalidWorkloadError, match=r"groups of one sample .* at least 2 samples for each worker"):
        prepared(MODEL.format("layers.BatchNormalization()"), batch_size=4)


def test_a_batch_larger_than_the_data_or_not_divisible_is_refused(prepared: Prepare) -> None:
    with pytest.raises(InvalidWorkloadError, match="--batch-size=128: the data has 64 training samples"):
        prepared(MODEL.format(""), batch_size=128)
    with pytest.raises(InvalidWorkloadError, match="--batch-size=32 cannot be divided among 3 workers"):
        prepared(MODEL.format(""), workers=(3,))


def test_the_cnn_refuses_other_images_than_it_is_made_for(tmp_path: Path) -> None:
    save(arrays(), tmp_path / "noise.npz")

    with pytest.raises(InvalidDataError, match=r"x_train holds uint8 \(4, 4, 1\) .* the CNN expects uint8 \(28, 28\)"):
        prepare(Asked("cnn-fashion-mnist", str(tmp_path / "noise.npz"), (2,), 32, 1, tmp_path / "out"))
