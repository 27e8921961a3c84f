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


@pytest.mark.parametrize(
    "touch",
    [
        pytest.param(change("trainer/work.py", "print(2)\n"), id="content"),
        pytest.param(change("trainer/more.py", ""), id="new file"),
        pytest.param(change("Dockerfile", "FROM other\n"), id="Dockerfile"),
        pytest.param(lambda folder: (folder / "trainer/work.py").rename(folder / "trainer/job.py"), id="name"),
        pytest.param(lambda folder: (folder / "trainer/work.py").chmod(0o755), id="mode"),
        pytest.param(lambda folder: (folder / "trainer/link").symlink_to("work.py"), id="link"),
    ],
)
def test_the_tag_changes_with_every_input(context: Path, touch: Callable[[Path], object]) -> None:
    before = content_hash(context, ARGUMENTS)

    touch(context)

    assert content_hash(context, ARGUMENTS) != before


@pytest.mark.parametrize(
    "touch",
    [
        pytest.param(lambda folder: os.utime(folder / "trainer/work.py", (1, 1)), id="time of change"),
        pytest.param(change("notes.txt", "more"), id="a file that is not sent"),
        pytest.param(change("trainer/__pycache__/work.pyc", "y"), id="bytecode"),
        pytest.param(lambda folder: (folder / "trainer/empty").mkdir(), id="an empty folder"),
    ],
)
def test_the_tag_changes_with_nothing_else(context: Path, touch: Callable[[Path], object]) -> None:
    before = content_hash(context, ARGUMENTS)

    touch(context)

    assert content_hash(context, ARGUMENTS) == before


def test_the_tag_changes_with_build_arguments_but_not_with_their_order(context: Path) -> None:
    one = content_hash(context, {"PYTHON": "3.11", "BASE_IMAGE": "a"})

    assert content_hash(context, {"BASE_IMAGE": "a", "PYTHON": "3.11"}) == one
    assert content_hash(context, {"PYTHON": "3.12", "BASE_IMAGE": "a"}) != one
    assert content_hash(context, {"PYTHON": "3.11"}) != one


def test_the_name_is_full_and_its_tag_is_the_hash(context: Path) -> None:
    recipe = Recipe(context, ARGUMENTS)

    assert re.fullmatch("[0-9a-f]{12}", recipe.hash)
    assert recipe.reference == f"docker.io/ray-train-e2e/trainer:{recipe.hash}"


def test_a_folder_without_a_dockerfile_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match=f"{tmp_path}/Dockerfile is missing"):
        content_hash(tmp_path, ARGUMENTS)


def test_docker_gets_exactly_the_inputs_of_the_tag() -> None:
    lines = (IMAGE / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    inputs = [name.removesuffix("/**/*") for name in INPUTS if name != "Dockerfile"]

    assert rules == ["*", *(f"!{name}" for name in inputs), "**/__pycache__", "**/*.pyc"]


def test_exactly_what_the_dockerfile_copies_goes_into_the_real_image() -> None:
    mine = {"ca-bundle.crt", "pip.conf"}
    sent = {path.relative_to(IMAGE).as_posix() for path in context_files(IMAGE)} - mine
    modules = {f"trainer/{path.name}" for path in (IMAGE / "trainer").glob("*.py")}

    assert sent == {"Dockerfile", "requirements.txt", "data/mnist.npz", *modules}


def test_arguments_are_this_python_the_users_package_index_and_what_was_given() -> None:
    environ = {"PIP_INDEX_URL": "https://mirror.example/simple", "PIP_TRUSTED_HOST": "", "HOME": "/home/me"}

    assert build_arguments("3.12", environ, {"BASE_IMAGE": "mine", "PYTHON": "3.13"}) == {
        "PYTHON": "3.13",
        "PIP_INDEX_URL": "https://mirror.example/simple",
        "BASE_IMAGE": "mine",
    }


def test_a_recipe_knows_the_versions_inside_before_it_is_built() -> None:
    locked = pins((ROOT / "constraints.txt").read_text())

    assert Recipe(IMAGE, ARGUMENTS).versions == Versions("3.11", locked["ray"], locked["tensorflow"])


# The real image/requirements.txt and image/Dockerfile


def test_every_requirement_has_the_version_of_the_constraints() -> None:
    locked, inside = pins((ROOT / "constraints.txt").read_text()), pins((IMAGE / "requirements.txt").read_text())

    assert {name: locked[name] for name in inside if name in locked} == {
        name: version for name, version in inside.items() if name in locked
    }
    # What builds packages is not among the constraints.
    assert set(inside) - set(locked) <= {"setuptools", "wheel"}


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
    assert needed(python) <= set(pins((IMAGE / "requirements.txt").read_text()))


def test_the_requirements_hold_nothing_that_is_not_needed_in_the_cluster() -> None:
    unneeded = set(pins((IMAGE / "requirements.txt").read_text())) - needed("3.11")

    assert unneeded <= {"tensorflow", "tensorflow-cpu"}  # one of the two, by the machine


def test_the_labels_say_what_the_requirements_install() -> None:
    labels = dict(re.findall(r"ray-train-e2e\.(ray|tensorflow)=(\S+)", (IMAGE / "Dockerfile").read_text()))
    inside = pins((IMAGE / "requirements.txt").read_text())

    assert labels == {name: inside[name] for name in ("ray", "tensorflow")}


def test_nothing_that_changes_a_measurement_is_baked_in() -> None:
    assert not re.findall(r"\b(?:RAY_|TF_|OMP_|PYTHONHASHSEED)", (IMAGE / "Dockerfile").read_text())
