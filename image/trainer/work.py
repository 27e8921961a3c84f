"""What one trial has to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """What one trial has to do, the same for every rank.

    Attributes:
        seed: of weights, batches and dropout.
        batch_size: global batch, divided among the ranks.
        threads: TensorFlow's threads for each rank: its CPUs.
        probe: whether to run the equivalence probe before training.
        evaluate: whether rank 0 computes the test accuracy after every epoch.
        slowdown: share of its time by which each step is delayed on purpose.
        monitor: "host:port" that is told of each epoch; empty for none.
    """

    seed: int
    epochs: int
    batch_size: int
    threads: int
    data: str
    collective: str
    probe: bool
    evaluate: bool
    slowdown: float = 0.0
    monitor: str = ""
    trial: str = ""
