"""The kind engine against stand-ins: what it makes, adopts, refuses and removes."""

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.clusters.kubernetes.engines.kind import KindEngine, cluster_config, failure, not_ready
from fixtures.errors import InfraError
from fixtures.system import leases
from fixtures.system.leases import Lease
from fixtures.system.programs import Completed
from fixtures.system.resources import GIB
from tests.stand_ins.stand_in import StandIns, docker_ps, recorded
from tests.unit.minikube_world import INFO, NO_PROCESS, ROOMY

NAMES = ("e2e-control-plane", "e2e-worker")
IMAGE = "kindest/node:v1.34.0"


def node_list(*names: str, ready: str = "True") -> str:
    condition = {"type": "Ready", "status": ready, "message": "container runtime network not ready"}
    return json.dumps(
        {"items": [{"metadata": {"name": each}, "status": {"conditions": [condition]}} for each in names]}
    )


class KindWorld(StandIns):
    """A machine on which `kind create cluster` makes e2e, two nodes, and `kind delete cluster` removes it."""

    def __init__(self, place: Path) -> None:
        super().__init__(place, ("kind", "docker"))
        self.home = place / "home"
        self.said: list[str] = []
        for command in ("docker ps", "docker rm", "kind export"):
            self.answer(command)
        self.answer("docker info", INFO)
        self.answer("docker exec", node_list(*NAMES))
        self.answer("kind create", err=" • Preparing nodes 📦 📦  ...\n ✓ Preparing nodes 📦 📦 \n", then=self.made())
        self.answer("kind delete", then=self.later("docker ps", ""))

    def made(self) -> str:
        return self.later("docker ps", docker_ps(*NAMES, image=IMAGE))

    def engine(self, nodes: int = 2, **options: object) -> KindEngine:
        given = {"home": self.home, "pytest_kind": False, "read": lambda place: ROOMY, "ready_seconds": 0.1}
        return KindEngine("e2e", nodes, self.environ, **{**given, **options})  # type: ignore[arg-type]

    def up(self, **options: object) -> KindEngine:
        engine = self.engine(**options)  # type: ignore[arg-type]
        engine.up(self.said.append)
        return engine

    def left_by_another_run(self, *, kept: bool = True) -> None:
        folder = self.home / "e2e"
        folder.mkdir(parents=True)
        noted = {"containers": [f"x{name}" for name in NAMES], "node_port": 30999}
        leases.write_lease(folder, Lease(NO_PROCESS, kept, noted))
        self.answer("docker ps", docker_ps(*NAMES, image=IMAGE))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[KindWorld]:
    world = KindWorld(tmp_path)
    yield world
    assert not [call for call in world.calls("kind delete") if "--name=e2e" not in call]


def test_a_cluster_is_a_control_plane_that_runs_pods_and_workers_with_one_port_on_loopback() -> None:
    config = cluster_config(3, 30265)

    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker", "worker"]
    first = config["nodes"][0]
    assert json.loads(first["kubeadmConfigPatches"][0])["nodeRegistration"] == {"taints": []}
    assert first["extraPortMappings"] == [
        {"containerPort": 30265, "hostPort": 30265, "listenAddress": "127.0.0.1", "protocol": "TCP"}
    ]


def test_a_new_cluster_is_made_from_that_configuration_and_its_nodes_are_awaited(world: KindWorld) -> None:
    assert world.engine().address() is None, "before it is up"
    engine = world.up(image=IMAGE)

    folder = world.home / "e2e"
    assert world.calls("kind create") == [
        f"kind create cluster --name=e2e --kubeconfig={folder}/kubeconfig --config={folder}/config.json "
        f"--image={IMAGE} --retain"
    ]
    written = json.loads((folder / "config.json").read_text())
    assert written == cluster_config(2, engine.node_port, engine.grafana_port)
    assert world.said[:2] == ["kind: making cluster e2e of 2 nodes", "kind: Preparing nodes 📦 📦 ..."]
    assert world.said[-1].startswith("kind: all 2 nodes are ready")
    assert (engine.address(), engine.context) == ("127.0.0.1", "kind-e2e")


