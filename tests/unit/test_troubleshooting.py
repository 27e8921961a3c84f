"""Each code that an error names has its entry in docs/TROUBLESHOOTING.md, and each entry is named by an error."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from fixtures.clusters.contract import Problem
from fixtures.errors import InfraError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "TROUBLESHOOTING.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"^### (.+)\n(.*)$", PAGE, re.MULTILINE)


def codes() -> Iterator[str]:
    """Yield every code that the source gives an error by `see=`, or writes into a message itself."""
    for folder in ("fixtures", "image/trainer", "benchmarks"):
        for file in (ROOT / folder).rglob("*.py"):
            source = file.read_text(encoding="utf-8")
            yield from re.findall(r"see TROUBLESHOOTING: ([^{)]+)\)", source)
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.keyword) and node.arg == "see":
                    values = [part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)]
                    yield from (str(value) for value in values if value)


def test_each_code_has_one_entry_and_each_entry_is_named_by_an_error() -> None:
    assert sorted(code for code, _ in ENTRIES) == sorted(set(codes()))


def test_codes_are_kebab_case_and_entries_say_something() -> None:
    assert [code for code, _ in ENTRIES if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)] == []
    assert [code for code, text in ENTRIES if len(text.split()) < 8] == []


def test_an_error_and_a_problem_end_with_their_code() -> None:
    said = "Import it. (see TROUBLESHOOTING: image-not-on-node)"

    assert InfraError("No image.", "Import it.", see="image-not-on-node").remedy == said
    assert Problem("No image.", "Import it.", see="image-not-on-node").remedy == said
    assert str(InfraError("No image.", see="image-not-on-node")) == "No image. (see TROUBLESHOOTING: image-not-on-node)"
    assert str(InfraError("No image.", "Import it.")) == "No image. Import it."


def test_every_row_of_a_table_has_a_symptom_a_cause_and_a_remedy() -> None:
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]

    assert [row for row in rows if len(row) != 3 or not all(row)] == []
