"""What is ours in a Kubernetes cluster, found by a later process: looked at, given back, made anew, removed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fixtures.clusters.contract import Report, Status
from fixtures.clusters.kubernetes import provider
from fixtures.clusters.kubernetes.access.api import MANAGER, Api
from fixtures.clusters.kubernetes.engines.context import ContextEngine
from fixtures.clusters.kubernetes.image.distribution import ImageDistribution
from fixtures.clusters.kubernetes.monitoring.monitoring import KubernetesMonitors
from fixtures.clusters.kubernetes.namespace.lease import Lease
from fixtures.clusters.kubernetes.namespace.namespace import MANAGED_BY, Namespace
from fixtures.clusters.kubernetes.operator.chart import Source
from fixtures.clusters.kubernetes.operator.operator import Operator
from fixtures.clusters.kubernetes.owned_resources import CONTENTS, OwnedResources
from fixtures.clusters.kubernetes.plan import Plan
from fixtures.clusters.kubernetes.provider import KubernetesProvider
from fixtures.clusters.kubernetes.raycluster import manifest
from fixtures.clusters.kubernetes.raycluster.raycluster import KubeRayCluster
from fixtures.clusters.kubernetes.status import Survey
from fixtures.errors import InfraError
from fixtures.settings.kubernetes import KubernetesSettings
from fixtures.system.paths import MANIFESTS
from tests.stand_ins.fake_helm import FakeHelm, deployment
from tests.stand_ins.fake_kubernetes import FakeKubernetes
from tests.unit.recordings import text

OURS = {MANAGED_BY: MANAGER}
SPACE = "ray-train-e2e"
IMAGE = "docker.io/rig/ray:2.60.0"


class StandInEngine(ContextEngine):
    """A context whose cluster is, if the test says so, one of ours."""

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(kubeconfig, None, {})
        self.owned = False
        self.inherited = True
        self.there = True
        self.images: Mapping[str, str] = {}
        self.done: list[str] = []

    def attach(self) -> bool:
        return self.there

    def give_back(self) -> None:
        self.done.append("given back")

    def down(self) -> None:
        self.done.append("down")

    def image_on(self, node: str, reference: str) -> str | None:
        return self.images.get(node)

    def stop(self, report: Report) -> None:
        self.done.append("stopped")


class Scene:
    """A Kubernetes cluster, and the provider of a process that has made nothing in it."""

    def __init__(self, fake: FakeKubernetes, folder: Path) -> None:
        self.fake = fake
        self.engine = StandInEngine(fake.kubeconfig(folder))
        self.api = Api(self.engine.kubeconfig, None, clock=fake.clock)
        supply = ImageDistribution(self.engine, KubernetesSettings(image=IMAGE), {})
        self.provider = KubernetesProvider(
            self.engine, supply, Plan(namespace=SPACE, workers=2, cpus=1), {}, cache=folder / "cache"
        )
        self.said: list[str] = []

    def put(self, kind: str, name: str, *, ours: bool, version: str = "v1", **body: Any) -> None:
        space = {} if kind == "Namespace" else {"namespace": SPACE}
        metadata = {"name": name, "labels": OURS if ours else {}, **space}
        self.fake.put({"apiVersion": version, "kind": kind, "metadata": metadata, **body})

    def left_by_another_process(self, *, namespace: bool = True, ray: bool = True) -> None:
        self.put("Namespace", SPACE, ours=namespace)
        self.put("Secret", "e2e", ours=True, data={"auth_token": "dA=="})
        if ray:
            self.put("RayCluster", "e2e", ours=True, version="ray.io/v1")

    def names(self, kind: str) -> list[str]:
        return [each["metadata"]["name"] for each in self.api.list(kind)]

    def changed(self) -> list[str]:
        return [f"{each.method} {each.path.rsplit('/', 1)[1]}" for each in self.fake.requests if each.method != "GET"]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with FakeKubernetes() as fake:
        monkeypatch.setattr(provider, "Tool", lambda name, environ: FakeHelm(fake))
        yield Scene(fake, tmp_path)


def test_in_somebody_elses_cluster_without_anything_of_ours_there_is_nothing_to_claim_or_remove(scene: Scene) -> None:
    scene.put("Namespace", SPACE, ours=False)
    scene.put("RayCluster", "e2e", ours=False, version="ray.io/v1")

    assert not scene.provider.claim(scene.said.append)
    scene.provider.down()
    scene.engine.there = False

    assert not scene.provider.claim(scene.said.append)
    assert scene.changed() == []


def test_what_another_process_kept_in_somebody_elses_cluster_is_removed(scene: Scene) -> None:
    scene.left_by_another_process()

    assert scene.provider.claim(scene.said.append)
    scene.provider.down()

    assert scene.names("RayCluster") == []
    assert SPACE not in scene.names("Namespace")


def test_in_a_namespace_of_somebody_else_only_what_is_ours_is_removed(scene: Scene) -> None:
    scene.left_by_another_process(namespace=False)
    scene.put("Service", "e2e-dashboard", ours=False)

    scene.provider.claim(scene.said.append)
    scene.provider.down()

    assert (scene.names("RayCluster"), scene.names("Secret"), scene.names("Service")) == ([], [], ["e2e-dashboard"])
    assert SPACE in scene.names("Namespace")


def test_in_a_cluster_of_ours_nothing_needs_to_be_asked_since_all_goes_with_it(scene: Scene) -> None:
    scene.engine.owned = True

    assert scene.provider.claim(scene.said.append)
    scene.provider.down()

    assert scene.engine.done == ["down"]
    assert scene.fake.requests == []


def test_a_reset_deletes_the_raycluster_and_nothing_else(scene: Scene) -> None:
    scene.left_by_another_process()
    scene.provider.claim(scene.said.append)

    scene.provider.reset(scene.said.append)

    assert scene.changed() == ["POST leases", "DELETE e2e"]
    assert scene.names("RayCluster") == []
    assert scene.names("Secret") == ["e2e"]
    assert scene.said[0] == f"deleting RayCluster e2e in namespace {SPACE}"


def test_a_reset_where_no_raycluster_of_ours_is_does_nothing(scene: Scene) -> None:
    scene.left_by_another_process(ray=False)
    scene.put("RayCluster", "e2e", ours=False, version="ray.io/v1")

    scene.provider.reset(scene.said.append)

    assert (scene.changed(), scene.said) == ([], [])


def test_what_was_claimed_and_is_given_back_stays(scene: Scene) -> None:
    scene.left_by_another_process()
    scene.provider.claim(scene.said.append)

    scene.provider.give_back()
    scene.provider.down()

    assert scene.changed() == ["POST leases", "DELETE e2e"]
    assert scene.names("Lease") == []
    assert scene.names("RayCluster") == ["e2e"]
    assert scene.engine.done == ["given back", "down"]


def test_what_another_run_uses_is_not_claimed_and_stays_also_at_the_end(scene: Scene) -> None:
    scene.left_by_another_process()
    theirs = Lease(scene.api, SPACE, renew_seconds=0.02)
    theirs.take(scene.said.append)
    before = len(scene.changed())
    replace = scene.api.replace

    def renew(changed: Any) -> Any:
        scene.fake.clock.at += 1
        return replace(changed)

    scene.api.replace = renew  # type: ignore[method-assign]

    with pytest.raises(InfraError, match=f"Namespace {SPACE} is in use by"):
        scene.provider.claim(scene.said.append)
    scene.provider.down()

    assert not [each for each in scene.changed()[before:] if each.startswith(("DELETE", "PATCH", "POST"))]
    theirs.give_up()


def test_the_namespace_is_ours_once_it_was_made_and_a_raycluster_of_others_in_it_is_not(scene: Scene) -> None:
    space = Namespace(scene.api, SPACE)
    assert not space.owned
    text = (MANIFESTS / "namespace.yaml").read_text(encoding="utf-8")
    space.make(manifest.namespace(text, name=SPACE), CONTENTS, scene.said.append)
    scene.put("RayCluster", "e2e", ours=False, version="ray.io/v1")

    assert space.owned
    assert not space.has("RayCluster", "e2e")
    assert space.kept_token("e2e") == ""
    assert space.token("e2e") == space.kept_token("e2e") != ""


def test_the_status_without_a_cluster_is_what_the_engine_says(scene: Scene, tmp_path: Path) -> None:
    scene.engine.kubeconfig = tmp_path / "none"

    assert scene.provider.status().missing.startswith("There is no kubeconfig at")


def test_the_status_of_an_empty_cluster_names_the_first_thing_that_is_missing(scene: Scene) -> None:
    found = scene.provider.status()

    assert dict(found.parts)["operator"] == "none"
    assert found.missing == f"No KubeRay operator looks after namespace {SPACE}."
    assert scene.changed() == []


def survey(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Status:
    """The status of the recorded RayCluster, which is called demo."""
    for name, value in (("NAME", "demo"), ("DASHBOARD", "demo-dashboard"), ("HEAD_SERVICE", "demo-head-svc")):
        monkeypatch.setattr(f"fixtures.clusters.kubernetes.status.{name}", value)
    helm = FakeHelm(scene.fake)
    operator = Operator(
        scene.api, helm, namespace="ray", kubeconfig=None, context=None, source=Source(helm, Path("cache"))
    )
    ray, lease = KubeRayCluster(scene.api, "ray", "demo"), Lease(scene.api, "ray")
    ours = OwnedResources(
        scene.api, Namespace(scene.api, "ray"), ray, operator, lease, KubernetesMonitors(scene.api, "ray")
    )
    return Survey(ours, scene.engine, ("--context", "c")).of(Status((("cluster", "context c"),)))


def recorded(scene: Scene, seconds: float) -> None:
    """The recorded RayCluster, so many seconds after it was applied."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "rig"}}
    scene.fake.put(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ray"}},
        {**node, "status": {"conditions": [{"type": "Ready", "status": "True"}]}},
        deployment("ray", ours=True),
    )
    scene.fake.replay(*(text(f"{name}-timeline.jsonl") for name in ("raycluster", "pods-ray")))
    scene.fake.clock.at += seconds
    scene.fake.advance()


