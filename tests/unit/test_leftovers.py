"""What `gc` removes, and what it leaves: clusters, images and archives of earlier runs."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.cli.leftovers import Leftovers
from fixtures.clusters.kubernetes.image.image import ARCHIVE
from fixtures.clusters.kubernetes.image.node_images import unused
from fixtures.clusters.kubernetes.image.recipe import REPOSITORY
from fixtures.errors import InfraError
from fixtures.measure.workloads import PREFIX
from fixtures.settings.kubernetes import KubernetesSettings
from fixtures.system import leases
from fixtures.system.leases import Lease, Ownership
from tests.stand_ins.stand_in import docker_ps
from tests.unit.minikube_world import NO_PROCESS, World

OLD = f"{REPOSITORY}:000000000000"
KEPT = Lease(NO_PROCESS, kept=True)


class Site(World):
    """A machine with a run directory, Minikube's home, and a folder to build an image from."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.environ["XDG_CACHE_HOME"] = str(place / "cache")
        (place / "image").mkdir()
        (place / "image" / "Dockerfile").write_text("FROM scratch\n")
        self.answer("docker image")
        self.answer("docker exec", json.dumps({"images": [], "containers": []}))

    def gc(self) -> bool:
        places, context = [self.place], self.place / "image"
        settings = KubernetesSettings(minikube_home=self.home)
        return Leftovers(settings, self.environ, self.said.append, places=places, context=context).remove()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.check()


def test_embedded_clusters_go_kept_or_not_and_where_nothing_was_left_nothing_is_said(site: Site) -> None:
    assert not site.gc()
    assert site.said == []

    for name, lease in (("rte-kept", KEPT), ("rte-left", replace(KEPT, kept=False))):
        (site.place / name).mkdir()
        leases.write_lease(site.place / name, lease)
    assert site.gc()
    assert site.said == [f"removed the embedded cluster in {site.place / name}" for name in ("rte-kept", "rte-left")]


def test_a_minikube_cluster_that_a_killed_run_left_goes(site: Site) -> None:
    site.left_by_another_run(kept=False)

    site.gc()

    assert site.said == ["removing what an earlier run had left: Minikube's profile rig2"]
    assert len(site.calls("minikube delete")) == 1


def test_a_kept_minikube_cluster_stays_and_is_named_with_the_way_to_remove_it(site: Site) -> None:
    site.left_by_another_run()
    before = leases.read_lease(site.engine().folder)

    site.gc()

    (line,) = site.said
    assert line.startswith("Minikube's profile rig2 was kept and stays")
    assert f"python -m fixtures down --cluster=minikube --profile=rig2 --minikube-home={site.home}`" in line
    assert site.calls("minikube delete") == []
    assert leases.read_lease(site.engine().folder) == before


def test_the_cluster_of_a_run_that_still_goes_on_is_no_leftover(site: Site) -> None:
    engine = site.up()
    site.said.clear()

    site.gc()

    assert site.said == []
    engine.down()


def test_a_cluster_that_cannot_be_removed_does_not_save_the_rest(site: Site) -> None:
    site.left_by_another_run(kept=False)
    site.answer("minikube delete", code=1)
    site.answer("docker rm", code=1, err="daemon is busy\n")
    site.answer("docker image ls", f"{OLD} sha256:1\n")
    site.answer("docker image rm")

    with pytest.raises(InfraError, match="daemon is busy"):
        site.gc()

    assert site.said[-1] == f"removed {OLD}"


def test_older_images_go_from_this_machine_and_a_docker_that_is_absent_or_silent_is_no_failure(site: Site) -> None:
    site.answer("docker image ls", f"{OLD} sha256:1\n")
    site.answer("docker image rm")
    assert site.gc()
    assert site.said == [f"removed {OLD}"]

    site.answer("docker image ls", err="Cannot connect to the Docker daemon\n", code=1)
    site.gc()
    assert "were not looked at" in site.said[-1]

    asked, lines = site.calls(), list(site.said)
    site.environ["PATH"] = str(site.home)  # the machine that runs this test may have a Docker, with images
    site.gc()
    assert (site.calls(), site.said) == (asked, lines)


def test_the_image_that_a_kept_cluster_uses_stays_whatever_this_checkout_needs(site: Site) -> None:
    site.left_by_another_run()
    engine = site.engine()
    engine.attach()
    engine.note_image(OLD)
    engine.keep_running()
    site.answer("docker image ls", f"{OLD} sha256:1\n")
    images = [{"id": "sha256:1", "repoTags": [OLD]}]
    site.answer("docker exec", json.dumps({"images": images, "containers": []}))

    site.gc()

    assert [call for call in site.calls("docker") if " rm" in call] == []


def test_a_cluster_in_another_home_of_minikube_is_found_without_being_told(site: Site) -> None:
    site.up().keep_running()
    site.said.clear()
    home, site.home = site.home, site.place / "nowhere"

    site.gc()

    (line,) = site.said
    assert f"--profile=rig2 --minikube-home={home}` removes it" in line


def test_older_images_go_from_the_nodes_of_a_kept_cluster_that_run(site: Site) -> None:
    site.left_by_another_run()
    site.answer("docker ps", docker_ps("rig2") + docker_ps("rig2-m02", state="exited"))
    images = [{"id": "sha256:1", "repoTags": [OLD]}, {"id": "sha256:2", "repoTags": ["docker.io/library/other:1"]}]
    site.answer("docker exec", json.dumps({"images": images, "containers": []}))

    site.gc()

    assert [call for call in site.calls("docker exec") if "rmi" in call] == ["docker exec rig2 crictl rmi sha256:1"]
    assert site.said[0] == f"removed {OLD} on rig2"


def test_an_image_on_a_node_is_unused_when_it_is_ours_is_not_kept_and_no_container_has_it() -> None:
    def image(number: int, *names: str) -> dict[str, object]:
        digests = [f"{name.partition(':')[0]}@sha256:d{number}" for name in names]
        return {"id": f"sha256:{number}", "repoTags": list(names), "repoDigests": digests}

    keep, current, by_digest, shared = (f"{REPOSITORY}:{digit * 12}" for digit in "1234")
    ours = [(keep,), (OLD,), (current,), (shared, "docker.io/somebody/else:1"), (by_digest,)]
    images = [image(number, *tags) for number, tags in enumerate([*ours, ("docker.io/rayproject/ray:2.60.0",), ()], 1)]
    used = [("sha256:x", current), ("sha256:5", "x")]
    containers = [{"image": {"image": name}, "imageRef": reference} for reference, name in used]

    assert unused(images, containers, [keep]) == {"sha256:2": OLD}


@pytest.mark.parametrize("prefix", [ARCHIVE, PREFIX])
def test_archives_of_images_and_data_of_trainings_go_when_nobody_uses_them_any_more(site: Site, prefix: str) -> None:
    left, owned = site.place / f"{prefix}left", site.place / f"{prefix}owned"
    for folder in (left, owned):
        folder.mkdir()
        (folder / "image.tar").write_text("layers")
    ownership = Ownership.take(owned)

    site.gc()

    assert site.said == [f"removed {left}"]
    assert ownership is not None
    ownership.release()
    site.gc()
    assert not owned.exists()