def test_nodes_that_do_not_get_ready_are_infra_with_their_message(world: KindWorld) -> None:
    world.answer("docker exec", node_list(*NAMES, ready="False"))

    with pytest.raises(InfraError, match=r"e2e-control-plane \(container runtime network not ready\)"):
        world.up()


@pytest.mark.parametrize(
    ("text", "nodes", "why"),
    [
        (node_list(*NAMES), 2, ""),
        (node_list(NAMES[0]), 2, "1 of 2 nodes"),
        ('{"items": [{"metadata": {"name": "a"}}]}', 2, "nodes that are not ready: a (no word)"),
        ("{}", 2, "0 of 2 nodes"),
        (recorded("nodes-2.json"), 2, ""),
        (recorded("nodes-2.json"), 3, "2 of 3 nodes"),
    ],
)
def test_ready_means_that_every_node_says_so(text: str, nodes: int, why: str) -> None:
    assert not_ready(json.loads(text), nodes) == why


@pytest.mark.parametrize(
    ("said", "cause", "remedy"),
    [
        (recorded("kind-create-err-noimage.stderr"), "failed to pull image.*no such host", "bring the node image"),
        (
            'ERROR: failed to create cluster: command "docker run" failed with error: exit status 125\n'
            "Command Output: docker: Error response from daemon: Bind for 127.0.0.1:30265 failed: port is already "
            "allocated.\n",
            "port is already allocated",
            "run again",
        ),
        ("ERROR: failed to create cluster: failed to init node with kubeadm: exit status 1\n", "kubeadm", "memory"),
        ("unknown flag: --x\n", "unknown flag", "evidence"),
    ],
)
def test_a_failure_has_kinds_words_and_what_to_do(said: str, cause: str, remedy: str) -> None:
    error = failure(Completed(1, "", said))

    assert re.search(cause, error.cause)
    assert remedy in error.remedy


def test_a_failed_creation_keeps_the_nodes_for_the_evidence_until_down(world: KindWorld) -> None:
    world.answer("kind create", err="ERROR: failed to create cluster: x\n", code=1, then=world.made())
    world.answer("docker logs", "boot log")
    engine = world.engine()

    with pytest.raises(InfraError, match="failed to create cluster: x"):
        engine.up(world.said.append)
    found = engine.evidence()
    engine.down()

    assert found["kind-create.txt"].strip() == "ERROR: failed to create cluster: x"
    assert found["e2e-worker-boot.txt"] == "boot log"
    assert len(world.calls("kind delete")) == 1
    assert not (world.home / "e2e").exists()


@pytest.mark.parametrize("marked", [False, True])
def test_nodes_that_are_not_ours_are_never_touched(world: KindWorld, marked: bool) -> None:
    cause = r"kind's cluster e2e exists already \(node e2e-control-plane, node e2e-worker\)"
    if marked:  # somebody made one after ours were removed
        world.left_by_another_run()
        cause = "The containers e2e-worker have the names of kind's cluster e2e but were not made by it"
    world.answer("docker ps", docker_ps(*NAMES, image=IMAGE).replace('"xe2e-worker"', '"other"'))
    engine = world.engine()

    with pytest.raises(InfraError, match=cause):
        engine.up(world.said.append)
    engine.down()

    assert world.calls("kind") == []


def test_a_cluster_of_ours_is_adopted_with_its_port(world: KindWorld) -> None:
    world.left_by_another_run()

    engine = world.up(image=IMAGE)

    assert engine.node_port == 30999
    assert world.said == ["kind: adopted our cluster e2e, all 2 nodes are ready"]
    assert world.calls("kind create") == []
    assert len(world.calls("kind export kubeconfig")) == 1


def test_a_kept_cluster_of_another_shape_stays(world: KindWorld) -> None:
    world.left_by_another_run()
    engine = world.engine(nodes=3, image="kindest/node:v1.35.0")

    with pytest.raises(InfraError, match=f"2 nodes instead of 3, node image {IMAGE} instead of kindest/node:v1.35.0"):
        engine.up(world.said.append)
    engine.down()

    assert world.calls("kind delete") == []


