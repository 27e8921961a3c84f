"""Which configuration runs in which round, and what a bench leaves as data."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Literal

from benchmarks.variants.common import VariantResult
from fixtures.analysis.measurement import Measurement
from fixtures.analysis.plan import TrialSpec, rotated
from fixtures.errors import MissingResultError
from fixtures.system.noise import Noise
from trainer.result import BrokenResultError, from_dict, parse_json

GROUPS = ("ray", "noray", "variants", "batches")
WORKERS = 2
BATCH = 128
LARGER_BATCHES = (256, 512)
"""The first runs in odd rounds, the second in even ones."""

VARIANTS = MappingProxyType(
    {
        "Keras 3 fit": ("fit", "keras"),
        "tf-keras fit": ("fit", "tf_keras"),
        "Keras 3, step from Python": ("step", "keras"),
        "Keras 3, tf.data pipeline": ("pipeline", "keras"),
        "Keras 3, epoch graph": ("whole_epoch", "keras"),
        "tf-keras, epoch graph": ("whole_epoch", "tf_keras"),
    }
)
"""Name for people -> module in benchmarks/variants, and the package of its layers."""

Kind = Literal["baseline", "workers", "copies", "ranks", "variant"]


@dataclass(frozen=True)
class Configuration:
    """One way to train an epoch.

    Attributes:
        kind: the baseline, Ray Train's workers, copies of the baseline, ranks without Ray, or a variant.
        batch_size: global.
        variant: name of the variant; empty for the others.
    """

    kind: Kind
    batch_size: int = BATCH
    variant: str = ""

    @property
    def name(self) -> str:
        """For people: "2 workers", "2 copies, batch 256", "Keras 3 fit"."""
        plain = {
            "baseline": "baseline",
            "workers": f"{WORKERS} workers",
            "copies": f"{WORKERS} copies",
            "ranks": f"{WORKERS} ranks without Ray",
            "variant": self.variant,
        }[self.kind]
        return plain if self.batch_size == BATCH else f"{plain}, batch {self.batch_size}"

    def spec(self, seed: int) -> TrialSpec:
        """What the trainer has to do, one epoch; not for a variant."""
        workers = WORKERS if self.kind in ("workers", "ranks") else 0
        copies = WORKERS if self.kind == "copies" else 1
        kind: Literal["ceiling", "timing"] = "ceiling" if self.kind == "copies" else "timing"
        return TrialSpec(kind, workers, copies, epochs=1, seed=seed, probe=False)


def configurations(groups: Collection[str], number: int) -> tuple[Configuration, ...]:
    """Every configuration of a round once, in the order of this round.

    The order is a cyclic rotation, as in the suite's rounds; what is compared with each other is close together.

    Args:
        groups: of GROUPS.
        number: of the round, from 1.
    """
    larger = LARGER_BATCHES[(number - 1) % len(LARGER_BATCHES)]
    wanted = (
        (Configuration("copies"), {"ray"}),
        (Configuration("workers"), {"ray", "noray"}),
        (Configuration("ranks"), {"noray"}),
        (Configuration("baseline"), {"ray", "noray", "variants"}),
        *((Configuration("variant", variant=name), {"variants"}) for name in VARIANTS),
        (Configuration("baseline", larger), {"batches"}),
        (Configuration("workers", larger), {"batches"}),
        (Configuration("copies", larger), {"batches"}),
    )
    trials = [configuration for configuration, users in wanted if users & set(groups)]
    return rotated(trials, number)


@dataclass(frozen=True)
class Trial:
    """A trial of the trainer."""

    configuration: Configuration
    measurement: Measurement


@dataclass(frozen=True)
class VariantTrial:
    """A trial of a variant."""

    configuration: Configuration
    round: int
    result: VariantResult
    noise: Noise


@dataclass(frozen=True)
class Host:
    """The machine that was measured.

    Attributes:
        cpu: model, as the system names it.
        cores: that work can really use.
        memory_gib: of the whole machine.
        system: kernel and its version.
    """

    cpu: str
    cores: int
    memory_gib: float
    system: str


@dataclass(frozen=True)
class Bench:
    """All that a bench measured, before any judgement.

    Attributes:
        command: that made it.
        groups: what was asked for.
        planned: clean rounds that were asked for.
        host: where it ran.
        trials: of the trainer, in the order in which they ran.
        variants: trials of the variants, likewise.
        set_aside: rounds that do not count, and why.
        seconds: that it took so far.
    """

    command: str
    groups: tuple[str, ...]
    planned: int
    host: Host
    trials: tuple[Trial, ...]
    variants: tuple[VariantTrial, ...]
    set_aside: dict[str, str]
    seconds: float

    def measured(self, configuration: Configuration) -> dict[int, Measurement]:
        """Clean trials of the trainer with this configuration, by round."""
        return {
            trial.measurement.round: trial.measurement
            for trial in self.trials
            if trial.configuration == configuration and str(trial.measurement.round) not in self.set_aside
        }

    def timed(self, configuration: Configuration) -> dict[int, float]:
        """Seconds of the training loop in each clean round, of a trial of any kind."""
        if configuration.kind != "variant":
            return {number: trial.train_seconds for number, trial in self.measured(configuration).items()}
        return {
            trial.round: trial.result.seconds
            for trial in self.variants
            if trial.configuration == configuration and str(trial.round) not in self.set_aside
        }

    @property
    def versions(self) -> dict[str, str]:
        """Of all packages that any trial named."""
        versions: dict[str, str] = {}
        for trial in self.trials:
            versions |= trial.measurement.result.versions
        for variant in self.variants:
            versions |= {name: version for name, version in variant.result.versions.items() if name != "tensorflow"}
        return versions

    def to_json(self) -> str:
        """Everything as JSON."""
        return json.dumps(asdict(self), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Bench:
        """What to_json wrote. Raises MissingResultError that names what is absent."""
        try:
            return from_dict(cls, parse_json(text))
        except BrokenResultError as error:
            raise MissingResultError(f"{error}.", see="measurements-incomplete") from error
