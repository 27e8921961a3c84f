"""`model.fit`, as every tutorial has it."""

import sys
import time
from types import SimpleNamespace
from typing import Any

from benchmarks.variants.common import LEARNING_RATE, Options, Timed, main, network


def train(keras: Any, images: Any, labels: Any, options: Options) -> tuple[Timed, Any]:
    """Compile without metrics and fit; a first call with one batch builds the graph."""
    model = network(keras)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Keras 3's own choice on a machine without a GPU; with XLA it is slower there, which would flatter the baseline.
    model.compile(keras.optimizers.Adam(LEARNING_RATE), loss, jit_compile=False)

    def fit(samples: int) -> float:
        history = model.fit(images[:samples], labels[:samples], batch_size=options.batch_size, verbose=0)
        return float(history.history["loss"][0])

    fit(options.batch_size)
    started = time.perf_counter()
    mean = fit(options.samples)
    return Timed(time.perf_counter() - started, mean), SimpleNamespace(model=model, optimizer=model.optimizer)


if __name__ == "__main__":
    sys.exit(main("fit", train))
