"""Measures the speed targets in one interleaved run, and judges them.

    make bench
    python -m benchmarks.bench --rounds 16 --only ray,variants
    python -m benchmarks.bench --report reports/bench/bench.json

Every configuration runs once in each round, in rotating order, on one embedded cluster with two workers.
The raw measurements are written after each round, so that a run that was cut off can be judged as well.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import FrameType

import psutil

from benchmarks import without_ray
from benchmarks.rounds import (
    GROUPS,
    VARIANTS,
    WORKERS,
    Bench,
    Configuration,
    Host,
    Trial,
    VariantTrial,
    configurations,
)
from benchmarks.table import render
from benchmarks.targets import all_met, facts, judge, prove
from benchmarks.variants import common
from fixtures.cluster import Cluster, Provider
from fixtures.display import Display
from fixtures.errors import BenchmarkError, Infra, MissingFigure
from fixtures.experiment import TrialRunner
from fixtures.jobs import JobsClient
from fixtures.local import IMAGE, LocalProvider
from fixtures.measurement import Measurement
from fixtures.noise import Watch
from fixtures.plan import max_repeats
from fixtures.resources import GIB, read_machine
from fixtures.work import Spread
from trainer.result import BrokenResult

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "reports" / "bench" / "bench.json"
CPUS = 1
DEADLINE_SECONDS = 600.0
MAX_ROUNDS = 1000


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; exits with code 2 and one sentence when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description="Measures the speed targets.")
    parser.add_argument("--rounds", type=int, default=16, help="clean rounds (default: 16)")
    parser.add_argument("--only", default=",".join(GROUPS), metavar="GROUP[,GROUP]", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--seed", type=int, default=1, help="base seed; each round adds its number (default: 1)")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="takes the raw measurements")
    parser.add_argument("--report", type=Path, metavar="FILE", help="judge these measurements, run nothing")
    options = parser.parse_args(arguments)
    options.only = tuple(options.only.split(","))
    if not set(options.only) <= set(GROUPS) or len(set(options.only)) != len(options.only):
        parser.error(f"--only={','.join(options.only)!r}: expected some of {','.join(GROUPS)}, each once")
    if not 1 <= options.rounds <= MAX_ROUNDS:
        parser.error(f"--rounds={options.rounds}: expected a whole number from 1 to {MAX_ROUNDS:,}")
    if not 0 <= options.seed <= 10**9:
        parser.error(f"--seed={options.seed}: expected a whole number from 0 to 1,000,000,000")
    if options.report is not None and not options.report.is_file():
        parser.error(f"--report={str(options.report)!r}: expected a file that a bench wrote")
    if options.out.is_dir():
        parser.error(f"--out={str(options.out)!r}: expected a file, this is a folder")
    return options


class Trials:
    """Runs any configuration on a cluster, and beside it.

    Args:
        provider: who runs the cluster.
        cluster: the cluster, up.
        jobs: client of its Jobs API.
        display: shows people what goes on.
        environ: the environment from which ranks without Ray get a few variables.
    """

    def __init__(
        self, provider: Provider, cluster: Cluster, jobs: JobsClient, display: Display, environ: Mapping[str, str]
    ) -> None:
        self._provider, self._cluster, self._display, self._environ = provider, cluster, display, environ
        self._runner = TrialRunner(provider, cluster, jobs, display, cpus=CPUS, collective="auto")

    def run(
        self, configuration: Configuration, seed: int, number: int, where: str, expected: float | None
    ) -> Trial | VariantTrial:
        """One trial. Raises Infra or MissingFigure as TrialRunner does."""
        if configuration.kind == "variant":
            return self._variant(configuration, seed, number, where, expected)
        if configuration.kind == "ranks":
            return Trial(configuration, self._ranks(configuration, seed, number, where, expected))
        spec = configuration.spec(seed)
        return Trial(configuration, self._runner.trial(spec, configuration.batch_size, number, where, expected))

    def _ranks(
        self, configuration: Configuration, seed: int, number: int, where: str, expected: float | None
    ) -> Measurement:
        spec, began = configuration.spec(seed), time.time()
        self._display.begin(where, configuration.name, expected)
        watch = Watch(self._provider.processes)

        def poll() -> None:
            self._display.tick()
            watch.look()

        result = without_ray.run(
            spec, configuration.batch_size, self._environ, on_poll=poll, deadline_seconds=DEADLINE_SECONDS
        )
        noise = watch.end()
        self._display.end()
        return Measurement(spec, number, result, began, began, time.time(), noise)

    def _variant(
        self, configuration: Configuration, seed: int, number: int, where: str, expected: float | None
    ) -> VariantTrial:
        module, keras = VARIANTS[configuration.variant]
        # A job on a worker node, as the baseline is: the same core, environment and priority.
        command = ["env", f"PYTHONPATH={os.pathsep.join(map(str, (ROOT, IMAGE)))}", self._cluster.python]
        command += ["-m", f"benchmarks.variants.{module}", "--keras", keras, "--threads", str(CPUS)]
        command += ["--batch-size", str(configuration.batch_size), "--seed", str(seed), "--data", self._cluster.data]
        job, noise = self._runner.job(
            configuration.name, command, where, expected, DEADLINE_SECONDS, cpus=CPUS, marker=common.MARKER
        )
        try:
            return VariantTrial(configuration, number, common.decode(job.log), noise)
        except BrokenResult as error:
            raise MissingFigure(f"{configuration.name}: {error}.") from error


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

        Raises:
            UnequalWork: a trial did other work than its round's baseline.
            MissingFigure: a trial handed over too little.
            Infra: two rounds in a row were lost.
        """
        number = done = lost = 0
        repeats = max_repeats(self.bench.planned)
        while done < self.bench.planned:
            number += 1
            try:
                why = self._round(number, done)
                lost = 0
            except Infra as error:
                why, lost = str(error), lost + 1
            except BaseException as error:
                self._set_aside(number, f"it was cut off: {error}")
                raise
            if why:
                self._set_aside(number, why)
            else:
                self._save()
                self._display.line(f"round {done + 1}/{self.bench.planned}: {self._seconds(number)}")
            if lost > 1:
                raise Infra(f"Two rounds in a row were lost. {why}")
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
        planned, wanted = self.bench.planned, configurations(self.bench.groups, number)
        ended: list[Trial | VariantTrial] = []
        try:
            for position, configuration in enumerate(wanted):
                ahead = (*wanted[position:], *wanted * (planned - done - 1))
                where = f"round {done + 1}/{planned}, {position + 1}/{len(wanted)}"
                began = time.monotonic()
                trial = self._trials.run(configuration, self._seed + number, number, where, self._expected(ahead))
                self._took.setdefault(configuration.name, []).append(time.monotonic() - began)
                ended.append(trial)
        finally:
            new = replace(
                self.bench,
                trials=tuple(each for each in ended if isinstance(each, Trial)),
                variants=tuple(each for each in ended if isinstance(each, VariantTrial)),
            )
            self.bench = replace(
                self.bench,
                trials=(*self.bench.trials, *new.trials),
                variants=(*self.bench.variants, *new.variants),
                seconds=time.monotonic() - self._began,
            )
        prove(new, self._spread)
        noises = [(each.configuration, each.measurement.noise) for each in new.trials]
        noises += [(each.configuration, each.noise) for each in new.variants]
        return "; ".join(sorted({f"{configuration.name}: {noise.why}" for configuration, noise in noises if noise.why}))

    def _seconds(self, number: int) -> str:
        """What a round measured, on one line."""
        wanted = configurations(self.bench.groups, number)
        return ", ".join(f"{each.name} {self.bench.timed(each)[number]:.2f} s" for each in wanted)

    def _expected(self, ahead: Sequence[Configuration]) -> float | None:
        """Seconds that these will take, by the medians so far; None when nothing ended yet."""
        if not self._took:
            return None
        usual = median(seconds for each in self._took.values() for seconds in each)
        return sum(median(self._took.get(each.name, [usual])) for each in ahead)

    def _save(self) -> None:
        """Beside first, then renamed: a bench that is killed leaves a whole file."""
        self._out.parent.mkdir(parents=True, exist_ok=True)
        beside = self._out.with_name(f".{self._out.name}.{os.getpid()}")
        beside.write_text(self.bench.to_json(), encoding="utf-8")
        beside.replace(self._out)


