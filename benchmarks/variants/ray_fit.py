"""Ray's documentation's way: `TensorflowTrainer`, MultiWorkerMirroredStrategy and `model.fit` (tf-keras).

Each worker has the batch of one process, as the documentation has it, so N workers do a global batch of N times
as many images, and 1/N of the updates.
"""

import sys
import time
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

from benchmarks.variants.common import LEARNING_RATE, Options, Timed, network, parse, run, under_ray_train
from trainer import schedule


def train(keras: Any, images: Any, labels: Any, options: Options) -> tuple[Timed, Any]:
    """Build under the strategy, and fit a dataset that TensorFlow shards; a first call builds the graph."""
    import tensorflow as tf  # noqa: PLC0415 - the driver needs none

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        model = network(keras)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(LEARNING_RATE), loss)

    def fit(updates: int) -> float:
        dataset = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images), seed=options.seed)
        dataset = dataset.batch(options.batch_size, drop_remainder=True)
        return float(model.fit(dataset, steps_per_epoch=updates, verbose=0).history["loss"][0])

    fit(1)
    started = time.perf_counter()
    mean = fit(options.updates)
    return Timed(time.perf_counter() - started, mean), SimpleNamespace(model=model, optimizer=model.optimizer)


def worker(config: dict[str, Any]) -> dict[str, Any]:
    """Train as one of Ray Train's workers."""
    options = Options(**config)
    size = options.batch_size * options.workers
    updates = min(options.updates, schedule.updates_per_epoch(size))
    return asdict(run("ray_fit", train, replace(options, batch_size=size, updates=updates)))


if __name__ == "__main__":
    from ray.train.tensorflow import TensorflowTrainer

    sys.exit(under_ray_train(TensorflowTrainer, worker, parse(sys.argv[1:])))
