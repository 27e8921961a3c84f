"""The tables of faults fit the code: `make faults` runs them, `make test` does not."""

import re
from functools import partial
from pathlib import Path

from tests.faults.embedded import EMBEDDED
from tests.faults.fault import replace_text
from tests.faults.on_kubernetes import ON_KUBERNETES

ROOT = Path(__file__).parents[2]
ALL = (*EMBEDDED, *(case.fault for case in ON_KUBERNETES))


def test_each_fault_has_a_name_of_its_own_in_its_table() -> None:
    for names in ([fault.name for fault in EMBEDDED], [case.fault.name for case in ON_KUBERNETES]):
        assert len(names) == len(set(names))


def test_each_code_that_a_fault_should_lead_to_is_an_entry_of_the_page() -> None:
    entries = re.findall(r"^### (.+)$", (ROOT / "docs" / "TROUBLESHOOTING.md").read_text("utf-8"), re.MULTILINE)

    assert {code for fault in ALL for code in fault.see.split("|") if code} <= set(entries)


def test_a_fault_that_may_take_more_than_a_minute_says_why() -> None:
    assert [fault.name for fault in ALL if (fault.seconds > 60) != bool(fault.why_later)] == []


def test_what_a_fault_replaces_in_the_trainer_is_there() -> None:
    prepared = [fault.prepare for fault in EMBEDDED if isinstance(fault.prepare, partial)]
    edits = [made.args for made in prepared if made.func is replace_text]

    assert edits
    assert [old for file, old, _ in edits if old not in (ROOT / file).read_text(encoding="utf-8")] == []
