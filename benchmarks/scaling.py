"""How long the parts of an update take: the source of scaling.json (see fixtures/analysis/scaling.py).

python benchmarks/scaling.py                         measures for a minute and rewrites the file
python benchmarks/scaling.py --results RUN           also takes the jobs' overhead from a run's measurements.json

Without --results the overhead that the file holds already is kept. Nothing else should run meanwhile.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "image")]

import numpy as np  # noqa: E402 - after the paths

from fixtures.analysis.links import AllReduce, Link, LinkPoint, SharedMemory  # noqa: E402
from fixtures.analysis.measurement import Run  # noqa: E402
from fixtures.analysis.scaling import RECORDED, Compute, ComputePoint, Overhead  # noqa: E402
from fixtures.system.ports import free_addresses  # noqa: E402
from fixtures.system.resources import cpu_model  # noqa: E402
from trainer.memory import FEW_RANKS, shared  # noqa: E402
from trainer.ring import Ring  # noqa: E402
from trainer.workloads.facts import CNN_MNIST  # noqa: E402

CORES = sorted(os.sched_getaffinity(0))
REPEATS = 5
TRAINED = (  # (global batch, share, whether the gradient leaves the graph)
    *((128, share, calls) for share in (2, 8, 32, 64) for calls in (False, True)),
    *((128, share, False) for share in (4, 16, 128)),
    *((256, 256, False), (512, 512, False), (512, 64, False), (512, 8, False)),
)
TRAINED_SECONDS = 0.5
"""Of one repeat: long beside the clock, short beside the machine's moods."""
REDUCED = {64: 400, 1_024: 400, 16_384: 400, 131_072: 200, 524_288: 100, 900_136: 100, 2_097_152: 40, 8_388_608: 15}
"""Calls by bytes of the vector; 900,136 is the gradient, and 64 leave no rank of up to 16 without a part."""
FITTED_BYTES = 2**20
"""Larger vectors leave the caches and take two to four times as long per byte; the gradient does not."""
WARM_UP = 5
SECONDS = 60.0
"""For one set of ranks; each takes a few."""


def compute_points() -> list[ComputePoint]:
    """Seconds of an update of the real training loop, one thread on one core, by batch and share."""
    os.sched_setaffinity(0, CORES[:1])
    from trainer import data, training  # noqa: PLC0415 - seconds of TensorFlow
    from trainer.collective import Alone, OwnCollective  # noqa: PLC0415
    from trainer.loop import Loop  # noqa: PLC0415
    from trainer.work import Work  # noqa: PLC0415
    from trainer.workloads.cnn import Cnn  # noqa: PLC0415

    training.configure_threads(1)
    mnist = data.load(ROOT / "image" / "data" / "mnist.npz")
    points = []
    for batch, share, calls in TRAINED:
        work = Work(1, 1, batch, 1, data="", collective="ring", probe=False, evaluate=False)
        # A ring of one: only the call.
        collective = OwnCollective(Ring(0, free_addresses(1)), None) if calls else Alone()
        loop = Loop(Cnn(work.seed), mnist, work, slice(0, share), collective)
        loop.build()
        seconds = median(update_seconds(loop) for _ in range(REPEATS))
        collective.close()
        points.append(ComputePoint(batch, share, calls, seconds))
        print(points[-1], file=sys.stderr)
    os.sched_setaffinity(0, CORES)
    return points


def update_seconds(loop: Any) -> float:
    """Mean over as many updates as fill TRAINED_SECONDS, at least 4 and at most an epoch."""
    batches = loop.batches(0)
    began = time.perf_counter()
    loop.run(batches[:4])[0].numpy()
    updates = int(TRAINED_SECONDS / (time.perf_counter() - began) * 4)
    updates = min(max(4, updates), len(batches))
    began = time.perf_counter()
    loop.run(batches[:updates])[0].numpy()  # the losses: waits for the last update
    return (time.perf_counter() - began) / updates


