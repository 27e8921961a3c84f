"""The Minikube engine once a cluster is up: images in its nodes, what is asked of it, and its end without a trace."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from fixtures.clusters.evidence import FILE_BYTES
from fixtures.clusters.kubernetes.access import docker as node_containers
from fixtures.clusters.kubernetes.access.docker import full_name, parse_images
from fixtures.clusters.kubernetes.engines.minikube import MinikubeEngine
from fixtures.errors import InfraError
from fixtures.system.resources import GIB
from tests.stand_ins.kubernetes_store import ignore
from tests.stand_ins.stand_in import docker_ps, recorded
from tests.unit.minikube_world import INFO, ROOMY, World

DIGEST = "sha256:5a42604be16a427e9972e5e79429b8a1998f18d17290a19d105b987f9af095d2"
IMAGES = json.dumps({"images": [{"id": DIGEST, "repoTags": ["docker.io/e2e/trainer:4f1c"], "repoDigests": []}]})


linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Docker runs in a virtual machine")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.check()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    file = tmp_path / "image.tar"
    file.write_bytes(b"layers")
    return file


@pytest.mark.parametrize(
    ("runtime", "command"),
    [
        ("containerd", "docker exec --interactive rig2-m02 ctr --namespace=k8s.io images import -"),
        ("docker", "docker exec --interactive rig2-m02 docker load"),
        ("cri-o", "docker exec --interactive rig2-m02 podman load"),
    ],
)
def test_an_archive_is_fed_to_the_nodes_own_runtime(world: World, archive: Path, runtime: str, command: str) -> None:
    world.answer("docker exec", feed=True)
    engine = world.engine(container_runtime=runtime)

    engine.import_image(["rig2-m02"], archive, ignore)

    assert world.calls("docker exec") == [command]
    assert world.fed("docker exec") == "layers"


@pytest.mark.parametrize(
    ("file", "runtime", "cause"),
    [
        ("image.tar", "containerd", "no space left on device"),
        ("missing.tar", "containerd", r"missing\.tar cannot be read"),
        ("image.tar", "gvisor", "container runtime gvisor"),
    ],
)
def test_an_import_that_fails_is_infra_with_its_cause(
    world: World, archive: Path, file: str, runtime: str, cause: str
) -> None:
    world.answer("docker exec", err="ctr: no space left on device\n", code=1)

    with pytest.raises(InfraError, match=cause):
        world.engine(container_runtime=runtime).import_image(["rig2", "rig2-m02"], archive.with_name(file), ignore)


def test_all_nodes_are_fed_at_once_and_each_says_when_it_has_the_image(world: World, archive: Path) -> None:
    both = "until [ $(grep -c '^docker exec' calls) = 2 ]; do sleep 0.02; done\n"  # would wait for ever one by one
    world.answer("docker exec", then=both)
    said: list[str] = []

    world.engine().import_image(["rig2", "rig2-m02"], archive, said.append)

    assert sorted(re.sub(r"\d+ s$", "N s", line) for line in said) == [
        "image brought to rig2 in N s",
        "image brought to rig2-m02 in N s",
    ]


def test_other_drivers_load_and_list_images_through_minikube(world: World, archive: Path) -> None:
    world.answer("minikube image")
    world.answer("minikube ssh", IMAGES)
    engine = world.engine(driver="kvm2")

    engine.import_image(["rig2", "rig2-m02"], archive, ignore)

    assert world.calls("minikube image") == [f"minikube image load {archive} --profile rig2"]
    assert engine.image_on("rig2-m02", "docker.io/e2e/trainer:4f1c") == DIGEST
    assert "--node rig2-m02 -- sudo crictl images --output json" in world.calls("minikube ssh")[0]
    assert world.calls("docker") == []


def test_an_image_is_known_by_its_full_name_in_the_nodes_own_list(world: World) -> None:
    world.answer("docker exec", IMAGES)
    engine = world.engine()

    assert engine.image_on("rig2-m02", "docker.io/e2e/trainer:4f1c") == DIGEST
    assert engine.image_on("rig2-m02", "e2e/trainer:4f1c") == DIGEST
    assert engine.image_on("rig2-m02", "docker.io/e2e/trainer:0000") is None
    assert world.calls("docker exec")[0] == "docker exec rig2-m02 crictl images --output json"


def test_the_recorded_list_of_a_real_node_is_read_and_none_is_infra() -> None:
    listed = recorded("crictl-images.json")

    assert parse_images(listed, "registry.k8s.io/pause:3.10.1") == (
        "sha256:8fbc445353f043ef92bf2cb5727255c0533d764f9323daa808bfd4ab77abd1b0"
    )
    assert parse_images(listed, "kindest/kindnetd:v20260213-ea8e5717") is not None
    assert parse_images(listed, "docker.io/none:1") is None
    assert parse_images('{"images": null}', "a") is None
    with pytest.raises(InfraError, match="crictl printed no list"):
        parse_images("FATA[0000] connect: no such file", "a")


def test_the_recorded_containers_of_two_real_clusters_are_told_apart_by_their_names(world: World) -> None:
    world.answer("docker ps", recorded("docker-ps-minikube.jsonl"))

    found = {profile: world.engine(profile).status().missing for profile in ("rig", "ray-train-e2e", "ray", "rig-m02")}

    assert "exists (container rig, container rig-m02)," in found["rig"]
    assert "exists (container ray-train-e2e)," in found["ray-train-e2e"]
    assert "does not exist" in found["ray"]
    assert "exists (container rig-m02)," in found["rig-m02"]


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("docker.io/busybox:1", "docker.io/library/busybox:1"),
        ("rig/ray:2.60.0", "docker.io/rig/ray:2.60.0"),
        ("localhost:5000/ray", "localhost:5000/ray:latest"),
        ("quay.io/kuberay/operator:v1.7.0", "quay.io/kuberay/operator:v1.7.0"),
        ("docker.io/a/b@sha256:0", "docker.io/a/b@sha256:0"),
    ],
)
def test_names_are_compared_as_containerd_writes_them(name: str, full: str) -> None:
    assert full_name(name) == full


def test_down_removes_profile_containers_volumes_and_network_and_proves_it(world: World) -> None:
    world.engine().down()
    assert world.calls() == [], "a run that made nothing removes nothing"
    engine = world.up()
    world.answer("docker volume ls", "rig2\nrig2-m02\nrig\nrig2-other\n")
    world.answer("docker network ls", "rig\nrig2\n")

    engine.down()
    engine.down()

    assert world.calls("minikube delete") == ["minikube delete --output=json --profile rig2"]
    assert world.calls("docker volume")[-1] == "docker volume rm rig2 rig2-m02"
    assert world.calls("docker network")[-1] == "docker network rm rig2"
    assert all("label=created_by.minikube.sigs.k8s.io=true" in call for call in world.calls("docker network ls"))
    assert not engine.folder.exists()


def test_a_node_that_minikube_forgot_is_removed_as_well(world: World) -> None:
    """Minikube labels a worker with its own name and finds it through its configuration only."""
    engine = world.up()
    world.answer("minikube delete", then=world.gone() + world.later("docker ps", docker_ps("rig2-m02")))
    world.answer("docker rm", then=world.later("docker ps", ""))

    engine.down()

    assert world.calls("docker rm") == ["docker rm --force --volumes xrig2-m02"]


def test_what_is_left_after_down_is_infra_and_stays_ours(world: World) -> None:
    engine = world.up()
    world.answer("minikube delete", recorded("minikube-delete.jsonl"))

    with pytest.raises(
        InfraError, match=r"left container rig2, container rig2-m02, profile rig2 in .*: Removed all traces"
    ):
        engine.down()
    world.answer("minikube delete", then=world.gone())
    engine.down()

    assert not engine.folder.exists()


def test_metrics_are_asked_for_and_their_failure_is_told_only(world: World) -> None:
    world.engine().enable_metrics(world.said.append)
    world.answer("minikube addons", err="X Exiting due to MK_ADDON_ENABLE: no image\n", code=10)
    world.engine().enable_metrics(world.said.append)

    assert "is asked for" in world.said[0]
    assert world.said[1].startswith("minikube: no metrics-server: ")
    assert "MK_ADDON_ENABLE" in world.said[1]


def test_evidence_is_bounded_without_credentials_and_never_raises(world: World) -> None:
    world.left_by_another_run()
    engine = world.engine()
    (engine.folder / "start.jsonl").write_text("{}")
    world.answer("minikube logs", "x" * (FILE_BYTES + 100) + " via http://user:secret@proxy:3128")
    world.answer("minikube status", err="broken", code=80)
    world.answer("docker inspect", "no json")

    found = engine.evidence()

    assert set(found) == {
        "minikube-start.jsonl",
        "minikube-status.json",
        "minikube-profiles.json",
        "minikube-logs.txt",
        "docker-inspect.json",
    }
    assert len(found["minikube-logs.txt"]) <= FILE_BYTES
    assert found["minikube-logs.txt"].endswith("via http://[credentials]@proxy:3128")
    assert found["docker-inspect.json"].startswith("not to be had")
    assert MinikubeEngine("rig2", 2, {"PATH": "/nonexistent", "HOME": "/nonexistent"}).evidence()


def test_evidence_of_containers_has_their_state_but_not_their_environment(world: World) -> None:
    world.left_by_another_run()
    inspected = {
        "Name": "/rig2",
        "State": {"OOMKilled": True},
        "Config": {"Env": ["HTTP_PROXY=http://u:p@proxy"]},
        "HostConfig": {"Memory": 6442450944, "Binds": []},
    }
    world.answer("docker inspect", json.dumps([inspected]))

    text = world.engine().evidence()["docker-inspect.json"]

    (container,) = json.loads(text)
    assert (container["State"], container["HostConfig"]["Memory"]) == ({"OOMKilled": True}, 6442450944)
    assert "HTTP_PROXY" not in text


@linux
def test_processes_are_all_that_descend_from_the_nodes_and_roots_are_asked_for_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = psutil.Process()
    world.answer("docker exec", node_containers.BOOT_ID.read_text())
    world.answer("docker inspect", f"/rig2 {mine.pid}\n/rig2-m02 {mine.pid}\n")
    assert world.engine(nodes=1).processes() is None, "this test is the first process of no namespace"
    monkeypatch.setattr(node_containers, "is_init", lambda pid: True)
    engine = world.engine()
    looks = len(world.calls("docker inspect"))

    found = engine.processes()
    engine.processes()

    assert found is not None
    assert mine.pid in found
    assert mine.ppid() not in found
    assert len(world.calls("docker inspect")) == looks + 1


def test_nodes_on_another_kernel_have_no_processes_and_no_address_here(world: World) -> None:
    world.answer("docker exec", "0000-another-boot\n")
    engine = world.engine()

    assert engine.processes() is None
    assert engine.address() is None
    assert world.engine(driver="kvm2").processes() is None


@linux
def test_the_address_is_the_control_planes_on_this_kernel(world: World) -> None:
    world.answer("docker exec", node_containers.BOOT_ID.read_text())
    world.answer("minikube ip", "192.168.49.2\n")

    assert world.engine().address() == "192.168.49.2"
    assert world.engine().node_port is None


def test_usable_cores_are_the_machines_not_what_nodes_claim_and_a_roomy_machine_lacks_nothing(world: World) -> None:
    assert world.engine().usable_cores() == 4
    assert world.engine().preflight() == ()
    world.answer("docker info", INFO.replace('"NCPU": 4', '"NCPU": 2'))
    assert world.engine().usable_cores() == 2, "Docker may run in a smaller virtual machine"


def test_everything_that_is_missing_is_said_at_once_with_its_remedy(world: World, tmp_path: Path) -> None:
    engine = MinikubeEngine("-", 2, {"PATH": str(tmp_path), "HOME": str(tmp_path)})

    problems = engine.preflight()

    assert [problem.what for problem in problems] == [
        "Minikube does not accept the profile name '-'.",
        "minikube is not on PATH.",
        "docker is not on PATH.",
    ]
    assert all(problem.remedy for problem in problems)


def test_too_little_memory_and_too_few_cores_are_said_before_anything_starts(world: World) -> None:
    world.answer("docker info", json.dumps({"NCPU": 2, "MemTotal": 8 * GIB}))

    problems = world.engine(cpus=4, memory=6144, nodes=2).preflight()
    small = world.engine(cpus=2, memory=1024).preflight()

    assert [problem.what for problem in problems] == [
        "A node of 4 CPUs was asked for, Docker has 2.",
        "2 nodes of 6144 MiB need 12.0 GiB of memory, 8.0 GiB are free.",
    ]
    assert [problem.what for problem in small] == ["A node of 1024 MiB was asked for, Kubernetes needs 1800 MiB."]


def test_memory_of_this_machines_cgroup_counts_until_the_cluster_is_there(world: World) -> None:
    tight = world.engine(read=lambda place: replace(ROOMY, memory=4 * GIB))

    (problem,) = tight.preflight()
    world.left_by_another_run()

    assert "4.0 GiB are free" in problem.what
    assert tight.preflight() == ()


def test_a_docker_that_does_not_answer_or_is_that_inside_a_cluster_is_said(world: World) -> None:
    answers: list[dict[str, Any]] = [{"err": "Cannot connect\n", "code": 1}, {"out": '{"ServerErrors": ["No answer"]}'}]
    for answer in answers:
        world.answer("docker info", **answer)
        (problem,) = world.engine().preflight()
        assert problem.what.startswith("Docker does not answer")
        assert "without sudo" in problem.remedy

    world.environ["MINIKUBE_ACTIVE_DOCKERD"] = "other"
    (problem,) = world.engine().preflight()
    assert "inside Minikube's cluster other" in problem.what
    assert problem.remedy == "Run `eval $(minikube docker-env --unset)`."
