"""What a sweep trains, and the line that hands it back. Standard library only: the harness reads it too."""

from dataclasses import dataclass

from trainer.reading import Ratio, SecondsSpent, WholeFromOne
from trainer.result import TrialResult


@dataclass(frozen=True)
class Configuration:
    """One configuration of a sweep: what differs from trial to trial.

    Attributes:
        learning_rate: None for the workload's own.
    """

    batch_size: WholeFromOne
    seed: int
    learning_rate: Ratio | None = None

    @property
    def name(self) -> str:
        """The configuration, for people: "learning rate 0.001, batch 128, seed 1"."""
        rate = "" if self.learning_rate is None else f"learning rate {self.learning_rate:g}, "
        return f"{rate}batch {self.batch_size}, seed {self.seed}"

    def arguments(self) -> list[str]:
        """Return the trainer's options that ask for it."""
        rate = [] if self.learning_rate is None else ["--learning-rate", repr(self.learning_rate)]
        return [*rate, "--batch-size", str(self.batch_size), "--seed", str(self.seed)]


@dataclass(frozen=True)
class SweepResult:
    """What one pass over all configurations hands back, in their order.

    Attributes:
        trials: the training of each; one that was stopped early has fewer epochs than were asked for, and one whose
            loss became no number is None.
        seconds: how long each took, from its start to its end.
    """

    trials: tuple[TrialResult | None, ...]
    seconds: tuple[SecondsSpent, ...]
