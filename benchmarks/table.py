"""The result of a bench as tables for a terminal."""

import io
import math
from collections.abc import Iterable, Sequence

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from benchmarks.peers import Row
from benchmarks.rounds import Bench
from benchmarks.targets import LEVEL, Fact, Finding, Outcome
from fixtures.analysis.speedup import Interval, Ratios

COLOURS = {Outcome.MET: "green", Outcome.MISSED: "red", Outcome.NOT_SHOWN: "yellow"}
WIDTH = 120


def render(
    bench: Bench, findings: Iterable[Finding], facts: Iterable[Fact], rows: Sequence[Row] = (), *, colour: bool = False
) -> str:
    """Targets, the figures beside them, the peers, rounds set aside, machine and versions."""
    console = Console(
        file=io.StringIO(),
        width=WIDTH,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
    )
    targets = Table("target", "asked", title="Speed targets", title_justify="left")
    beside = Table("also measured", title_justify="left")
    for table in (targets, beside):
        for name in ("figure", "95 % interval", "rounds"):
            table.add_column(name, justify="right")
    targets.add_column("outcome")
    for finding in findings:
        numbers = _numbers(finding.figure, finding.interval, finding.rounds, finding.unit)
        outcome = f"[{COLOURS[finding.outcome]}]{finding.outcome.value}[/]"
        targets.add_row(finding.what, finding.asked, *numbers, outcome)
    for fact in facts:
        beside.add_row(fact.what, *_numbers(fact.figure, fact.interval, fact.rounds, fact.unit))
    console.print(targets, beside)
    if rows:
        console.print(_peers(rows))
        for row in rows:
            console.print(f"{row.name}: {row.shows} Work: {row.work}", markup=False)
    for name in bench.skipped:
        console.print(f"skipped, not installed: {name}", markup=False)
    for number, why in bench.set_aside.items():
        console.print(f"round {number} set aside: {why}", markup=False)
    host = bench.host
    console.print(f"{host.cpu}, {host.cores} usable cores, {host.memory_gib:.0f} GiB; {host.system}", markup=False)
    console.print(", ".join(f"{name} {version}" for name, version in bench.versions.items()), markup=False)
    console.print(f"{bench.command}: {bench.seconds / 60:.0f} minutes, {bench.planned} rounds planned", markup=False)
    output = console.file
    return output.getvalue() if isinstance(output, io.StringIO) else ""


def _peers(rows: Iterable[Row]) -> Table:
    """In Markdown, for docs/PERFORMANCE.md."""
    table = Table(box=MARKDOWN, title="Peers: speedup over their own single process, and over the baseline")
    table.add_column("peer", no_wrap=True)
    for name in ("epoch", "over its own", "over ours", "accuracy", "the rest"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.name,
            f"{row.seconds.estimate:.2f} s",
            *(_ratio(ratios) for ratios in (row.own, row.ours)),
            "-" if row.accuracy is None else f"{row.accuracy:.4f}",
            "-" if row.around is None else f"{row.around:.1f} s",
        )
    return table


def _ratio(ratios: Ratios | None) -> str:
    if ratios is None:
        return "-"
    ends = ratios.interval(LEVEL) if ratios.rounds > 1 else None
    return f"{ratios.estimate:.2f}" + (f" ({ends.low:.2f} to {ends.high:.2f})" if ends else "")


def _numbers(figure: float | None, interval: Interval | None, rounds: int, unit: str) -> tuple[str, str, str]:
    shown = "none" if figure is None else f"{_digits(figure, unit)}{unit and ' ' + unit}"
    ends = "none"
    if interval is not None:
        ends = f"{_digits(interval.low, unit)} to {_digits(interval.high, unit)}"
    return shown, ends, str(rounds)


def _digits(value: float, unit: str) -> str:
    if not math.isfinite(value):
        return "no end"
    return f"{value:.2f}" if unit else f"{value:.3f}"