@pytest.mark.parametrize("wrong", ["stopped", "not ready", "too few"])
def test_a_leftover_that_does_not_serve_is_removed_and_made_anew(world: KindWorld, wrong: str) -> None:
    world.left_by_another_run(kept=wrong != "too few")
    again = world.made() + world.later("docker exec", node_list(*NAMES))
    world.answer("kind create", then=again)
    if wrong == "stopped":
        world.answer("docker ps", docker_ps(*NAMES, state="exited"))
    elif wrong == "not ready":
        world.answer("docker exec", node_list(*NAMES, ready="Unknown"))
    else:
        world.answer("docker ps", docker_ps(NAMES[0]))

    world.up()

    assert world.said[0].startswith("kind: an earlier run's cluster e2e has ")
    assert len(world.calls("kind delete")) == len(world.calls("kind create")) == 1


def test_what_is_left_after_down_is_removed_or_told(world: KindWorld) -> None:
    engine = world.up()
    world.answer("kind delete", err="ERROR: failed to delete nodes\n", code=1)

    with pytest.raises(InfraError, match=r"left e2e-control-plane, e2e-worker: ERROR: failed to delete nodes"):
        engine.down()
    world.answer("docker rm", then=world.later("docker ps", ""))
    engine.down()

    assert not (world.home / "e2e").exists()


def test_an_archive_is_fed_to_containerd_for_this_platform_only(world: KindWorld, tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(b"layers")
    world.answer("docker exec", feed=True)

    world.engine().import_image(["e2e-worker"], tmp_path / "image.tar", lambda _: None)

    assert world.calls("docker exec") == ["docker exec --interactive e2e-worker ctr --namespace=k8s.io images import -"]
    assert world.fed("docker exec") == "layers"


def test_everything_that_is_missing_is_said_at_once(world: KindWorld, tmp_path: Path) -> None:
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path)}

    problems = KindEngine("E2E", 2, environ).preflight()
    assert world.engine().preflight() == ()
    world.answer("docker info", json.dumps({"NCPU": 2, "MemTotal": 3 * GIB}))
    (memory,) = world.engine().preflight()
    world.environ["KIND_EXPERIMENTAL_PROVIDER"] = "podman"
    (podman,) = world.engine().preflight()

    assert [problem.what for problem in problems] == [
        "kind does not accept the cluster name 'E2E'.",
        "kind is not on PATH.",
        "docker is not on PATH.",
    ]
    assert memory.what == "2 nodes of 2048 MiB need 4.0 GiB of memory, 3.0 GiB are free."
    assert "KIND_EXPERIMENTAL_PROVIDER is podman" in podman.what


def test_pytest_kinds_class_makes_the_cluster_where_it_is_installed(
    world: KindWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its call is recorded from a process of its own; the class itself is a stand-in of the same signature."""
    package = world.place / "packages" / "pytest_kind"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import os, subprocess\n"
        "class KindCluster:\n"
        "    def __init__(self, name, kubeconfig=None, image=None, kind_path=None, kubectl_path=None):\n"
        "        self.command = [str(kind_path), 'create', 'cluster', f'--name={name}', f'--kubeconfig={kubeconfig}']\n"
        "        self.command += [f'--image={image}'] if image else []\n"
        "    def create(self, config_file=None):\n"
        "        assert os.getcwd() == str(config_file.parent)\n"
        "        subprocess.run([*self.command, '--config', str(config_file)], check=True)\n"
    )
    world.environ["PYTHONPATH"] = str(package.parent)

    world.up(pytest_kind=True, image=IMAGE)

    folder = world.home / "e2e"
    assert world.calls("kind create") == [
        f"kind create cluster --name=e2e --kubeconfig={folder}/kubeconfig --image={IMAGE} --config {folder}/config.json"
    ]


def test_a_failure_within_pytest_kinds_class_is_told_in_kinds_words(world: KindWorld) -> None:
    world.answer("kind get", err="No kind clusters found.\n")
    world.answer("kind create", err=recorded("kind-create-err-noimage.stderr"), code=1)

    if importlib.util.find_spec("pytest_kind") is None:
        pytest.skip("pytest-kind is not installed")
    with pytest.raises(InfraError, match=r"failed to pull image.*no such host"):
        world.up(pytest_kind=True)

    assert world.calls("kind get") == ["kind get clusters"]
    assert not any("Traceback" in line for line in world.said)
