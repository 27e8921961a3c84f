"""make install, with a Python and a uv that only write down how they are called."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CALLED = """#!/bin/sh
echo "$(basename "$0") $*" >> "$LOG"
[ "$1 $2" = "-m venv" ] && mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
[ "$(basename "$0")" != uv ] || exit "$UV_ENDS"
"""


def install(folder: Path, *, uv: int | None) -> tuple[str, list[str]]:
    """Run make install where uv ends so, or is not on PATH; return what is printed, and what was called."""
    programs = folder / "programs"
    programs.mkdir()
    for name in ("python3", *([] if uv is None else ["uv"])):
        (programs / name).write_text(CALLED)
        (programs / name).chmod(0o755)
    environ = {"PATH": f"{programs}:{os.defpath}", "LOG": str(folder / "log"), "UV_ENDS": str(uv)}
    command = ["make", "--silent", "install", f"VENV={folder / 'venv'}"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout, (folder / "log").read_text().splitlines()


@pytest.mark.parametrize(
    ("uv", "by_uv", "by_pip"),
    [(None, False, True), (0, True, False), (1, True, True)],
    ids=["no uv", "uv", "a uv that finds no index"],
)
def test_an_installation_uses_uv_where_it_works_and_pip_elsewhere(
    tmp_path: Path, uv: int | None, by_uv: bool, by_pip: bool
) -> None:
    _, calls = install(tmp_path, uv=uv)

    assert any(call.startswith("uv pip install") and call.endswith("-e .[dev,kind]") for call in calls) is by_uv
    assert any(call.startswith("python -m pip install") and call.endswith("-e .[dev,kind]") for call in calls) is by_pip


def test_an_installation_says_what_it_does_before_and_what_comes_next(tmp_path: Path) -> None:
    printed, _ = install(tmp_path, uv=None)

    first, last = printed.splitlines()
    assert first.startswith("installing the packages of constraints.txt")
    assert "Next: make doctor" in last
