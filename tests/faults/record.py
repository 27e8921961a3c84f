"""What the campaign has seen: a line of JSON for each fault and each kill, and the tables of docs/FAULTS.md."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from fixtures.report.tables import escape_cell
from fixtures.settings.settings import CLUSTERS
from tests.faults.suite_run import ELSEWHERE, ROOT, Setting

FILE = ROOT / "docs" / "faults.jsonl"
LONGEST_MESSAGE = 400


@dataclass(frozen=True)
class Seen:
    """What a run did about a fault.

    Attributes:
        where: the value of --cluster, or "kill".
        said: cause and remedy, as the run printed them; empty when it did not.
        seconds: from the fault, or from the beginning for one that was there before, until it said so; None when
            it did not.
        left: what was still there 30 s after the end.
        evident: whether the evidence begins with the cause.
        more: why it took longer than 60 s.
    """

    where: str
    fault: str
    verdict: str
    code: int
    said: str
    seconds: float | None
    left: Sequence[str]
    evident: bool = True
    more: str = ""


def read_commit() -> str:
    """Return the commit of this checkout, with a plus when what is measured was changed since."""
    commands = ("git", "rev-parse", "--short", "HEAD"), ("git", "status", "--porcelain", "fixtures", "image")
    commit, changed = (
        subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True).stdout.strip()
        for command in commands
    )
    return f"{commit}+" if changed else commit


def read_verdict(setting: Setting) -> str:
    """Return the verdict of a run's reports; "none" where it has left none."""
    for folder in (setting.reports, *setting.temporary.glob(f"{ELSEWHERE}*")):
        if (folder / "summary.md").is_file():
            summary = (folder / "summary.md").read_text(encoding="utf-8")
            return next(line.removeprefix("## ") for line in summary.splitlines() if line.startswith("## "))
    return "none"


def shorten(message: str, setting: Setting) -> str:
    """Return a message without the paths of this machine, and without what stands in front of it."""
    message = re.sub(r"^(\[\d+:\d\d\] |E +|ERROR: |!+ |_pytest\S+ )+| !+$", "", message.strip())
    folders = {
        setting.checkout: ".",
        setting.folder: "..",
        setting.temporary: "$TMPDIR",
        ROOT: ".",
        sys.prefix: ".venv",
    }
    for folder, name in folders.items():
        message = message.replace(str(folder), name)
    return message if len(message) <= LONGEST_MESSAGE else f"{message[:LONGEST_MESSAGE].rpartition('. ')[0]}. ..."


def read_rows(where: str) -> dict[str, dict[str, Any]]:
    """Return the last row of each fault of one place."""
    lines = FILE.read_text(encoding="utf-8").splitlines() if FILE.exists() else []
    rows = [json.loads(line) for line in lines]
    return {row["fault"]: row for row in rows if row["where"] == where}


def keep(seen: Seen, *, right: bool) -> None:
    """Put a row in the place of an earlier one of the same fault."""
    row = {**asdict(seen), "right": right, "day": f"{datetime.now(UTC):%Y-%m-%d}", "commit": read_commit()}
    rows = [row for where in (*CLUSTERS, "kill") for row in read_rows(where).values()]
    kept = {(each["where"], each["fault"]): each for each in (*rows, row)}
    FILE.write_text("".join(f"{json.dumps(each)}\n" for each in kept.values()), encoding="utf-8")


def tabulate_faults(where: str, names: Iterable[str]) -> str:
    """Return the faults of one place in their order, and those that nobody has run."""
    rows, names = read_rows(where), list(names)
    known = [rows[name] for name in names if name in rows]
    text = f"{len(known)} of {len(names)} faults were run; {sum(row['right'] for row in known)} went as they should.\n"
    if known:
        text += "\n| fault | right | verdict | exit code | the run said | seconds | left | seen |\n"
        text += "|---|---|---|---|---|---|---|---|\n" + "".join(map(_format_row, known))
    missing = [name for name in names if name not in rows]
    return text + (f"\nNot run yet: {'; '.join(missing)}.\n" if missing else "")


def _format_row(row: dict[str, Any]) -> str:
    seconds = "-" if row["seconds"] is None else f"{row['seconds']:.0f}"
    cells = (
        *(row["fault"], "yes" if row["right"] else "NO", row["verdict"], str(row["code"]), row["said"]),
        *(f"{seconds} ({row['more']})" if row["more"] else seconds, ", ".join(row["left"]) or "nothing"),
        f"{row['day']}, {row['commit']}",
    )
    return f"| {' | '.join(map(escape_cell, cells))} |\n"


def tabulate_kills() -> str:
    """Return how many kills there were of each kind, and what they left."""
    kills = list(read_rows("kill").values())
    text = f"{len(kills)} kills; {sum(not kill['right'] for kill in kills)} left something.\n"
    if kills:
        text += "\n| kill | kills | left |\n|---|---|---|\n"
    for said in sorted({kill["said"] for kill in kills}):
        alike = [kill for kill in kills if kill["said"] == said]
        left = ", ".join(name for kill in alike for name in kill["left"])
        text += f"| {said} | {len(alike)} | {left or 'nothing'} |\n"
    return text
