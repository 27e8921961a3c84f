"""Building, saving, pushing and pruning, with stand-ins for docker and minikube that note how they were called."""

import json
from pathlib import Path

import pytest

from fixtures.clusters.kubernetes.image import builders
from fixtures.clusters.kubernetes.image.builders import (
    DockerBuilder,
    Listed,
    MinikubeBuilder,
    build_failure,
    progress,
    stale_images,
)
from fixtures.clusters.kubernetes.image.recipe import Recipe, Versions
from fixtures.errors import InfraError
from fixtures.system.programs import Tool
from tests.stand_ins.kubernetes_store import ignore
from tests.stand_ins.stand_in import StandIns, recorded

LABELS = {"ray-train-e2e.python": "3.11", "ray-train-e2e.ray": "2.60.0", "ray-train-e2e.tensorflow": "2.21.0"}
PUSHED = "hub.example/ray-train-e2e/trainer@sha256:aaa"
MISSING = "Error response from daemon: No such image: x"
"""As Docker says it, beside an empty list and exit code 1."""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    return Recipe(tmp_path, {"PYTHON": "3.11"})


@pytest.fixture
def programs(tmp_path: Path) -> StandIns:
    """A docker that has every image, and a minikube that exits with 0 whatever it is asked."""
    programs = StandIns(tmp_path / "programs", ["docker", "minikube"])
    programs.answer("docker")
    programs.answer("minikube")
    has(programs)
    return programs


@pytest.fixture
def docker(programs: StandIns) -> DockerBuilder:
    return DockerBuilder(programs.environ)


def has(programs: StandIns, size: int = 1000, labels: dict[str, str] | None = LABELS) -> None:
    image = {"Size": size, "RepoDigests": [PUSHED], "Config": {"Labels": labels}}
    programs.answer("docker image inspect", json.dumps([image]))


def lacks(programs: StandIns) -> None:
    programs.answer("docker image inspect", "[]", err=MISSING, code=1)


def test_docker_builds_with_the_hash_as_tag_and_label(
    programs: StandIns, docker: DockerBuilder, recipe: Recipe
) -> None:
    programs.answer("docker build", "Step 2/9 : COPY a b\n")
    said: list[str] = []

    docker.build(recipe, said.append, fresh=False)

    assert programs.calls("docker build") == [
        f"docker build --force-rm --tag {recipe.reference} --build-arg=PYTHON=3.11 --build-arg=VERSION={recipe.hash} "
        f"{recipe.context}"
    ]
    assert said == ["image: step 2/9, COPY a b"]


def test_a_fresh_build_uses_no_cache(programs: StandIns, docker: DockerBuilder, recipe: Recipe) -> None:
    docker.build(recipe, ignore, fresh=True)

    assert "--no-cache" in programs.calls("docker build")[0]


def test_an_engine_that_does_not_answer_is_not_taken_for_a_missing_image(
    programs: StandIns, docker: DockerBuilder
) -> None:
    programs.answer("docker image inspect", "[]", err="Cannot connect to the Docker daemon at unix:///x.", code=1)

    with pytest.raises(InfraError, match="Docker does not answer: Cannot connect to the Docker daemon"):
        docker.has("mine:1")


def test_docker_knows_which_images_it_has_and_what_their_labels_say(programs: StandIns, docker: DockerBuilder) -> None:
    assert docker.has("mine:1")
    assert docker.versions("mine:1") == Versions("3.11", "2.60.0", "2.21.0")

    for labels in (None, {"ray-train-e2e.ray": "2.60.0"}):
        has(programs, labels=labels)
        assert docker.versions("mine:1") is None

    lacks(programs)
    assert not docker.has("mine:1")


def test_an_image_that_is_nowhere_or_does_not_fit_on_the_disk_is_not_saved(
    programs: StandIns, docker: DockerBuilder, tmp_path: Path
) -> None:
    has(programs, size=1 << 60)
    with pytest.raises(InfraError, match=r"GiB free; the archive of mine:1 needs 1181116006\.4 GiB"):
        docker.save("mine:1", tmp_path / "image.tar")

    lacks(programs)
    with pytest.raises(
        InfraError, match=r"Docker has no image mine:1\. Pull it: `docker pull mine:1`.*image-not-on-node"
    ):
        docker.save("mine:1", tmp_path / "image.tar")

    assert not programs.calls("docker save")