def read_host() -> Host:
    """What this machine is."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return Host(
        cpu=models[0] if models else platform.processor() or platform.machine(),
        cores=read_machine(Path.cwd()).usable_cores,
        memory_gib=psutil.virtual_memory().total / GIB,
        system=f"{platform.system()} {platform.release()}",
    )


def measure(options: argparse.Namespace, command: str, environ: Mapping[str, str]) -> Bench:
    """Bring the cluster up, run the rounds, take it down.

    An error ends the rounds and is shown; what was measured before it is returned.
    Raises Infra when nothing can be measured at all.
    """
    host = read_host()
    if host.cores < WORKERS:
        raise Infra(f"The bench needs {WORKERS} usable cores, this machine has {host.cores}.")
    live = sys.stdout.isatty()
    display = Display(_write, live=live)
    provider = LocalProvider(WORKERS, CPUS, environ)
    if problems := provider.preflight():
        raise Infra(" ".join(each.what for each in problems), " ".join(each.remedy for each in problems))
    bench = Bench(command, options.only, options.rounds, host, (), (), {}, 0.0)
    try:
        cluster = provider.up(display.line)
        with JobsClient(cluster.dashboard, cluster.token) as jobs:
            trials = Trials(provider, cluster, jobs, display, environ)
            session = Session(bench, trials, display, options.out, options.seed)
            try:
                session.run()
            except BenchmarkError as error:
                display.line(f"the bench ends: {error}")
                provider.collect_evidence(options.out.parent / "evidence")
            except KeyboardInterrupt:
                display.line("interrupted; what is whole is judged")
            return session.bench
    finally:
        provider.down()


def show(bench: Bench, *, colour: bool) -> int:
    """Print the tables; 0 when all targets are met, 1 otherwise."""
    try:
        prove(bench, Spread.load())
    except BenchmarkError as error:
        print(f"Nothing can be said about speed: {error}")
        return 1
    findings = judge(bench)
    print(render(bench, findings, facts(bench), colour=colour))
    return 0 if all_met(findings) else 1


def main(arguments: Sequence[str]) -> int:
    """Measure, or read what was measured; then judge."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        if options.report is not None:
            bench = Bench.from_json(options.report.read_text(encoding="utf-8"))
        else:
            command = shlex.join(["python", "-m", "benchmarks.bench", *arguments])
            bench = measure(options, command, os.environ)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    return show(bench, colour=sys.stdout.isatty())


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends a bench as Ctrl-C does, through every teardown."""
    sys.exit(128 + number)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
