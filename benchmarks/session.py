"""The rounds of a bench: every configuration once in each, proven, and written down before the next begins."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks import without_ray
from benchmarks.rounds import SCRIPTS, Bench, Configuration, Trial, VariantTrial, configurations
from benchmarks.targets import prove
from benchmarks.variants import common
from fixtures.analysis.measurement import Measurement
from fixtures.analysis.plan import max_repeats
from fixtures.analysis.spread import Spread
from fixtures.clusters.contract import Cluster, Provider
from fixtures.errors import InfraError, MissingResultError
from fixtures.measure.display import Display
from fixtures.measure.jobs import JobsClient
from fixtures.measure.trials import CNN, TrialRunner
from fixtures.measure.workloads import Prepared
from fixtures.system.paths import IMAGE
from trainer.reading import BrokenResultError
from trainer.result import TrialResult

ROOT = Path(__file__).resolve().parents[1]
CPUS = 1
DEADLINE_SECONDS = 600.0


class Trials:
    """Runs any configuration on a cluster, and beside it.

    Args:
        provider: who runs the cluster.
        cluster: the cluster, up.
        jobs: client of its Jobs API.
        display: shows people what goes on.
        environ: the environment from which ranks without Ray get a few variables.
        keras: the CNN as a user's file, ready to be trained.
    """

    def __init__(
        self,
        provider: Provider,
        cluster: Cluster,
        jobs: JobsClient,
        display: Display,
        environ: Mapping[str, str],
        keras: Prepared = CNN,
    ) -> None:
        self._cluster, self._environ = cluster, environ
        self._keras = TrialRunner(provider, cluster, jobs, display, cpus=CPUS, collective="auto", training=keras)
        self._runner, self._trimmed, self._tensorflow = (
            TrialRunner(provider, cluster, jobs, display, cpus=CPUS, collective=collective, ray_train=ray_train)
            for collective, ray_train in (("auto", "shipped"), ("auto", "trimmed"), ("tensorflow", "shipped"))
        )

    def run(
        self, configuration: Configuration, seed: int, number: int, where: str, expected: float | None
    ) -> Trial | VariantTrial:
        """One trial. Raises InfraError or MissingResultError as TrialRunner does."""
        if configuration.kind == "variant":
            return self._variant(configuration, seed, number, where, expected)
        if configuration.kind in ("ranks", "mpi"):
            return Trial(configuration, self._ranks(configuration, seed, number, where, expected))
        others = {"tensorflow": self._tensorflow, "trimmed": self._trimmed, "keras": self._keras}
        runner = others.get(configuration.kind, self._runner)
        spec = configuration.spec(seed)
        return Trial(configuration, runner.trial(spec, configuration.batch_size, number, where, expected))

    def _ranks(
        self, configuration: Configuration, seed: int, number: int, where: str, expected: float | None
    ) -> Measurement:
        spec, began = configuration.spec(seed), time.time()

        def work(poll: Callable[[], None]) -> TrialResult:
            start = without_ray.start_by_mpi if configuration.kind == "mpi" else without_ray.start_each
            size = configuration.batch_size
            return without_ray.run(spec, size, self._environ, start, on_poll=poll, deadline_seconds=DEADLINE_SECONDS)

        result, noise = self._runner.watched(configuration.name, where, expected, work)
        return Measurement(spec, number, result, began, began, time.time(), noise)

    def _variant(
        self, configuration: Configuration, seed: int, number: int, where: str, expected: float | None
    ) -> VariantTrial:
        script = SCRIPTS[configuration.variant]
        # A job on a worker node, as the baseline is: the same core, environment and priority. With workers it only
        # waits for them, as the driver of the workers does.
        command = ["env", f"PYTHONPATH={os.pathsep.join(map(str, (ROOT, IMAGE)))}", self._cluster.python]
        command += ["-m", f"benchmarks.variants.{script.module}", "--keras", script.package, "--threads", str(CPUS)]
        command += ["--batch-size", str(configuration.batch_size), "--seed", str(seed), "--data", self._cluster.data]
        command += ["--workers", str(script.workers), *(["--evaluate"] if configuration.evaluate else [])]
        cpus = 0 if script.workers else CPUS
        job, noise = self._runner.job(
            configuration.name, command, where, expected, DEADLINE_SECONDS, cpus=cpus, marker=common.MARKER
        )
        try:
            result = common.decode(job.log)
            return VariantTrial(configuration, number, result, noise, job.ended_at - job.submitted_at)
        except BrokenResultError as error:
            raise MissingResultError(f"{configuration.name}: {error}.", see="result-incomplete") from error


class Session:
    """The rounds of one bench.

    Attributes:
        bench: what was measured so far.

    Args:
        bench: without measurements; says what is wanted.
        trials: runs them.
        display: shows people what goes on.
        out: file that takes the measurements after each round.
        seed: base seed.
    """

    def __init__(self, bench: Bench, trials: Trials, display: Display, out: Path, seed: int) -> None:
        self.bench = bench
        self._trials, self._display, self._out, self._seed = trials, display, out, seed
        self._spread = Spread.load()
        self._took: dict[str, list[float]] = {}
        self._began = time.monotonic()

    def run(self) -> None:
        """Round after round; one that was disturbed is repeated, a third of those planned at most.

        The peers' round 0 comes first; what it measures, accuracy, needs no quiet machine.

        Raises:
            UnequalWorkError: a trial did other work than its round's baseline.
            MissingResultError: a trial handed over too little.
            InfraError: two rounds in a row were lost.
        """
        done = lost = 0
        number = -1 if "peers" in self.bench.groups else 0
        repeats = max_repeats(self.bench.planned)
        while done < self.bench.planned:
            number += 1
            try:
                why = self._round(number, done)
                lost = 0
            except InfraError as error:
                why, lost = str(error), lost + 1
            except BaseException as error:
                self._set_aside(number, f"it was cut off by {error or type(error).__name__}")
                raise
            if why:
                self._set_aside(number, why)
            else:
                self._save()
                place = f"round {done + 1}/{self.bench.planned}" if number else "accuracy"
                self._display.line(f"{place}: {self._seconds(number)}")
            if lost > 1:
                raise InfraError(f"Two rounds in a row were lost. {why}", "Run again when the machine is quiet.")
            if number == 0:
                continue
            if why and repeats:
                repeats -= 1
            else:
                done += 1

    def _set_aside(self, number: int, why: str) -> None:
        self.bench = replace(self.bench, set_aside={**self.bench.set_aside, str(number): why})
        self._display.line(f"round {number} is set aside: {why}")
        self._save()

    def _round(self, number: int, done: int) -> str:
        """Measure and prove a round; why it is to be set aside, empty when it is not."""
        planned, wanted = self.bench.planned, self._wanted(number)
        ended: list[Trial | VariantTrial] = []
        try:
            for position, configuration in enumerate(wanted):
                ahead = (*wanted[position:], *wanted * (planned - done - 1))
                where = f"{f'round {done + 1}/{planned}' if number else 'accuracy'}, {position + 1}/{len(wanted)}"
                began = time.monotonic()
                trial = self._trials.run(configuration, self._seed + number, number, where, self._expected(ahead))
                self._took.setdefault(configuration.name, []).append(time.monotonic() - began)
                ended.append(trial)
        finally:
            new = replace(
                self.bench,
                trials=tuple(trial for trial in ended if isinstance(trial, Trial)),
                variants=tuple(trial for trial in ended if isinstance(trial, VariantTrial)),
            )
            self.bench = replace(
                self.bench,
                trials=(*self.bench.trials, *new.trials),
                variants=(*self.bench.variants, *new.variants),
                seconds=time.monotonic() - self._began,
            )
        prove(new, self._spread)
        if number == 0:
            return ""
        noises = [(trial.configuration, trial.measurement.noise) for trial in new.trials]
        noises += [(trial.configuration, trial.noise) for trial in new.variants]
        return "; ".join(sorted({f"{configuration.name}: {noise.why}" for configuration, noise in noises if noise.why}))

    def _wanted(self, number: int) -> tuple[Configuration, ...]:
        return configurations(self.bench.groups, number, self.bench.skipped)

    def _seconds(self, number: int) -> str:
        """What a round measured, on one line."""
        return ", ".join(
            f"{trained.name} {self.bench.timed(trained)[number]:.2f} s" for trained in self._wanted(number)
        )

    def _expected(self, ahead: Sequence[Configuration]) -> float | None:
        """Seconds that these will take, by the medians so far; None when nothing ended yet."""
        if not self._took:
            return None
        usual = median(seconds for times in self._took.values() for seconds in times)
        return sum(median(self._took.get(configuration.name, [usual])) for configuration in ahead)

    def _save(self) -> None:
        """Beside first, then renamed: a bench that is killed leaves a whole file."""
        self._out.parent.mkdir(parents=True, exist_ok=True)
        beside = self._out.with_name(f".{self._out.name}.{os.getpid()}")
        beside.write_text(self.bench.to_json(), encoding="utf-8")
        beside.replace(self._out)
