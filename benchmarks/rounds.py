"""Which configuration runs in which round, and what a bench leaves as data."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Literal

from benchmarks.variants.common import VariantResult
from fixtures.analysis.measurement import Measurement
from fixtures.analysis.plan import TrialSpec, rotated
from fixtures.errors import MissingResultError
from fixtures.system.noise import Noise
from trainer.reading import BrokenResultError, from_dict, parse_json

GROUPS = ("ray", "noray", "helpers", "variants", "batches", "keras", "peers")
WORKERS = 2
BATCH = 128
LARGER_BATCHES = (256, 512)
"""The first runs in odd rounds, the second in even ones."""


@dataclass(frozen=True)
class Script:
    """A training that somebody would write who has not seen this project's.

    Attributes:
        module: in benchmarks/variants.
        package: that its layers come from.
        workers: of Ray Train; 0 for one process.
    """

    module: str
    package: str
    workers: int = 0


KERAS_FIT, TF_KERAS_FIT = "Keras 3 fit", "tf-keras fit"
VARIANTS = MappingProxyType(
    {
        KERAS_FIT: Script("fit", "keras"),
        TF_KERAS_FIT: Script("fit", "tf_keras"),
        "Keras 3, step from Python": Script("step", "keras"),
        "Keras 3, tf.data pipeline": Script("pipeline", "keras"),
        "Keras 3, epoch graph": Script("whole_epoch", "keras"),
        "tf-keras, epoch graph": Script("whole_epoch", "tf_keras"),
    }
)
"""Ways to write the baseline."""

RAY_FIT, TORCH, TORCH_DDP = "2 workers, Ray Train and fit", "PyTorch", "2 workers, PyTorch DDP"
SCRIPTS = MappingProxyType(
    {
        **VARIANTS,
        RAY_FIT: Script("ray_fit", "tf_keras", WORKERS),
        TORCH: Script("torch_ddp", "torch"),
        TORCH_DDP: Script("torch_ddp", "torch", WORKERS),
    }
)
"""Every variant, and the peers that are scripts, by their name for people."""

Kind = Literal["baseline", "workers", "trimmed", "tensorflow", "copies", "ranks", "mpi", "keras", "variant"]


@dataclass(frozen=True)
class Configuration:
    """One way to train an epoch.

    Attributes:
        kind: the baseline, Ray Train's workers, those of a trimmed Ray Train, the same with TensorFlow's collective,
            copies of the baseline, ranks without Ray, the same started by MPI, the CNN as a user's file, or a script.
        batch_size: global.
        variant: name of the script; empty for the others.
        evaluate: whether the test accuracy is computed at the end.
    """

    kind: Kind
    batch_size: int = BATCH
    variant: str = ""
    evaluate: bool = False

    @property
    def name(self) -> str:
        """For people: "2 workers", "2 copies, batch 256", "Keras 3 fit"."""
        plain = {
            "baseline": "baseline",
            "workers": f"{WORKERS} workers",
            "trimmed": f"{WORKERS} workers, trimmed Ray Train",
            "tensorflow": f"{WORKERS} workers, TensorFlow's collective",
            "copies": f"{WORKERS} copies",
            "ranks": f"{WORKERS} ranks without Ray",
            "mpi": f"{WORKERS} ranks started by MPI",
            "keras": "the CNN as a user's Keras file",
            "variant": self.variant,
        }[self.kind]
        plain += "" if self.batch_size == BATCH else f", batch {self.batch_size}"
        return f"{plain}, evaluated" if self.evaluate else plain

    def spec(self, seed: int) -> TrialSpec:
        """What the trainer has to do, one epoch; not for a variant."""
        if self.kind == "copies":
            return TrialSpec("ceiling", 0, WORKERS, epochs=1, seed=seed, probe=False)
        workers = 0 if self.kind in ("baseline", "keras") else WORKERS
        return TrialSpec("accuracy" if self.evaluate else "timing", workers, 1, epochs=1, seed=seed, probe=False)


def configurations(groups: Collection[str], number: int, skipped: Collection[str] = ()) -> tuple[Configuration, ...]:
    """Every configuration of a round once, in the order of this round.

    The order is a cyclic rotation, as in the suite's rounds; what is compared with each other is close together.
    Round 0 is the peers', each tested at its end: that would count to its job clock.

    Args:
        groups: of GROUPS.
        number: of the round, from 1.
        skipped: names of configurations that cannot run here.
    """
    larger = LARGER_BATCHES[(number - 1) % len(LARGER_BATCHES)]
    wanted = (
        (Configuration("copies"), {"ray"}),
        (Configuration("workers"), {"ray", "noray", "helpers", "peers"}),
        (Configuration("trimmed"), {"helpers"}),
        (Configuration("tensorflow"), {"peers"}),
        (Configuration("mpi"), {"peers"}),
        (Configuration("ranks"), {"noray"}),
        (Configuration("keras"), {"keras"}),
        (Configuration("baseline"), {"ray", "noray", "helpers", "variants", "keras", "peers"}),
        (Configuration("variant", variant=RAY_FIT), {"peers"}),
        (Configuration("variant", variant=TF_KERAS_FIT), {"peers", "variants"}),
        (Configuration("variant", variant=KERAS_FIT), {"peers", "variants"}),
        *((Configuration("variant", variant=name), {"variants"}) for name in list(VARIANTS)[2:]),
        (Configuration("variant", variant=TORCH), {"peers"}),
        (Configuration("variant", variant=TORCH_DDP), {"peers"}),
        (Configuration("baseline", larger), {"batches"}),
        (Configuration("workers", larger), {"batches"}),
        (Configuration("copies", larger), {"batches"}),
    )
    trials = [
        configuration for configuration, users in wanted if users & set(groups) and configuration.name not in skipped
    ]
    if number == 0:
        others = ("copies", "ranks", "trimmed", "keras")
        alike = [trial for trial in trials if trial.batch_size == BATCH and trial.kind not in others]
        return tuple(replace(trial, evaluate=True) for trial in alike)
    return rotated(trials, number)


@dataclass(frozen=True)
class Trial:
    """A trial of the trainer."""

    configuration: Configuration
    measurement: Measurement


@dataclass(frozen=True)
class VariantTrial:
    """A trial of a script, with the job clock; None where an older bench kept none."""

    configuration: Configuration
    round: int
    result: VariantResult
    noise: Noise
    job_seconds: float | None = None


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
        variants: trials of the scripts, likewise.
        set_aside: rounds that do not count, and why.
        seconds: that it took so far.
        skipped: names of configurations whose packages are not installed.
    """

    command: str
    groups: tuple[str, ...]
    planned: int
    host: Host
    trials: tuple[Trial, ...]
    variants: tuple[VariantTrial, ...]
    set_aside: dict[str, str]
    seconds: float
    skipped: tuple[str, ...] = ()

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
