"""How others train the same network on two workers, beside this project: a pure function of a bench, and its chart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.rounds import KERAS_FIT, RAY_FIT, TF_KERAS_FIT, TORCH, TORCH_DDP, Bench, Configuration
from benchmarks.targets import LEVEL, fastest, prove_variant, ratio
from fixtures.analysis.speedup import Ratios
from fixtures.analysis.spread import Spread
from fixtures.errors import UnequalWorkError

BASELINE = Configuration("baseline")
OWN, OURS = "#9467bd", "#1f77b4"
AXIS = 2.5
"""Speedup at which the chart's axis ends, unless a peer is faster."""


@dataclass(frozen=True)
class Peer:
    """A way to train.

    Attributes:
        configuration: of its timed trials.
        alone: the same with one process, which it is compared with first; None for what has one itself.
        shows: one sentence.
    """

    configuration: Configuration
    alone: Configuration | None
    shows: str


@dataclass(frozen=True)
class Row:
    """What a bench measured of a peer; None for what it did not.

    Attributes:
        seconds: of its training loop.
        own: speedup over its own single process.
        ours: speedup over this project's baseline.
        accuracy: on the test images, of the trial that was evaluated.
        around: mean seconds of the rest of its job, beside the training loop.
        work: what the proof of equal work says.
        shows: one sentence.
    """

    name: str
    seconds: Ratios
    own: Ratios | None
    ours: Ratios | None
    accuracy: float | None
    around: float | None
    work: str
    shows: str


def script(name: str) -> Configuration:
    """Return the configuration of a script of this name."""
    return Configuration("variant", variant=name)


PEERS = (
    Peer(Configuration("workers"), BASELINE, "This project's loop under Ray Train, sums in shared memory."),
    Peer(Configuration("tensorflow"), BASELINE, "The same loop with TensorFlow's collective: what its sums cost."),
    Peer(Configuration("mpi"), BASELINE, "The same ranks started by MPI, no Ray: the least that a launcher costs."),
    Peer(script(RAY_FIT), script(TF_KERAS_FIT), "Ray's documentation's way: 128 images a worker, not in all."),
    Peer(script(TORCH_DDP), script(TORCH), "The trainer that most people use, with gloo and the same CNN."),
    Peer(BASELINE, None, "This project's single process, the 1.00 of the others."),
    Peer(script(TORCH), None, "One process of PyTorch: what its DDP is compared with."),
    Peer(script(KERAS_FIT), None, "One process as every tutorial has it."),
)


def compare(bench: Bench, spread: Spread) -> tuple[Row, ...]:
    """Return a row for each peer that was measured, and for the fastest variant."""
    peers: tuple[Peer, ...] = PEERS
    if (name := fastest(bench)) and name != KERAS_FIT:
        peers = (*PEERS, Peer(script(name), None, "The fastest variant of one process."))
    rows = []
    for peer in peers:
        if seconds := tuple(bench.timed(peer.configuration).values()):
            rows.append(
                Row(
                    name=peer.configuration.name,
                    seconds=Ratios(1, seconds),
                    own=ratio(bench, peer.alone, peer.configuration) if peer.alone else None,
                    ours=ratio(bench, BASELINE, peer.configuration),
                    accuracy=_accuracy(bench, replace(peer.configuration, evaluate=True)),
                    around=_around(bench, peer.configuration),
                    work=_work(bench, peer.configuration, spread),
                    shows=peer.shows,
                )
            )
    return tuple(rows)


def draw(rows: Sequence[Row], file: Path) -> None:
    """Draw both speedups of every peer that trains on two workers; an interval beyond the axis ends in an arrow."""
    shown = [row for row in reversed(rows) if row.own]
    both = [ratios for row in shown for ratios in (row.own, row.ours) if ratios]
    right = max([AXIS, *(1.2 * ratios.estimate for ratios in both)])
    with mpl.rc_context():
        mpl.rcdefaults()
        figure = Figure(figsize=(8, 1.2 + 0.62 * len(shown)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for offset, colour, label in ((0.13, OWN, "over its own single process"), (-0.13, OURS, "over our baseline")):
            for place, row in enumerate(shown):
                ratios = row.own if colour == OWN else row.ours
                if ratios is None:
                    continue
                height = place + offset
                ends = ratios.interval(LEVEL) if ratios.rounds > 1 else None
                if ends:
                    axes.hlines(height, ends.low, min(ends.high, right), color=colour, lw=2)
                    if ends.high > right:
                        axes.plot(right, height, ">", color=colour, clip_on=False)
                axes.plot(ratios.estimate, height, "o", color=colour, label="" if place else label)
                side = "bottom" if offset > 0 else "top"
                at = (ratios.estimate, height + offset / 2)
                axes.text(*at, f"{ratios.estimate:.2f}", color=colour, ha="center", va=side, fontsize=8)
        axes.axvline(1, color="#888", lw=1)
        axes.set_yticks(range(len(shown)), [row.name for row in shown])
        axes.set_xlim(0, right)
        axes.set_xlabel("speedup of an epoch, S(2), with its 95 % interval")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        axes.spines[["top", "right"]].set_visible(False)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=144, metadata={"Software": None})


def _accuracy(bench: Bench, evaluated: Configuration) -> float | None:
    measured = [trial.measurement.result.accuracy for trial in bench.trials if trial.configuration == evaluated]
    measured += [trial.result.accuracy for trial in bench.variants if trial.configuration == evaluated]
    return measured[-1] if measured else None


def _around(bench: Bench, configuration: Configuration) -> float | None:
    seconds = [trial.overhead_seconds for trial in bench.measured(configuration).values()]
    for trial in bench.variants:
        if trial.configuration == configuration and trial.job_seconds and str(trial.round) not in bench.set_aside:
            seconds.append(trial.job_seconds - trial.result.seconds)
    return fmean(seconds) if seconds else None


def _work(bench: Bench, configuration: Configuration, spread: Spread) -> str:
    """What the proof says; this project's own trials are proven before anything is compared."""
    baselines = bench.measured(BASELINE)
    for trial in bench.variants:
        if trial.configuration == configuration and trial.round in baselines:
            try:
                prove_variant(trial, baselines[trial.round], spread)
            except UnequalWorkError as error:
                return f"UNEQUAL: {error.cause.partition(': ')[2]}"
    return "as much as the baseline's" if configuration.kind == "variant" else "the baseline's"
