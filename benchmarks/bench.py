"""Measures the speed targets in one interleaved run, and judges them.

    make bench
    python -m benchmarks.bench --rounds 16 --only ray,variants
    python -m benchmarks.bench --rounds 6 --only peers --chart peers.png
    python -m benchmarks.bench --report reports/bench/bench.json

Every configuration runs once in each round, in rotating order, on one embedded cluster with two workers.
The raw measurements are written after each round, so that a run that was cut off can be judged as well.
"""

import argparse
import importlib.util
import os
import platform
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

import psutil

from benchmarks import without_ray
from benchmarks.peers import compare, draw
from benchmarks.rounds import GROUPS, SCRIPTS, WORKERS, Bench, Configuration, Host, configurations
from benchmarks.session import CPUS, ROOT, Session, Trials
from benchmarks.table import render
from benchmarks.targets import all_met, facts, judge, prove
from fixtures.analysis.spread import Spread
from fixtures.clusters.contract import require_nothing_missing
from fixtures.clusters.local.provider import LocalProvider
from fixtures.errors import BenchmarkError, InfraError
from fixtures.measure.display import Display
from fixtures.measure.jobs import JobsClient
from fixtures.measure.workloads import prepared
from fixtures.settings.settings import Settings
from fixtures.system.resources import GIB, cpu_model, read_machine

OUT = ROOT / "reports" / "bench" / "bench.json"
MAX_ROUNDS = 1000
KERAS_CNN = Settings(workload=str(Path(__file__).with_name("keras_cnn.py")), data="mnist")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; exits with code 2 and one sentence when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description="Measures the speed targets.")
    parser.add_argument("--rounds", type=int, default=16, help="clean rounds (default: 16)")
    parser.add_argument("--only", default=",".join(GROUPS), metavar="GROUP[,GROUP]", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--seed", type=int, default=1, help="base seed; each round adds its number (default: 1)")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="takes the raw measurements")
    parser.add_argument("--report", type=Path, metavar="FILE", help="judge these measurements, run nothing")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="takes the chart of the peers, PNG")
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
    for name, file in (("out", options.out), ("chart", options.chart)):
        if file is not None and file.is_dir():
            parser.error(f"--{name}={str(file)!r}: expected a file, this is a folder")
    return options


def read_host() -> Host:
    """What this machine is."""
    return Host(
        cpu=cpu_model(),
        cores=read_machine(Path.cwd()).usable_cores,
        memory_gib=psutil.virtual_memory().total / GIB,
        system=f"{platform.system()} {platform.release()}",
    )


def find_missing(wanted: Iterable[Configuration], report: Callable[[str], None]) -> Iterator[str]:
    """Yield the name of what cannot run here, and report in one sentence why."""
    for configuration in wanted:
        need = "MPI's launcher" if configuration.kind == "mpi" else ""
        there = without_ray.MPIEXEC.is_file()
        if configuration.kind == "variant":
            need = SCRIPTS[configuration.variant].package
            there = importlib.util.find_spec(need) is not None
        if need and not there:
            report(f"skipped: {configuration.name} needs {need}, which is not installed; `make bench` installs it")
            yield configuration.name


def measure(options: argparse.Namespace, command: str, environ: Mapping[str, str]) -> Bench:
    """Bring the cluster up, run the rounds, take it down.

    An error ends the rounds and is shown; what was measured before it is returned.
    Raises InfraError when nothing can be measured at all.
    """
    host = read_host()
    if host.cores < WORKERS:
        raise InfraError(
            f"The bench needs {WORKERS} usable cores, this machine has {host.cores}.", "Use a larger machine."
        )
    live = sys.stdout.isatty()
    display = Display(_write, live=live)
    provider = LocalProvider(WORKERS, CPUS, environ)
    require_nothing_missing(provider.preflight())
    bench = Bench(command, options.only, options.rounds, host, (), (), {}, 0.0)
    bench = replace(bench, skipped=tuple(find_missing(configurations(options.only, 1), display.line)))
    wanted = KERAS_CNN if "keras" in options.only else Settings()
    try:
        cluster = provider.up(display.line)
        with (
            JobsClient(cluster.dashboard, cluster.token) as jobs,
            prepared(wanted, environ, display.line) as keras,
        ):
            trials = Trials(provider, cluster, jobs, display, environ, keras)
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


def show(bench: Bench, chart: Path | None, *, colour: bool) -> int:
    """Print the tables, draw the chart; 0 when all targets are met, 1 otherwise."""
    spread = Spread.load()
    try:
        prove(bench, spread)
    except BenchmarkError as error:
        print(f"Nothing can be said about speed: {error}")
        return 1
    findings = judge(bench)
    rows = compare(bench, spread) if "peers" in bench.groups else ()
    print(render(bench, findings, facts(bench), rows, colour=colour))
    if chart is not None and rows:
        draw(rows, chart)
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
    return show(bench, options.chart, colour=sys.stdout.isatty())


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends a bench as Ctrl-C does, through every teardown."""
    sys.exit(128 + number)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
