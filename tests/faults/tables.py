"""The tables of docs/FAULTS.md, from what the campaign has seen."""

from collections.abc import Sequence

from fixtures.report.tables import escape_cell
from tests.faults.fault import Fault
from tests.faults.record import Seen, read_rows


def tabulate_faults(where: str, faults: Sequence[Fault]) -> str:
    """Return what was seen of the faults of one place, in their order, and which of them nobody has run."""
    rows = read_rows(where)
    known = [(fault, rows[fault.name]) for fault in faults if fault.name in rows]
    right = sum(fault.is_right(seen) for fault, seen in known)
    text = f"{len(known)} of {len(faults)} faults were run; {right} went as they should.\n"
    if known:
        text += "\n| fault | right | verdict | exit code | the run said | seconds | left | seen |\n"
        text += "|---|---|---|---|---|---|---|---|\n" + "".join(_format_row(*row) for row in known)
    missing = [fault.name for fault in faults if fault.name not in rows]
    return text + (f"\nNot run yet: {'; '.join(missing)}.\n" if missing else "")


def _format_row(fault: Fault, seen: Seen) -> str:
    seconds = "-" if seen.seconds is None else f"{seen.seconds:.0f}"
    cells = (
        *(seen.fault, "yes" if fault.is_right(seen) else "NO", seen.verdict, str(seen.code), seen.said),
        *(f"{seconds} ({seen.more})" if seen.more else seconds, ", ".join(seen.left) or "nothing", seen.when),
    )
    return f"| {' | '.join(map(escape_cell, cells))} |\n"


def tabulate_kills() -> str:
    """Return how many kills there were of each kind, and what they left."""
    kills = list(read_rows("kill").values())
    text = f"{len(kills)} kills; {sum(bool(kill.left) for kill in kills)} left something.\n"
    if kills:
        text += "\n| kill | kills | left |\n|---|---|---|\n"
    for said in sorted({kill.said for kill in kills}):
        alike = [kill for kill in kills if kill.said == said]
        left = ", ".join(name for kill in alike for name in kill.left)
        text += f"| {said} | {len(alike)} | {left or 'nothing'} |\n"
    return text
