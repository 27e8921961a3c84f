"""What the campaign has seen: a line of JSON for each fault and each kill."""

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

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
        when: day and commit.
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
    when: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d}, {read_commit()}")


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
            heading = next(line for line in summary.splitlines() if line.startswith("## "))
            return heading.removeprefix("## ").partition(":")[0]  # what follows names a training of one's own
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
    return textwrap.shorten(message, LONGEST_MESSAGE, placeholder=" ...")


def read_rows(where: str) -> dict[str, Seen]:
    """Return what was seen last of each fault of one place."""
    lines = FILE.read_text(encoding="utf-8").splitlines() if FILE.exists() else []
    rows = [Seen(**json.loads(line)) for line in lines]
    return {row.fault: row for row in rows if row.where == where}


def keep(seen: Seen) -> None:
    """Put it in the place of what was seen earlier of the same fault."""
    rows = {(row.where, row.fault): row for where in (*CLUSTERS, "kill") for row in read_rows(where).values()}
    kept = rows | {(seen.where, seen.fault): seen}
    FILE.write_text("".join(f"{json.dumps(asdict(row))}\n" for row in kept.values()), encoding="utf-8")
