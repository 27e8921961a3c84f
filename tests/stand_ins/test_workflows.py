"""The workflows: what they may do, what they call, and that actionlint has nothing to say."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def steps(workflow: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    content = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    for name, job in content["jobs"].items():
        for step in job["steps"]:
            yield name, step


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_shell_step_is_a_make_target_and_every_action_is_pinned(workflow: Path) -> None:
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)

    for _, step in steps(workflow):
        if "run" in step:
            words = [word for word in step["run"].partition(" >>")[0].split() if word != "--silent"]
            assert words[0] == "make"
            assert words[1] in targets
        else:
            assert re.fullmatch(r"actions/[a-z/-]+@[0-9a-f]{40}", step["uses"])


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_job_has_a_timeout_and_no_more_permissions_than_it_needs(workflow: Path) -> None:
    content = yaml.safe_load(workflow.read_text(encoding="utf-8"))

    assert content["permissions"] == {"contents": "read"}
    assert content["concurrency"]["group"]
    for name, job in content["jobs"].items():
        assert job["timeout-minutes"] <= 330
        allowed = {"contents": "read", "issues": "write"} if name == "issues" else None
        assert job.get("permissions") == allowed
    for name, step in steps(workflow):
        given = json.dumps(step.get("env", {})) + json.dumps(step.get("with", {})) + step.get("run", "")
        assert "secrets." not in given
        assert ("github.token" in given) == (name == "issues" and "run" in step and "issues" in step["run"])


def test_the_workflows_are_linted_by_actionlint_and_that_it_is_missing_is_a_failure() -> None:
    runs = [step["run"] for _, step in steps(ROOT / ".github/workflows/ci.yml") if "run" in step]
    command = [str(shutil.which("make")), "--silent", "lint-workflows"]
    nowhere = {"PATH": "/nonexistent"}

    missing = subprocess.run(command, cwd=ROOT, env=nowhere, capture_output=True, text=True, timeout=60, check=False)

    assert "make lint-workflows" in runs
    assert missing.returncode != 0
    assert "lint-workflows needs actionlint or Go on PATH" in missing.stderr


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="no actionlint on PATH; ci.yml builds it")
def test_actionlint_finds_nothing_in_the_workflows() -> None:
    command = ["actionlint", *map(str, WORKFLOWS)]
    linted = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert linted.stdout + linted.stderr == ""
    assert linted.returncode == 0


def test_the_nightly_measures_what_it_should() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    for option in ("--cluster=minikube", "--workers=2,4", "--strict-verdict", "--regression"):
        assert option in re.findall(r"^NIGHTLY \?= (.*)$", makefile, re.MULTILINE)[0].split()
    always = [step for _, step in steps(ROOT / ".github/workflows/nightly.yml") if step.get("if") == "always()"]
    assert len(always) == 3  # the summary, the history, the reports


def test_the_versions_of_ci_are_those_of_the_project() -> None:
    ci = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))

    assert ci["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


def test_a_change_of_any_pin_is_audited_and_newer_pins_are_proposed() -> None:
    audit = yaml.safe_load((ROOT / ".github/workflows/audit.yml").read_text(encoding="utf-8"))
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))["updates"]

    assert audit[True]["push"]["paths"] == ["constraints.txt", "image/requirements.txt", "pyproject.toml"]  # `on`
    assert "make audit PYTHON=python3" in [step.get("run") for _, step in steps(ROOT / ".github/workflows/audit.yml")]
    assert [update["package-ecosystem"] for update in updates] == ["pip", "docker", "github-actions"]


def test_a_package_that_cannot_be_audited_fails_the_audit_and_every_accepted_finding_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (audit,) = re.findall(r"^\t\$\(BIN\)/pip-audit .*$", makefile, re.MULTILINE)
    (accepted,) = re.findall(r"^ACCEPTED :=(.*)$", makefile, re.MULTILINE)
    page = (ROOT / "docs/SECURITY.md").read_text(encoding="utf-8")

    assert "--strict" in audit
    assert [finding for finding in accepted.split() if finding not in page] == []


def test_the_hooks_of_pre_commit_run_what_make_lint_runs() -> None:
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]

    assert {repository["repo"] for repository in config["repos"]} == {"local"}  # nothing is downloaded
    assert {hook["language"] for hook in hooks} == {"system"}
    entries = " ".join(hook["entry"] for hook in hooks if hook["id"] != "docs")
    assert set(re.findall(r"\.venv/bin/(\S+)", entries)) == set(re.findall(r"\$\(BIN\)/(\S+)", recipe))
    assert "actionlint" in recipe
    assert "actionlint" in entries