def test_a_pushed_image_is_named_by_its_digest_in_this_registry(programs: StandIns, docker: DockerBuilder) -> None:
    pushed = docker.push("docker.io/ray-train-e2e/trainer:1f", "hub.example/", ignore)

    assert pushed == "hub.example/ray-train-e2e/trainer:1f@sha256:aaa"
    assert programs.calls()[:2] == [
        "docker tag docker.io/ray-train-e2e/trainer:1f hub.example/ray-train-e2e/trainer:1f",
        "docker push hub.example/ray-train-e2e/trainer:1f",
    ]
    with pytest.raises(InfraError, match="left no digest"):
        docker.push("docker.io/ray-train-e2e/trainer:1f", "other.example", ignore)


@pytest.mark.parametrize(
    ("sample", "cause", "remedy"),
    [
        ("no-network", "Temporary failure in name resolution", "PIP_INDEX_URL"),
        ("certificate", "CERTIFICATE_VERIFY_FAILED", "image/ca-bundle.crt"),
        ("other-python", "exit code 1: the base image has Python 3.11, not 3.12", "BASE_IMAGE"),
        ("no-base", 'exit code 1: Get "https://registry.example/v2/": dial tcp', "BASE_IMAGE"),
        ("no-network-buildkit", "exit code 1: WARNING: Retrying (Retry(total=4", "PIP_INDEX_URL"),
        ("other-python-buildkit", "exit code 1: the base image has Python 3.11, not 3.12", "BASE_IMAGE"),
        ("no-base-buildkit", 'failed to do request: Head "https://registry.example/v2/', "BASE_IMAGE"),
    ],
)
def test_a_failed_build_is_told_by_its_first_cause(
    programs: StandIns, docker: DockerBuilder, recipe: Recipe, sample: str, cause: str, remedy: str
) -> None:
    programs.answer("docker build", recorded(f"docker-build-{sample}.txt"), code=1)

    with pytest.raises(InfraError) as caught:
        docker.build(recipe, ignore, fresh=False)

    assert cause in caught.value.cause
    assert "\x1b" not in caught.value.cause
    assert remedy in caught.value.remedy


def test_an_unknown_failure_is_told_by_its_last_error() -> None:
    lines = ["Step 1/2 : RUN false", "ERROR: the moon is full", "bye", "The command '/bin/sh -c false' returned 1"]

    assert build_failure("docker build", lines, "ended with exit code 1").cause == (
        "`docker build` ended with exit code 1: ERROR: the moon is full"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Step 16/24 : COPY --from=packages /opt/a /opt/a", "image: step 16/24, COPY --from=packages /opt/a /opt/a"),
        ("#9 [packages 2/5] RUN python -c pass", "image: step 2/5, RUN python -c pass"),
        ("#12 [stage-1  3/7] COPY data /data", "image: step 3/7, COPY data /data"),
        ("#4 [1/3] FROM docker.io/library/python", "image: step 1/3, FROM docker.io/library/python"),
        ("  Downloading ray-2.60.0-cp311.whl (73 MB)", "image: Downloading ray-2.60.0-cp311.whl (73 MB)"),
        ("#9 12.34   Downloading numpy-2.4.6.whl (16 MB)", "image: Downloading numpy-2.4.6.whl (16 MB)"),
        *(
            (line, None)
            for line in (" ---> Using cache", "Step 4/24 : ARG PYTHON", "#9 DONE 3.1s", "Collecting ray==2")
        ),
    ],
)
def test_steps_and_downloads_of_both_builders_are_progress_and_other_lines_are_not(line: str, said: str | None) -> None:
    assert progress(line) == said


def test_a_step_is_reported_once_and_a_build_that_left_no_image_is_no_success(
    programs: StandIns, docker: DockerBuilder, recipe: Recipe
) -> None:
    lacks(programs)
    programs.answer("docker build", err="#5 [1/5] FROM base\n#6 [2/5] RUN pip\n#5 [1/5] FROM base\n")
    said: list[str] = []

    with pytest.raises(InfraError, match=f"exit code 0, but Docker has no image {recipe.reference}"):
        docker.build(recipe, said.append, fresh=False)

    assert said == ["image: step 1/5, FROM base", "image: step 2/5, RUN pip"]


