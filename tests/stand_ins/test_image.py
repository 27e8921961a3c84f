"""The image reaches every node, and each node's own list is the proof; nothing is built that is there already."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fixtures.clusters.contract import Report
from fixtures.clusters.kubernetes.image.image import (
    archive_digest,
    bring,
    digests_of_pods,
    provide,
    require_same_digest,
)
from fixtures.clusters.kubernetes.image.recipe import Recipe
from fixtures.errors import InfraError
from tests.stand_ins.kubernetes_store import ignore
from tests.stand_ins.stand_in import write_archive

DATA = Path(__file__).parents[1] / "data"
NAME = "docker.io/ray-train-e2e/trainer:0123456789ab"
NODES = ("bench", "bench-m02")
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


class FakeNodes:
    """Nodes that keep what is imported, unless they are told to lie."""

    def __init__(self, *, liars: tuple[str, ...] = (), **has: str) -> None:
        self.has: dict[str, str] = {name.replace("_", "-"): digest for name, digest in has.items()}
        self.liars = liars
        self.imported: list[str] = []

    def import_image(self, nodes: Sequence[str], archive: Path, report: Report) -> None:
        self.imported += nodes
        self.has.update({node: archive_digest(archive, NAME) for node in nodes if node not in self.liars})

    def image_on(self, node: str, reference: str) -> str | None:
        return self.has.get(node)


class FakeBuilder:
    """Builds in no time, and notes what it was asked."""

    def __init__(self, digest: str = A, *, has: bool = False) -> None:
        self.digest, self.there = digest, has
        self.done: list[str] = []

    def has(self, reference: str) -> bool:
        self.done.append("has")
        return self.there

    def build(self, recipe: Recipe, report: Report, *, fresh: bool) -> None:
        self.done.append("build fresh" if fresh else "build")
        self.there = True

    def save(self, reference: str, archive: Path) -> None:
        if not self.there:
            raise InfraError(f"no image {reference}")
        self.done.append("save")
        write_archive(archive, f"{self.digest.removeprefix('sha256:')}.json", "ray-train-e2e/trainer:0123456789ab")


RECIPE = Recipe(Path("image"), {})


@pytest.mark.parametrize(
    ("has", "builder", "options", "done", "imported", "digest"),
    [
        pytest.param({"bench": A, "bench_m02": A}, FakeBuilder(), {}, [], [], A, id="present on every node"),
        pytest.param({}, FakeBuilder(), {}, ["has", "build", "save"], list(NODES), A, id="nowhere"),
        pytest.param({}, FakeBuilder(has=True), {}, ["has", "save"], list(NODES), A, id="in Docker"),
        pytest.param({"bench": A}, FakeBuilder(has=True), {}, ["has", "save"], ["bench-m02"], A, id="on one node"),
        pytest.param(
            {"bench": A, "bench_m02": B}, FakeBuilder(has=True), {}, ["has", "save"], ["bench-m02"], A, id="two images"
        ),
        pytest.param(
            {"bench": A, "bench_m02": A},
            FakeBuilder(B, has=True),
            {"rebuild": True},
            ["build fresh", "save"],
            list(NODES),
            B,
            id="to be rebuilt",
        ),
    ],
)
def test_every_node_gets_the_same_image_and_no_more_is_done_than_that_takes(
    has: Any,
    builder: FakeBuilder,
    options: dict[str, bool],
    done: list[str],
    imported: list[str],
    digest: str,
) -> None:
    nodes = FakeNodes(**has)

    assert provide(nodes, NODES, NAME, builder, ignore, recipe=RECIPE, **options) == dict.fromkeys(NODES, digest)

    assert (builder.done, nodes.imported) == (done, imported)


def test_a_ready_made_image_is_never_built() -> None:
    builder = FakeBuilder()

    with pytest.raises(InfraError, match="no image"):
        provide(FakeNodes(), NODES, NAME, builder, ignore)

    assert builder.done == []


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (FakeNodes(liars=("bench-m02",)), f"to every node as {A}, but bench-m02 has none"),
        (FakeNodes(liars=NODES, bench=B, bench_m02=B), f"but bench has {B}, bench-m02 has {B}"),
    ],
    ids=["nothing", "its old image"],
)
def test_what_a_node_kept_instead_is_named_whatever_the_import_said(
    tmp_path: Path, nodes: FakeNodes, said: str
) -> None:
    archive = write_archive(tmp_path / "image.tar", f"blobs/sha256/{'a' * 64}", NAME)

    with pytest.raises(InfraError, match=said):
        bring(nodes, NODES, NAME, archive, ignore)


@pytest.mark.parametrize("config", [f"blobs/sha256/{'a' * 64}", f"{'a' * 64}.json"], ids=["OCI", "before Docker 25"])
@pytest.mark.parametrize("tag", [NAME, NAME.removeprefix("docker.io/")])
def test_the_digest_in_an_archive_is_read_whatever_wrote_it(tmp_path: Path, config: str, tag: str) -> None:
    assert archive_digest(write_archive(tmp_path / "image.tar", config, tag), NAME) == A


def test_an_archive_of_another_image_and_one_that_is_cut_off_are_refused(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "image.tar", "x.json", "other:1")

    with pytest.raises(InfraError, match=f"The archive holds other:1 instead of {NAME}"):
        archive_digest(archive, NAME)
    for content in (b"", b"no archive"):
        archive.write_bytes(content)
        with pytest.raises(InfraError, match="cannot be read"):
            archive_digest(archive, NAME)


# pods


def pod(name: str, node: str, image: str) -> Mapping[str, Any]:
    statuses = [{"name": "sidecar", "imageID": "sha256:other"}, {"name": "ray-worker", "imageID": image}]
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [{"name": "ray-worker"}, {"name": "sidecar"}]},
        "status": {"containerStatuses": statuses},
    }


def test_real_pods_say_which_image_their_node_has() -> None:
    with gzip.open(DATA / "raycluster" / "pods-auth.json.gz") as file:
        real = json.load(file)["items"]

    digests = digests_of_pods(real)

    assert digests == {"rig": "sha256:8d20b60d1bc1392d3eca9f4bcac62ecfb66a0d2520d59bdbdd421319897d591f"}
    assert require_same_digest(digests, "rig/ray:2.60.0") == digests["rig"]


@pytest.mark.parametrize("image", ["sha256:aa", "hub.example/x@sha256:aa", "docker-pullable://x@sha256:aa"])
def test_every_runtimes_way_to_name_an_image_is_understood(image: str) -> None:
    assert digests_of_pods([pod("one", "m1", image)]) == {"m1": "sha256:aa"}


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([("m1", "")], "The pod p0 on node m1 does not say which image it runs"),
        (
            [("m1", "sha256:aa"), ("m1", "sha256:bb")],
            "on m1 run different images: sha256:aa and, in p1, sha256:bb",
        ),
        ([("m1", "sha256:aa"), ("m2", "sha256:bb")], f"same image {NAME}: m1 has sha256:aa, m2 has sha256:bb"),
        ([], "no node has it"),
    ],
)
def test_pods_that_do_not_say_or_run_different_images_or_none_are_errors(
    images: list[tuple[str, str]], said: str
) -> None:
    pods = [pod(f"p{index}", node, image) for index, (node, image) in enumerate(images)]

    with pytest.raises(InfraError, match=said):
        require_same_digest(digests_of_pods(pods), NAME)