def link_points(places: Sequence[tuple[str, Sequence[str]]], by: str = "ring") -> list[LinkPoint]:
    """Seconds of an all-reduce by bytes, between processes.

    Args:
        places: of each rank its address and the command that takes a process to it, such as `ip netns exec`.
        by: "ring" or "memory".
    """
    command = [sys.executable, str(Path(__file__)), "--addresses", ",".join(address for address, _ in places)]
    command += ["--by", by]
    started: list[subprocess.Popen[str]] = []
    try:
        for rank, (_, prefix) in enumerate(places):
            own = [*prefix, *command, "--rank", str(rank)]
            started.append(subprocess.Popen(own, stdout=subprocess.PIPE, text=True))
        handed = [json.loads(process.communicate(timeout=SECONDS)[0]) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    slowest = [max(times) for times in zip(*handed, strict=True)]
    points = [LinkPoint(len(places), size, seconds) for size, seconds in zip(REDUCED, slowest, strict=True)]
    print(*points, sep="\n", file=sys.stderr)
    return points


def reduce_as(rank: int, addresses: tuple[str, ...], by: str) -> list[float]:
    """Median seconds of an all-reduce for each size; runs in a process of its own for each rank."""
    os.sched_setaffinity(0, {CORES[rank % len(CORES)]})
    ring = Ring(rank, addresses)
    adding = shared(ring, max(REDUCED)) if by == "memory" else ring
    if adding is None:
        sys.exit("these ranks share no memory")
    medians = []
    for size, calls in REDUCED.items():
        vector = np.ones(size // 4, np.float32)
        times = []
        for _ in range(WARM_UP + calls):
            began = time.perf_counter()
            adding.all_reduce(vector)
            times.append(time.perf_counter() - began)
        medians.append(median(times[WARM_UP:]))
    ring.barrier()
    ring.close()
    return medians


def one_host(kind: type[AllReduce], by: str) -> dict[str, Any]:
    """Ranks of this host."""
    counts = range(2, FEW_RANKS + 1)
    points = [point for n in counts for point in link_points([(address, ()) for address in free_addresses(n)], by)]
    return fitted_link(kind, points)


def veth() -> dict[str, Any]:
    """Two ranks in two network namespaces that a veth pair joins; why not, where they cannot be made."""
    try:
        with namespaces() as names:
            places = [(f"10.0.0.{end}:7000", ("ip", "netns", "exec", name)) for end, name in enumerate(names, 1)]
            points = link_points(places)
    except (OSError, subprocess.SubprocessError) as error:
        return {"skipped": f"no network namespaces: {error}"}
    return fitted_link(Link, points)


@contextmanager
def namespaces() -> Iterator[tuple[str, str]]:
    """Two network namespaces with 10.0.0.1 and 10.0.0.2, removed at the end; needs root and iproute2."""
    one, two = names = (f"scaling-{os.getpid()}-1", f"scaling-{os.getpid()}-2")
    with ExitStack() as removed:
        for name in names:
            ip("netns", "add", name)
            removed.callback(ip, "netns", "delete", name)
        ip("link", "add", "pair", "netns", one, "type", "veth", "peer", "name", "pair", "netns", two)
        for end, name in enumerate(names, 1):
            ip("-netns", name, "address", "add", f"10.0.0.{end}/24", "dev", "pair")
            ip("-netns", name, "link", "set", "pair", "up")
        yield names


def ip(*arguments: str) -> None:
    """One command of iproute2."""
    subprocess.run(["ip", *arguments], check=True, timeout=10)  # noqa: S607 - where it lies differs by distribution


def fitted_link(kind: type[AllReduce], points: Sequence[LinkPoint]) -> dict[str, Any]:
    """The fit beside all points; ranks that share a core, and vectors beyond the caches, are shown and not fitted."""
    fit = kind.fit([p for p in points if p.ranks <= len(CORES) and p.bytes <= FITTED_BYTES])
    return {"fit": asdict(fit), "fitted": {"ranks": len(CORES), "bytes": FITTED_BYTES}, **beside(fit, points)}


def beside(fit: Compute | AllReduce, points: Sequence[Any]) -> dict[str, Any]:
    """Every point with its residual: modelled over measured, less 1."""
    residuals = fit.residuals(points)
    return {"points": [{**asdict(p), "residual": round(r, 4)} for p, r in zip(points, residuals, strict=True)]}


def overhead(results: Path | None) -> dict[str, Any] | None:
    """The overhead of a run's jobs, by worker count: the median of its timing trials; else what was recorded."""
    if results is None:
        kept: dict[str, Any] | None = json.loads(RECORDED.read_text())["overhead"] if RECORDED.exists() else None
        return kept
    run = Run.from_json(results.read_text())
    seconds = {
        count: median(trial.overhead_seconds for trial in run.rounds(count).values())
        for count in (0, *run.counts)
        if run.rounds(count)
    }
    settings = [text for text in run.settings.recorded() if not text.startswith("reports=")]  # somebody's path
    return {"fit": asdict(Overhead.fit(seconds)), "seconds_by_workers": seconds, "settings": settings}


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    versions = {dist.metadata["Name"].lower().replace("_", "-"): dist.version for dist in metadata.distributions()}
    return {
        "cpu": cpu_model(),
        "cores": len(CORES),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {name: versions[name] for name in ("numpy", "tensorflow-cpu", "tensorflow") if name in versions}
        | {"python": platform.python_version()},
    }


def main() -> None:
    """Measure, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="measurements.json of a run with timing rounds")
    parser.add_argument("--output", type=Path, default=RECORDED)
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--addresses", help=argparse.SUPPRESS)
    parser.add_argument("--by", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank is not None:
        json.dump(reduce_as(options.rank, tuple(options.addresses.split(",")), options.by), sys.stdout)
        return
    facts, jobs = machine(), overhead(options.results)
    links = {"memory": one_host(SharedMemory, "memory"), "loopback": one_host(Link, "ring"), "veth": veth()}
    points = compute_points()
    fit = Compute.fit(points)
    recorded = {
        "command": "python benchmarks/scaling.py",
        "machine": facts,
        "gradient_bytes": sum(CNN_MNIST.sizes) * 4,
        "compute": {"fit": asdict(fit), **beside(fit, points)},
        "links": links,
        "overhead": jobs,
    }
    options.output.write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
