"""What the variants and peers share: options, the network, one update, and the line that they hand back.

Nothing here comes from trainer.workloads or trainer.training: a variant is what somebody would write who has
not seen them. At import this needs the standard library alone, since the bench reads the results.
"""

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trainer import schedule
from trainer.reading import BrokenResultError, from_dict, parse_json

MNIST = Path(__file__).parents[2] / "image" / "data" / "mnist.npz"
LEARNING_RATE = 0.001
KERAS = ("keras", "tf_keras", "torch")
MARKER = '{"variant": '
"""Beginning of the line that carries the result."""


@dataclass(frozen=True)
class Options:
    """What a variant is asked to do.

    Attributes:
        keras: package that the layers come from: Keras 3 (keras), Keras 2 (tf_keras) or PyTorch (torch).
        batch_size: samples of an update.
        updates: on the clock; a whole epoch unless told otherwise.
        threads: of the library: the cores that the process may use.
        seed: of weights, order and dropout.
        data: the MNIST archive.
        evaluate: whether the test accuracy is computed after the clock has stopped.
        workers: of Ray Train; 0 for one process without Ray.
    """

    keras: str
    batch_size: int
    updates: int
    threads: int
    seed: int
    data: str
    evaluate: bool
    workers: int

    @property
    def samples(self) -> int:
        """Images on the clock."""
        return self.updates * self.batch_size


@dataclass(frozen=True)
class Timed:
    """What was on the clock.

    Attributes:
        seconds: of the training alone.
        loss: mean training loss over these updates.
    """

    seconds: float
    loss: float


@dataclass(frozen=True)
class VariantResult:
    """What a variant hands back.

    Attributes:
        variant: name of its module.
        keras: package that its layers came from.
        seconds: training-loop clock.
        updates: on the clock, counted by the optimiser.
        samples: in these updates.
        loss: mean training loss over these updates.
        intra_threads: TensorFlow's threads inside an operation, as TensorFlow reports them.
        inter_threads: across operations, likewise.
        cores: cores that the process may run on.
        niceness: priority by which the kernel shares a core.
        versions: of what the numbers depend on.
        accuracy: on the test images after these updates; None when it was not asked for.
    """

    variant: str
    keras: str
    batch_size: int
    seed: int
    seconds: float
    updates: int
    samples: int
    loss: float
    intra_threads: int
    inter_threads: int
    cores: int
    niceness: int
    versions: dict[str, str]
    accuracy: float | None = None


class Learner:
    """The network with its optimiser, for variants that write their own training step.

    Attributes:
        model: its layers.
        optimizer: Adam; counts the updates.
    """

    def __init__(self, keras: Any) -> None:
        self.model = network(keras)
        self._loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.optimizer = keras.optimizers.Adam(LEARNING_RATE)
        self.optimizer.build(self.model.trainable_variables)

    def update(self, images: Any, labels: Any) -> Any:
        """One update on a batch, to be traced into a graph; the loss before it."""
        import tensorflow as tf  # noqa: PLC0415 - seconds, which reading a result need not pay

        with tf.GradientTape() as tape:
            loss = self._loss(labels, self.model(images, training=True))
        variables = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss


Train = Callable[[Any, Any, Any, Options], tuple[Timed, Any]]
"""Trains with (keras, images, labels, options); what was on the clock, and what has the model and the optimiser."""


