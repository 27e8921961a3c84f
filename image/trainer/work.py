"""What one trial has to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.workloads.facts import CNN_MNIST

PROBE_UPDATES, SHORT_PROBE_UPDATES = 20, 3
"""Of the equivalence probe: on whole batches, and on a few samples of each."""


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
        workload: name of a built-in training, or a user's file.
        batch_norm: see facts.WorkloadFacts.
        updates: of each epoch, the first ones; 0 for whole epochs.
        probe_samples: of a few global batches, in the equivalence probe; 0 for whole ones, and more of them.
        checkpoint_every: updates of an epoch between two checkpoints; 0 for none.
        kill_rank: which rank is killed, once: by itself, or with its node.
        kill_update: right before which update of the training, counted from 0; 0 for never.
        lose_node: whether the rank that is killed waits until its node is taken away, and checkpoints are kept where
            no lost node takes them away.
        learning_rate: None for the workload's own.
        rate_factor: how many times that rate it trains at, once it is warm.
        warm_up: updates in which the rate grows evenly from once to that; 0 for none.
        gpus: of each rank: 0 or 1.
        tf32: whether a GPU may round products of matrices to TF32; the equivalence probe's training never does.
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
    workload: str = CNN_MNIST.name
    batch_norm: str = ""
    updates: int = 0
    probe_samples: int = 0
    checkpoint_every: int = 0
    kill_rank: int = 0
    kill_update: int = 0
    lose_node: bool = False
    learning_rate: float | None = None
    rate_factor: float = 1.0
    warm_up: int = 0
    gpus: int = 0
    tf32: bool = False

    @property
    def rounded(self) -> bool:
        """Whether a GPU rounds to TF32 in this trial."""
        return self.tf32 and not self.probe

    def choose_rate(self, own: float) -> float:
        """Return the learning rate that was asked for, else the workload's own."""
        return own if self.learning_rate is None else self.learning_rate

    def found_in(self, folders: Iterable[str]) -> Work:
        """Return the same work with the paths of files that came with the job, whose folder is one of these.

        Ray starts a worker in that folder, and puts it on the path of modules; Ray Train and Ray Tune then move their
        workers to another one.
        """
        places = [Path(folder) for folder in folders]

        def find(name: str) -> str:
            return next((str(folder / name) for folder in places if (folder / name).is_file()), name)

        return replace(self, workload=find(self.workload), data=find(self.data))
