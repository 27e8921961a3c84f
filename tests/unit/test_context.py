"""A cluster that somebody has: its context is looked for, and nothing is ever made or removed."""

from pathlib import Path

import pytest

from fixtures.clusters.kubernetes.engines.context import ContextEngine, read_contexts
from fixtures.errors import InfraError


def kubeconfig(file: Path, *names: str, current: str = "") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    contexts = "".join(f"- name: {name}\n  context: {{cluster: {name}, user: {name}}}\n" for name in names)
    file.write_text(f"apiVersion: v1\nkind: Config\ncurrent-context: '{current}'\ncontexts:\n{contexts}")
    return file


@pytest.mark.parametrize(
    ("current", "name", "missing"),
    [
        ("dev", "nightly", ""),
        ("dev", None, ""),
        ("dev", "prod", "context prod"),
        ("", None, "current context"),
        ("gone", None, "current context gone"),
    ],
)
def test_the_context_that_is_named_or_else_the_current_one_must_exist(
    tmp_path: Path, current: str, name: str | None, missing: str
) -> None:
    file = kubeconfig(tmp_path / "config", "dev", "nightly", current=current)

    problems = ContextEngine(file, name, {}).preflight()

    assert [problem.what for problem in problems] == [f"{file} has no {missing}. It has dev, nightly."] * bool(missing)
    assert all("--kube-context" in problem.remedy for problem in problems)


def test_the_users_default_is_kubeconfig_then_the_home_directory(tmp_path: Path) -> None:
    one = kubeconfig(tmp_path / "one", "dev")
    two = kubeconfig(tmp_path / "two", "dev", "prod", current="prod")
    kubeconfig(tmp_path / ".kube" / "config", "home", current="home")
    several = {"HOME": str(tmp_path), "KUBECONFIG": f"{one}:{tmp_path}/missing:{two}"}

    assert ContextEngine(None, "home", {"HOME": str(tmp_path)}).preflight() == ()
    assert ContextEngine(None, "prod", several).preflight() == ()
    assert ContextEngine(None, "home", several).preflight() != ()
    assert read_contexts((one, two)) == (["dev", "prod"], "prod")


def test_a_kubeconfig_that_is_missing_or_broken_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("contexts: [")
    other = tmp_path / "other"
    other.write_text("- just\n- a list\n")

    (missing,) = ContextEngine(tmp_path / "none", None, {}).preflight()
    (unread,) = ContextEngine(broken, None, {}).preflight()
    (shape,) = ContextEngine(other, None, {}).preflight()

    assert missing.what == f"There is no kubeconfig at {tmp_path}/none."
    assert unread.what.startswith(f"The kubeconfig {broken} cannot be read: while parsing")
    assert shape.what.startswith(f"The kubeconfig {other} cannot be read")


def test_up_says_which_cluster_is_used_and_makes_nothing(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path / "config", "dev", current="dev")
    said: list[str] = []
    engine = ContextEngine(file, None, {})

    engine.up(said.append)
    engine.keep_running()
    engine.down()

    assert said == ["using the cluster of context dev"]
    assert (engine.owned, engine.reserve, engine.usable_cores(), engine.processes()) == (False, 0, None, None)
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(InfraError, match="no context prod"):
        ContextEngine(file, "prod", {}).up(said.append)


def test_images_cannot_be_brought_onto_somebody_elses_nodes(tmp_path: Path) -> None:
    engine = ContextEngine(None, None, {})

    with pytest.raises(InfraError, match="this suite did not make the cluster") as error:
        engine.import_image(["node-1"], tmp_path / "image.tar", lambda _: None)
    assert "registry" in error.value.remedy
    assert engine.image_on("node-1", "docker.io/e2e/trainer:1") is None
