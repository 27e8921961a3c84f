"""Keras' optimisers over one flat variable: those that treat each weight by itself."""

from __future__ import annotations

from typing import Any

from trainer.workloads.facts import InvalidWorkloadError

ELEMENT_WISE = ("SGD", "Adam", "AdamW", "Adamax", "Nadam", "RMSprop", "Adagrad", "Adadelta", "Ftrl", "Lion")


def describe(optimizer: Any) -> str:
    """Return the optimiser with its settings. Raises InvalidWorkloadError for one that looks at whole tensors."""
    kind = type(optimizer)
    if kind.__name__ not in ELEMENT_WISE or not kind.__module__.startswith("keras."):
        accepted = ", ".join(ELEMENT_WISE)
        raise InvalidWorkloadError(
            f"optimizer() gives {kind.__name__}: all weights are updated as one vector, so expected one of Keras' "
            f"optimisers that treat each weight by itself ({accepted})"
        )
    if optimizer.clipnorm is not None:
        raise InvalidWorkloadError(
            "optimizer() sets clipnorm, a bound for each tensor, and all weights are one vector: use global_clipnorm"
        )
    if getattr(optimizer, "_exclude_from_weight_decay", None) or getattr(
        optimizer, "_exclude_from_weight_decay_pattern", None
    ):
        raise InvalidWorkloadError(
            "optimizer() excludes tensors from weight decay, and all weights are one vector: use a kernel_regularizer"
        )
    unused = ("name",) if optimizer.use_ema else ("name", "ema_momentum")
    settings = {name: value for name, value in optimizer.get_config().items() if name not in unused and value}
    return f"{kind.__name__}({', '.join(f'{name}={_short(value)}' for name, value in settings.items())})"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def read_learning_rate(optimizer: Any) -> float:
    """Return the rate of the first update."""
    return round(float(optimizer.learning_rate), 9)


class KerasUpdater:
    """One of Keras' optimisers, with a learning rate in the place of its own, if any. Raises InvalidWorkloadError."""

    def __init__(self, optimizer: Any, weights: Any, learning_rate: float | None = None) -> None:
        if learning_rate is not None:
            try:
                optimizer.learning_rate = learning_rate
            except TypeError:
                why = "optimizer() has a schedule of learning rates, so no other rate can be set"
                raise InvalidWorkloadError(why) from None
        self._optimizer, self._weights = optimizer, weights
        optimizer.build([weights])
        self.variables = optimizer.variables
        self._initial = [variable.numpy() for variable in self.variables]

    def apply(self, gradient: Any, step: Any, learning_rate: Any = None) -> None:
        """Update the weights; the optimiser counts by itself, and None keeps its learning rate."""
        if learning_rate is not None:
            self._optimizer.learning_rate = learning_rate
        self._optimizer.apply([gradient], [self._weights])

    def reset(self) -> None:
        """Forget every update."""
        for variable, initial in zip(self.variables, self._initial, strict=True):
            variable.assign(initial)
