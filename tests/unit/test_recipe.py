"""What the trainer's image is built from: the hash in its tag changes with every input, and with nothing else."""

import os
import re
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fixtures.clusters.kubernetes.image.recipe import (
    INPUTS,
    Recipe,
    Versions,
    build_arguments,
    content_hash,
    context_files,
    pins,
)
from fixtures.errors import InfraError

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "image"
ARGUMENTS = {"PYTHON": "3.11"}


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A small folder to build."""
    for name, text in {
        "Dockerfile": "FROM base\nCOPY trainer /trainer\n",
        "trainer/work.py": "print(1)\n",
        "trainer/__pycache__/work.pyc": "x",
        "notes.txt": "mine",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def change(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


INPUTS_CHANGED: dict[str, Callable[[Path], object]] = {
    "content": change("trainer/work.py", "print(2)\n"),
    "new file": change("trainer/more.py", ""),
    "Dockerfile": change("Dockerfile", "FROM other\n"),
    "name": lambda folder: (folder / "trainer/work.py").rename(folder / "trainer/job.py"),
    "mode": lambda folder: (folder / "trainer/work.py").chmod(0o755),
    "link": lambda folder: (folder / "trainer/link").symlink_to("work.py"),
}
ELSE_CHANGED: dict[str, Callable[[Path], object]] = {
    "time of change": lambda folder: os.utime(folder / "trainer/work.py", (1, 1)),
    "a file that is not sent": change("notes.txt", "more"),
    "bytecode": change("trainer/__pycache__/work.pyc", "y"),
    "an empty folder": lambda folder: (folder / "trainer/empty").mkdir(),
}


@pytest.mark.parametrize("what", [*INPUTS_CHANGED, *ELSE_CHANGED])
def test_the_tag_changes_with_every_input_and_nothing_else(context: Path, what: str) -> None:
    before = content_hash(context, ARGUMENTS)

    (INPUTS_CHANGED | ELSE_CHANGED)[what](context)

    assert (content_hash(context, ARGUMENTS) != before) is (what in INPUTS_CHANGED)


def test_the_tag_changes_with_build_arguments_but_not_with_their_order(context: Path) -> None:
    before = content_hash(context, {"PYTHON": "3.11", "BASE_IMAGE": "a"})

    assert content_hash(context, {"BASE_IMAGE": "a", "PYTHON": "3.11"}) == before
    assert content_hash(context, {"PYTHON": "3.12", "BASE_IMAGE": "a"}) != before
    assert content_hash(context, {"PYTHON": "3.11"}) != before


def test_the_name_is_full_and_its_tag_is_the_hash_of_a_folder_with_a_dockerfile(context: Path) -> None:
    recipe = Recipe(context, ARGUMENTS)

    assert re.fullmatch("[0-9a-f]{12}", recipe.hash)
    assert recipe.reference == f"docker.io/ray-train-e2e/trainer:{recipe.hash}"
    (context / "Dockerfile").unlink()
    with pytest.raises(InfraError, match=f"{context}/Dockerfile is missing"):
        content_hash(context, ARGUMENTS)


def test_docker_gets_exactly_the_inputs_of_the_tag_which_are_what_the_dockerfile_copies() -> None:
    lines = (IMAGE / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    inputs = [name.removesuffix("/**/*") for name in INPUTS if name != "Dockerfile"]
    mine = {"ca-bundle.crt", "pip.conf"}
    sent = {path.relative_to(IMAGE).as_posix() for path in context_files(IMAGE)} - mine
    modules = {path.relative_to(IMAGE).as_posix() for path in (IMAGE / "trainer").rglob("*.py")}

    assert rules == ["*", *(f"!{name}" for name in inputs), "**/__pycache__", "**/*.pyc"]
    requirements = {"requirements.txt", "requirements-gpu.txt"}
    assert sent == {"Dockerfile", *requirements, "data/mnist.npz", "data/digits.npz", *modules}


def test_arguments_are_this_python_the_users_package_index_and_what_was_given() -> None:
    environ = {"PIP_INDEX_URL": "https://mirror.example/simple", "PIP_TRUSTED_HOST": "", "HOME": "/home/me"}

    assert build_arguments("3.12", environ, {"BASE_IMAGE": "mine", "PYTHON": "3.13"}) == {
        "PYTHON": "3.13",
        "PIP_INDEX_URL": "https://mirror.example/simple",
        "BASE_IMAGE": "mine",
    }


# The real image/requirements.txt and image/Dockerfile

LOCKED, INSIDE = pins((ROOT / "constraints.txt").read_text()), pins((IMAGE / "requirements.txt").read_text())


def test_every_requirement_has_the_version_of_the_constraints_and_a_recipe_knows_them() -> None:
    assert {name: LOCKED[name] for name in INSIDE if name in LOCKED}.items() <= INSIDE.items()
    assert set(INSIDE) - set(LOCKED) <= {"setuptools", "wheel"}  # what builds packages
    assert Recipe(IMAGE, ARGUMENTS).versions == Versions("3.11", LOCKED["ray"], LOCKED["tensorflow"])


@cache
def wanted_by(name: str) -> tuple[Requirement, ...]:
    try:
        return tuple(map(Requirement, metadata.requires(name) or ()))
    except metadata.PackageNotFoundError:
        return ()  # for another platform than this one


def needed(python: str) -> set[str]:
    """Names of all that Ray, TensorFlow and NumPy need on Linux, by the metadata of what is installed here."""
    facts = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": "x86_64",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    cpu = "tensorflow-cpu" if wanted_by("tensorflow-cpu") else "tensorflow"
    left = [Requirement("ray[default,train]"), Requirement(cpu), Requirement("numpy")]
    seen: set[tuple[str, frozenset[str]]] = set()
    while left:
        requirement = left.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for each in wanted_by(name):
            chosen = [{**facts, "extra": extra} for extra in (extras or {""})]
            if each.marker is None or any(each.marker.evaluate(choice) for choice in chosen):
                left.append(each)
    return {name for name, _ in seen}


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_requirements_are_complete_since_pip_adds_nothing(python: str) -> None:
    assert needed(python) <= set(INSIDE)


def test_the_requirements_hold_nothing_that_is_not_needed_in_the_cluster() -> None:
    assert set(INSIDE) - needed("3.11") <= {"tensorflow", "tensorflow-cpu"}  # one of the two, by the machine


def test_the_labels_say_what_is_installed_and_nothing_that_changes_a_measurement_is_baked_in() -> None:
    text = (IMAGE / "Dockerfile").read_text()

    labels = dict(re.findall(r"ray-train-e2e\.(ray|tensorflow)=(\S+)", text))
    assert labels == {name: INSIDE[name] for name in ("ray", "tensorflow")}
    assert not re.findall(r"\b(?:RAY_|TF_|OMP_|PYTHONHASHSEED)", text)
