"""The messages of the errors that the code can raise, read from the code itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = ("fixtures/**/*.py", "image/trainer/*.py")
HOLE = "…"

RAISED = ("BenchmarkError", "UsageError", "InfraError", "UnequalWorkError", "MissingResultError", "ProgramTimeoutError")
CARRIED = {"Problem": 0, "Finding": 0, "refusal": 2}
"""What becomes one of the errors later, and which argument is its message."""


@dataclass(frozen=True)
class Message:
    """What an error says.

    Attributes:
        where: file and function, such as fixtures/cli/verbs.py:stop.
        text: with HOLE for what only a run knows.
    """

    where: str
    text: str

    @property
    def words(self) -> tuple[str, ...]:
        """The words that stand in the code."""
        return words(self.text)


def words(text: str) -> tuple[str, ...]:
    """The words of a message; options and names with dashes are one."""
    return tuple(re.findall(r"[A-Za-z][\w'-]*\w|[A-Za-z]", text))


def messages(root: Path = ROOT) -> list[Message]:
    """Every message of every error, once."""
    files = sorted(file for pattern in CODE for file in root.glob(pattern))
    return list(dict.fromkeys(each for file in files for each in _of_file(file, str(file.relative_to(root)))))


def texts(root: Path = ROOT) -> set[str]:
    """Every text in the code, with HOLE for what only a run knows; texts that follow each other are one, too."""
    found = set()
    for file in (file for pattern in CODE for file in root.glob(pattern)):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
                found |= set(_texts(node, None))
    return found


def _of_file(file: Path, name: str) -> Iterator[Message]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    scopes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        at = 0 if called in RAISED else CARRIED.get(called)
        if at is None or len(node.args) <= at or (called == "Finding" and "kubernetes" not in name):
            continue  # the gate's findings are no errors
        inside = [each for each in scopes if each.lineno <= node.lineno <= (each.end_lineno or 0)]
        scope = inside[-1] if inside else None
        for text in dict.fromkeys(_texts(node.args[at], scope)):
            yield Message(f"{name}:{scope.name if scope else ''}", text)


def _texts(node: ast.expr, scope: ast.FunctionDef | None) -> list[str]:
    """The texts that an expression may be; a variable is what its function gives it."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            return ["".join(part.value if isinstance(part, ast.Constant) else HOLE for part in parts)]  # type: ignore[misc]
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return [before + after for before in _texts(left, scope) for after in _texts(right, scope)]
        case ast.IfExp(body=body, orelse=orelse):
            return [*_texts(body, scope), *_texts(orelse, scope)]
        case ast.Name(id=name) if scope is not None:
            given = [
                each.value
                for each in ast.walk(scope)
                if isinstance(each, ast.Assign)
                and any(isinstance(to, ast.Name) and to.id == name for to in each.targets)
            ]
            return [text for value in given for text in _texts(value, None)] or [HOLE]
        case _:
            return [HOLE]