class Primary:
    """What the primary node lists, look by look; the last answer is repeated."""

    def __init__(self, *digests: str | None) -> None:
        self.digests = list(digests)

    def image_on(self, node: str, reference: str) -> str | None:
        assert node == "bench"
        return self.digests.pop(0) if len(self.digests) > 1 else self.digests[0]


def minikube(programs: StandIns, *digests: str | None, runtime: str = "containerd") -> MinikubeBuilder:
    return MinikubeBuilder(Tool("minikube", programs.environ), "bench", runtime, Primary(*digests).image_on)


@pytest.mark.parametrize(("runtime", "option"), [("containerd", "opt=build-arg:"), ("docker", "build-arg=")])
def test_minikube_builds_on_its_primary_node_and_the_node_is_asked(
    programs: StandIns, recipe: Recipe, runtime: str, option: str
) -> None:
    minikube(programs, None, "sha256:a", runtime=runtime).build(recipe, ignore, fresh=False)

    assert programs.calls() == [
        f"minikube image build --profile bench --node bench --file Dockerfile --tag {recipe.reference} "
        f"--build-opt={option}PYTHON=3.11 --build-opt={option}VERSION={recipe.hash} {recipe.context}"
    ]


@pytest.mark.parametrize("before", [None, "sha256:old"])
def test_minikubes_exit_code_0_without_a_new_image_is_a_failure(
    programs: StandIns, recipe: Recipe, before: str | None
) -> None:
    programs.answer("minikube image build", err="error: failed to solve: no such host\n")

    with pytest.raises(
        InfraError, match="exit code 0, but the node has no new image: error: failed to solve: no such host"
    ):
        minikube(programs, before).build(recipe, ignore, fresh=before is not None)


@pytest.mark.parametrize("left", ["", ': >"$6"\n'], ids=["no file", "an empty file"])
def test_minikubes_exit_code_0_without_an_archive_is_a_failure(
    programs: StandIns, tmp_path: Path, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builders, "SAVED_BYTES", 0)
    programs.answer("minikube image save", then=left)

    with pytest.raises(InfraError, match="exit code 0 and left no archive"):
        minikube(programs, "sha256:a").save("mine:1", tmp_path / "image.tar")

    assert (tmp_path / "image.tar").exists() is bool(left)


def test_only_older_images_of_ours_are_stale() -> None:
    listing = [
        Listed("ray-train-e2e/trainer:new", "sha256:1"),
        Listed("ray-train-e2e/trainer:old", "sha256:2"),
        Listed("hub.example/ray-train-e2e/trainer:old", "sha256:2"),
        Listed("hub.example:5000/ray-train-e2e/trainer:new", "sha256:1"),
        Listed("<none>:<none>", "sha256:3"),
        Listed("somebody/kept-this:1", "sha256:2"),
        Listed("not-ray-train-e2e/trainer:old", "sha256:2"),
    ]

    assert stale_images(listing, ["docker.io/ray-train-e2e/trainer:new"]) == (
        "ray-train-e2e/trainer:old",
        "hub.example/ray-train-e2e/trainer:old",
        "sha256:3",
    )


def test_pruning_keeps_the_newest_installed_packages_and_what_is_in_use(
    programs: StandIns, docker: DockerBuilder
) -> None:
    images = 'echo "ray-train-e2e/trainer:new 1"; echo "ray-train-e2e/trainer:used 2"'
    packages = 'echo "<none>:<none> sha256:new"; echo "<none>:<none> sha256:old"'
    programs.answer("docker image ls", then=f'case "$*" in *=image*) {images} ;; *=packages*) {packages} ;; esac\n')
    in_use = "conflict: image is being used by running container 9"
    programs.answer("docker image rm", then=f'case "$3" in *used) echo "{in_use}" >&2; exit 1 ;; esac\n')
    said: list[str] = []

    removed = docker.prune(["docker.io/ray-train-e2e/trainer:new"], said.append)

    assert removed == ("sha256:old",)
    assert said == [f"ray-train-e2e/trainer:used stays: {in_use}", "removed sha256:old"]