def network(keras: Any) -> Any:
    """The CNN of this project in Keras layers; 225,034 parameters."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )


def parse(arguments: Sequence[str]) -> Options:
    """The command line; exits with code 2 and one sentence when it is wrong."""
    parser = argparse.ArgumentParser(description="One variant of the training, timed.")
    parser.add_argument("--keras", choices=KERAS, default="keras")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--updates", type=int, help="on the clock (default: one epoch)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", default=str(MNIST))
    parser.add_argument("--evaluate", action="store_true", help="test accuracy, after the clock has stopped")
    parser.add_argument("--workers", type=int, default=0, help="of Ray Train; 0: one process without Ray")
    options = parser.parse_args(arguments)
    if not 1 <= options.batch_size <= schedule.TRAIN_SAMPLES:
        parser.error(f"--batch-size {options.batch_size}: expected 1 to {schedule.TRAIN_SAMPLES}")
    epoch = schedule.updates_per_epoch(options.batch_size)
    updates = epoch if options.updates is None else options.updates
    if not 1 <= updates <= epoch:
        parser.error(f"--updates {updates}: expected 1 to {epoch}, an epoch at batch {options.batch_size}")
    if options.threads < 1:
        parser.error(f"--threads {options.threads}: expected at least 1")
    if options.workers < 0:
        parser.error(f"--workers {options.workers}: expected 0 or more")
    return Options(**{**vars(options), "updates": updates})


def main(variant: str, train: Train) -> int:
    """Run one variant by its command line and print its result as one line."""
    return hand_over(run(variant, train, parse(sys.argv[1:])))


def hand_over(result: VariantResult) -> int:
    """Print the line that the bench reads."""
    print(json.dumps(asdict(result), allow_nan=False), flush=True)
    return 0


def run(variant: str, train: Train, options: Options) -> VariantResult:
    """Train one variant on TensorFlow."""
    tf = importlib.import_module("tensorflow")
    keras = importlib.import_module(options.keras)
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    mnist = load(options)
    keras.utils.set_random_seed(options.seed)
    timed, learner = train(keras, scaled(mnist.x_train), mnist.y_train, options)
    accuracy = None
    if options.evaluate:
        model = network(keras)
        model.set_weights(learner.model.get_weights())
        scores = [model(batch, training=False).numpy() for batch in tf.split(scaled(mnist.x_test), 10)]
        accuracy = share_of_hits(scores, mnist.y_test)
    return describe(
        variant,
        options,
        timed,
        updates=int(learner.optimizer.iterations.numpy()) - 1,  # the warm-up was one
        intra_threads=tf.config.threading.get_intra_op_parallelism_threads(),
        inter_threads=tf.config.threading.get_inter_op_parallelism_threads(),
        versions={"tensorflow": tf.__version__, options.keras: keras.__version__},
        accuracy=accuracy,
    )


def load(options: Options) -> Any:
    """Read the archive, as the trainer does."""
    return importlib.import_module("trainer.data").load(Path(options.data))


def scaled(images: Any) -> Any:
    """Return pixels from 0 to 1."""
    return images.astype("float32") / 255


def share_of_hits(scores: Sequence[Any], labels: Any) -> float:
    """Return the share of images whose largest score is their label's; `scores` come in batches."""
    import numpy as np  # noqa: PLC0415

    return float(np.mean(np.concatenate(scores).argmax(1) == labels))


def describe(
    variant: str,
    options: Options,
    timed: Timed,
    *,
    updates: int,
    intra_threads: int,
    inter_threads: int,
    versions: dict[str, str],
    accuracy: float | None,
) -> VariantResult:
    """Put together what a variant hands back, with what its process may use."""
    return VariantResult(
        variant=variant,
        keras=options.keras,
        batch_size=options.batch_size,
        seed=options.seed,
        seconds=timed.seconds,
        updates=updates,
        samples=updates * options.batch_size,
        loss=timed.loss,
        intra_threads=intra_threads,
        inter_threads=inter_threads,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        niceness=os.getpriority(os.PRIO_PROCESS, 0),
        versions={**versions, "python": platform.python_version()},
        accuracy=accuracy,
    )


def under_ray_train(trainer: Any, worker: Callable[[dict[str, Any]], dict[str, Any]], options: Options) -> int:
    """Run `worker` on Ray Train's workers, each with a core, and print what rank 0 returns."""
    import ray  # noqa: PLC0415 - one process needs no Ray
    from ray.train import RunConfig, ScalingConfig  # noqa: PLC0415

    ray.init(address="auto", runtime_env={"env_vars": {"PYTHONPATH": os.environ["PYTHONPATH"]}})
    with TemporaryDirectory(prefix="storage-") as storage:
        fitted = trainer(
            worker,
            train_loop_config=asdict(options),
            scaling_config=ScalingConfig(
                num_workers=options.workers,
                resources_per_worker={"CPU": options.threads},
                placement_strategy="SPREAD",
            ),
            run_config=RunConfig(storage_path=storage),
        ).fit()
    code = hand_over(VariantResult(**fitted.return_value))
    os._exit(code)  # as the trainer does: a job ends when its process does


def decode(log: str) -> VariantResult:
    """The result in a variant's complete output. Raises BrokenResultError when it is absent or incomplete."""
    lines = [line for line in log.splitlines() if line.startswith(MARKER)]
    if len(lines) != 1:
        raise BrokenResultError(f"expected one line that begins with {MARKER}, found {len(lines)}")
    return from_dict(VariantResult, parse_json(lines[0]))


def batches(options: Options) -> Any:
    """Samples of every update in a random order, shape (updates, batch size), drawn before the clock starts."""
    import numpy as np  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    order = np.random.default_rng(options.seed).permutation(schedule.TRAIN_SAMPLES)[: options.samples]
    return tf.constant(order.reshape(options.updates, options.batch_size).astype(np.int32))


def timed(work: Callable[[], Any]) -> Timed:
    """Time a call that returns the loss of every update."""
    started = time.perf_counter()
    losses = work().numpy()  # waits for the last update
    return Timed(time.perf_counter() - started, float(losses.mean()))
