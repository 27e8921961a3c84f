"""The shape of the code: what ruff does not check."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = [
    file for folder in ("fixtures", "image", "benchmarks", "docs", "tests") for file in (ROOT / folder).rglob("*.py")
]
MOST_LINES = 60
MOST_LINES_OF_A_FILE = 400


def test_no_function_is_longer_than_60_lines() -> None:
    long = [
        f"{file.relative_to(ROOT)}: {node.name}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= MOST_LINES
    ]

    assert not long


def test_no_file_is_longer_than_400_lines() -> None:
    long = [
        str(file.relative_to(ROOT))
        for file in FILES
        if len(file.read_text(encoding="utf-8").splitlines()) > MOST_LINES_OF_A_FILE
    ]

    assert not long
