"""The image gets to the nodes: built beside the cluster's start, brought or pushed, and not built where it is."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fixtures.clusters.contract import Report
from fixtures.clusters.kubernetes.image.builders import Builder
from fixtures.clusters.kubernetes.image.distribution import ImageDistribution
from fixtures.clusters.kubernetes.image.image import archive_digest
from fixtures.errors import InfraError
from fixtures.settings.kubernetes import KubernetesSettings
from tests.stand_ins.kubernetes_store import ignore
from tests.stand_ins.stand_in import StandIns, write_archive

DIGEST = f"sha256:{'a' * 64}"
REGISTRY = "registry.example/me"
READY_MADE = "example.org/me/trainer:1"


class Nodes:
    """An engine whose nodes have what a test says."""

    def __init__(self, name: str = "minikube", *, there: bool = False, has: Mapping[str, str] | None = None) -> None:
        self.name, self.there, self.has = name, there, dict(has or {})
        self.imported: list[str] = []
        self.reference = ""
        self.own: Builder | None = None

    def exists(self) -> bool:
        return self.there

    def builder(self) -> Builder | None:
        return self.own

    def image_on(self, node: str, reference: str) -> str | None:
        return self.has.get(node)

    def import_image(self, nodes: Sequence[str], archive: Path, report: Report) -> None:
        self.imported += nodes
        self.has.update(dict.fromkeys(nodes, archive_digest(archive, self.reference)))


@pytest.fixture
def docker(tmp_path: Path) -> StandIns:
    """A Docker without the image, that can build it."""
    programs = StandIns(tmp_path / "programs", ["docker"])
    programs.answer("docker image inspect", err="Error: No such image: it", code=1)
    built = json.dumps([{"Size": 1, "RepoDigests": [], "Config": {}}])
    programs.answer("docker build", "Step 1/1 : FROM scratch\n", then=_from_now_on(programs, built))
    programs.answer("docker save", then=f"cp '{programs.place}/image.tar' \"$3\"\n")
    programs.answer("docker tag")
    programs.answer("docker push")
    return programs


def _from_now_on(programs: StandIns, inspected: str) -> str:
    there = programs.later("docker image inspect", inspected)
    return f"{there}rm -f 'docker image inspect/code'\n"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "image"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "requirements.txt").write_text("ray==2.60.0\ntensorflow==2.19.0\n")
    return folder


def distribution(engine: Any, docker: StandIns, context: Path, **settings: Any) -> ImageDistribution:
    made = ImageDistribution(engine, KubernetesSettings(**settings), docker.environ, context=context)
    write_archive(docker.place / "image.tar", f"blobs/sha256/{DIGEST[7:]}", made.reference)  # what `docker save` gives
    engine.reference = made.reference
    return made


def begin(image: ImageDistribution, doing: str) -> None:
    """Begin, and wait until it says that it does this."""
    started = threading.Event()
    image.begin(lambda line: started.set() if line.startswith(doing) else None)
    assert started.wait(20)


def test_the_image_is_built_while_the_cluster_starts(docker: StandIns, context: Path) -> None:
    engine = Nodes()
    image = distribution(engine, docker, context)
    said: list[str] = []

    image.begin(said.append)
    until = time.monotonic() + 20
    while not docker.calls("docker save") and time.monotonic() < until:  # the cluster starts meanwhile
        time.sleep(0.01)

    assert len(docker.calls(f"docker build --force-rm --tag {image.reference}")) == 1
    assert said == ["image: step 1/1, FROM scratch", f"saving image {image.reference}"]
    image.stop()


def test_what_was_built_is_brought_to_every_node_and_not_built_again(docker: StandIns, context: Path) -> None:
    engine = Nodes()
    image = distribution(engine, docker, context)
    image.begin(ignore)

    assert image.bring(["a", "b"], ignore) == (image.reference, True, {"a": DIGEST, "b": DIGEST})
    assert (len(docker.calls("docker build")), len(docker.calls("docker save"))) == (1, 1)
    assert engine.imported == ["a", "b"]
    assert not Path(docker.calls("docker save")[0].split()[3]).parent.exists()


def test_where_the_cluster_is_there_and_all_nodes_agree_nothing_is_built_or_asked(
    docker: StandIns, context: Path
) -> None:
    engine = Nodes(there=True, has={"a": DIGEST, "b": DIGEST})
    image = distribution(engine, docker, context)

    image.begin(ignore)
    reference, imported, digests = image.bring(["a", "b"], ignore)

    assert (reference, imported, digests) == (image.reference, True, {"a": DIGEST, "b": DIGEST})
    assert docker.calls() == []
    assert engine.imported == []


def test_an_image_that_docker_has_is_not_built(docker: StandIns, context: Path) -> None:
    docker.answer("docker image inspect", json.dumps([{"Size": 1}]))
    engine = Nodes(has={"a": DIGEST})
    image = distribution(engine, docker, context)

    image.begin(ignore)
    image.bring(["a"], ignore)

    assert docker.calls("docker build") == []


def test_a_build_that_fails_ends_the_start_with_its_cause(docker: StandIns, context: Path) -> None:
    docker.answer("docker build", err="ERROR: No matching distribution found for ray==2.60.0\n", code=1)
    image = distribution(Nodes(), docker, context)
    said: list[str] = []

    image.begin(said.append)

    with pytest.raises(InfraError, match="No matching distribution") as failed:
        image.bring(["a"], ignore)
    assert "there is no image: `docker build` ended with exit code 1" in said[-1]
    assert "--build-args" in failed.value.remedy


def test_a_build_that_nobody_waits_for_is_ended_and_nothing_of_it_runs_on(docker: StandIns, context: Path) -> None:
    docker.answer("docker build", "Step 1/1 : FROM scratch\n", then="sleep 600\n")
    image = distribution(Nodes(), docker, context)
    begin(image, "image: step")

    image.stop()

    assert not any(thread.name == "image" for thread in threading.enumerate())
    image.stop()


def test_an_archive_that_nobody_waits_for_is_ended_and_removed(docker: StandIns, context: Path) -> None:
    docker.answer("docker save", then='touch "$3"; sleep 600\n')
    image = distribution(Nodes(), docker, context)
    begin(image, "saving")

    image.stop()

    assert not any(thread.name == "image" for thread in threading.enumerate())
    assert not any(Path(call.split()[3]).parent.exists() for call in docker.calls("docker save"))


def test_a_build_that_has_not_begun_yet_when_it_is_stopped_never_does(docker: StandIns, context: Path) -> None:
    (docker.place / "wait").touch()
    wait = f"while [ -e '{docker.place}/wait' ]; do sleep 0.02; done\n"
    docker.answer("docker image inspect", err="Error: No such image: it", code=1, then=wait)
    docker.answer("docker build", then="sleep 600\n")
    image = distribution(Nodes(), docker, context)
    image.begin(ignore)
    release = threading.Timer(0.2, (docker.place / "wait").unlink)
    release.start()

    image.stop()

    release.join()
    assert not any(thread.name == "image" for thread in threading.enumerate())


def test_stopping_ends_no_build_of_another_run(docker: StandIns, context: Path) -> None:
    docker.answer("docker build", "Step 1/1 : FROM scratch\n", then="sleep 600\n")
    image = distribution(Nodes(), docker, context)
    command = f"docker build --tag {image.reference} . & echo $!; wait"
    theirs = subprocess.Popen(
        ["/bin/sh", "-c", command], env=docker.environ, stdout=subprocess.PIPE, start_new_session=True
    )
    begin(image, "image: step")

    image.stop()

    assert theirs.poll() is None
    os.killpg(theirs.pid, signal.SIGKILL)
    theirs.communicate(timeout=20)


def test_an_image_that_is_to_be_pushed_is_built_first_and_used_by_its_pushed_name_and_digest(
    docker: StandIns, context: Path
) -> None:
    image = distribution(Nodes("context", there=True), docker, context, push=REGISTRY)
    name = f"{REGISTRY}/{image.reference.removeprefix('docker.io/')}"
    pushed = [{"Size": 1, "RepoDigests": [f"{name.rpartition(':')[0]}@{DIGEST}"], "Config": {}}]
    docker.answer("docker build", then=_from_now_on(docker, json.dumps(pushed)))

    image.begin(ignore)
    found = image.bring(["a"], ignore)

    assert found == (f"{name}@{DIGEST}", False, {})
    assert [each.split()[1] for each in docker.calls() if "inspect" not in each] == ["build", "tag", "push"]


def test_a_ready_made_image_is_used_as_it_is_on_a_cluster_of_somebody_else(docker: StandIns, context: Path) -> None:
    image = distribution(Nodes("context", there=True), docker, context, image=READY_MADE)

    image.begin(ignore)

    assert image.bring(["a"], ignore) == (READY_MADE, False, {})
    assert docker.calls() == []


@pytest.mark.parametrize(
    ("name", "settings", "problems", "needs_docker"),
    [
        ("context", {}, ["cannot be reached from here.*--push.*--image"], True),
        ("context", {"push": REGISTRY}, [], True),
        ("context", {"image": READY_MADE}, [], False),
        ("context", {"image": READY_MADE, "push": REGISTRY}, ["were both given"], False),
        ("minikube", {}, [], True),
    ],
)
def test_what_is_missing_is_said_before_and_docker_only_where_it_is_needed(
    docker: StandIns, context: Path, name: str, settings: dict[str, str], problems: list[str], needs_docker: bool
) -> None:
    image = distribution(Nodes(name), docker, context, **settings)
    docker.environ["PATH"] = str(context)
    without_docker = distribution(Nodes(name), docker, context, **settings)

    for made, lacks in ((image, problems), (without_docker, problems + ["docker is not on PATH."] * needs_docker)):
        found = [f"{problem.what} {problem.remedy}" for problem in made.preflight()]
        assert len(found) == len(lacks)
        assert all(re.search(words, problem) for words, problem in zip(lacks, found, strict=True))


def test_the_versions_in_an_image_of_ours_are_those_of_its_recipe(docker: StandIns, context: Path) -> None:
    said = distribution(Nodes(), docker, context).versions()

    assert said["image_ray"] == "2.60.0"
    assert said["image_python"] == said["client_python"]
    assert docker.calls() == []


def test_the_versions_in_a_ready_made_image_are_those_of_its_labels_and_unknown_without_it(
    docker: StandIns, context: Path
) -> None:
    image = distribution(Nodes("context", there=True), docker, context, image=READY_MADE)
    assert image.versions()["image_ray"] is None

    labels = {"ray-train-e2e.python": "3.11", "ray-train-e2e.ray": "2.60.0", "ray-train-e2e.tensorflow": "2.19.0"}
    docker.answer("docker image inspect", json.dumps([{"Config": {"Labels": labels}}]))

    assert (image.versions()["image_ray"], image.versions()["image_python"]) == ("2.60.0", "3.11")


def test_an_image_for_gpus_is_a_variant_of_its_own(docker: StandIns, context: Path) -> None:
    plain = ImageDistribution(Nodes(), KubernetesSettings(), docker.environ, context=context)
    cuda = ImageDistribution(Nodes(), KubernetesSettings(), docker.environ, context=context, gpus=True)

    assert cuda.reference != plain.reference