def test_the_status_of_a_cluster_that_is_whole_says_each_part_and_the_way_in(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(scene, 60)

    found = survey(scene, monkeypatch)

    parts = dict(found.parts)
    assert found.missing == ""
    assert parts["nodes"] == "1 of 1 are ready"
    assert parts["operator"].endswith(", ours")
    assert parts["RayCluster"] == "demo of 2 workers, all of them ready"
    assert parts["image"].endswith(", run on rig")
    assert "`kubectl --context c --namespace ray port-forward service/demo-head-svc 8265:8265`" in parts["dashboard"]
    assert "kubectl --context c --namespace ray get secret demo" in parts["token"]


def test_the_status_says_what_a_raycluster_lacks_and_which_nodes_lack_the_image(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(scene, 5)
    assert survey(scene, monkeypatch).missing.startswith("The RayCluster is not ready: ")
    recorded(scene, 60)
    scene.engine.owned = True

    found = survey(scene, monkeypatch)
    assert found.missing.endswith("is not on rig.")

    scene.engine.images = {"rig": "sha256:1"}
    assert survey(scene, monkeypatch).missing == ""


def test_a_dashboard_whose_port_of_the_nodes_does_not_answer_is_missing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(scene, 60)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "demo-dashboard", "namespace": "ray"}}
    scene.fake.put({**service, "spec": {"ports": [{"nodePort": 1}]}})
    monkeypatch.setattr(scene.engine, "address", lambda: "127.0.0.1")

    found = survey(scene, monkeypatch)

    assert found.missing == "Ray's dashboard at http://127.0.0.1:1 does not answer."
    assert found.dashboard == ""


def test_what_may_not_be_seen_is_said_and_missing_only_where_it_is_needed(scene: Scene) -> None:
    scene.fake.deny("list", "nodes")
    found = scene.provider.status()
    assert "may not list nodes" in dict(found.parts)["nodes"]
    assert found.missing == f"No KubeRay operator looks after namespace {SPACE}."

    scene.fake.deny_everywhere("list", "deployments")
    found = scene.provider.status()
    assert "cannot be seen: This user may not list deployments" in dict(found.parts)["operator"]
    assert found.missing == f"Namespace {SPACE} has no RayCluster."

    scene.fake.deny("list", "deployments")
    assert "may not list deployments" in scene.provider.status().missing
