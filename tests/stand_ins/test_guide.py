"""The guide's commands that run anywhere are run, and what it names of ours is called so."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.clusters.kubernetes.provider import DATA
from fixtures.clusters.kubernetes.raycluster.manifest import HEAD_SERVICE, NAME
from fixtures.settings.kubernetes import KubernetesSettings
from trainer.__main__ import parse

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "docs" / name for name in ("EXERCISE.md", "TROUBLESHOOTING.md")]
GUIDE = PAGES[0].read_text(encoding="utf-8")
RUNS_HERE = re.compile(r"^<!-- runs here -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    blocks = [block for page in PAGES for block in RUNS_HERE.findall(page.read_text(encoding="utf-8"))]
    return [line for block in blocks for line in block.splitlines() if line]


def test_some_commands_run_here() -> None:
    assert "python -m fixtures doctor" in commands()
    assert GUIDE.count("<!-- runs here -->") == len(RUNS_HERE.findall(GUIDE))


@pytest.mark.parametrize("command", commands())
def test_a_command_that_runs_anywhere_ends_well(command: str) -> None:
    program, *words = shlex.split(command)
    assert program == "python"

    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_trials_by_hand_are_trials_of_the_trainer() -> None:
    found = re.findall(r"-- python -m trainer (.*)$", GUIDE, re.MULTILINE)

    assert [parse(shlex.split(words)).workers for words in found] == [0, 2]
    assert all(DATA in words for words in found)


def test_what_kubectl_is_asked_for_has_the_names_of_the_suite() -> None:
    assert re.findall(r"port-forward service/(\S+)", GUIDE) == [HEAD_SERVICE]
    assert HEAD_SERVICE.startswith(NAME)
    assert f"--namespace {KubernetesSettings().namespace}" in GUIDE


def test_the_tests_that_the_guide_names_exist() -> None:
    cheats = (ROOT / "tests" / "training" / "test_real_cheats.py").read_text(encoding="utf-8")
    named = re.findall(r"pytest -m training -k (\w+)", GUIDE)

    assert len(named) == 3
    assert all(re.search(rf"def test_\w*{each}", cheats) for each in named)
