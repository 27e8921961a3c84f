"""A RayCluster is applied, awaited, scaled and deleted: against a server that replays what a real one said."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from fixtures.clusters.contract import Node
from fixtures.clusters.kubernetes.access.api import Api
from fixtures.clusters.kubernetes.raycluster import raycluster
from fixtures.clusters.kubernetes.raycluster.raycluster import KubeRayCluster, unregistered, with_replicas
from fixtures.clusters.ray_state import NodeState, parse_nodes
from fixtures.errors import InfraError
from tests.stand_ins.fake_kubernetes import DROPPED, FakeKubernetes
from tests.unit.recordings import items, sample, text
from tests.unit.recordings import node as a_node

RAY_NODES = json.loads((Path(__file__).parents[1] / "data" / "ray-nodes-summary.json").read_text(encoding="utf-8"))


class Cluster:
    """A RayCluster named demo on a fake server, and what was reported about it."""

    def __init__(self, fake: FakeKubernetes, folder: Path) -> None:
        self.fake = fake
        self.api = Api(fake.kubeconfig(folder), None, clock=fake.clock)
        self.ray = KubeRayCluster(self.api, "ray", "demo")
        self.said: list[str] = []

    def replay(self, *names: str, skip: float = 0) -> float:
        """Begin a recording, some seconds after its start; seconds until its end."""
        length = self.fake.replay(*(text(f"{name}-timeline.jsonl") for name in names))
        self.fake.clock.at += skip
        return length - skip

    def wait_ready(self, workers: int = 2, deadline: float = 120) -> float:
        """Seconds that it took."""
        began = self.fake.clock.at
        self.ray.wait_ready(workers, deadline, self.said.append)
        return self.fake.clock.at - began

    def ready(self) -> None:
        """Everything as it was recorded when all was well."""
        self.replay("raycluster", "pods-ray", skip=60)
        self.fake.advance()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with FakeKubernetes() as fake:
        fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ray"}})
        yield Cluster(fake, tmp_path)


def manifest(**group: Any) -> Any:
    applied = sample("raycluster-ready.json")["metadata"]["annotations"]
    found = json.loads(applied["kubectl.kubernetes.io/last-applied-configuration"])
    found["spec"]["workerGroupSpecs"][0] |= group
    return found


def ray_nodes(**changed: NodeState) -> Mapping[str, NodeState]:
    """What Ray said about the pods of the recording, with some nodes changed by the last part of their address."""
    return {**parse_nodes(RAY_NODES), **{f"10.244.0.{last[1:]}": state for last, state in changed.items()}}


def test_a_cluster_that_comes_up_is_ready_when_it_was_and_says_what_was_missing(cluster: Cluster) -> None:
    cluster.replay("raycluster", "pods-ray")

    assert 32 <= cluster.wait_ready() <= 35
    assert cluster.said[0].startswith("waiting for RayCluster demo: head demo-head-nvclt runs")
    assert any("0 of 2 workers ready" in each for each in cluster.said)
    assert len(cluster.said) == len(set(cluster.said)) <= 8


def test_a_worker_that_is_killed_and_replaced_makes_the_wait_last_until_the_new_one_is_ready(cluster: Cluster) -> None:
    cluster.replay("raycluster-worker-kill", "pods-worker-kill")

    assert 21 <= cluster.wait_ready() <= 25
    assert [pod["metadata"]["name"] for pod in cluster.ray.pods() if "worker" in pod["metadata"]["name"]] == [
        "demo-workers-worker-nl84q",
        "demo-workers-worker-z6744",
    ]


def test_after_the_head_was_killed_the_wait_ends_only_when_the_workers_have_joined_the_new_one(
    cluster: Cluster,
) -> None:
    cluster.replay("raycluster-head-kill", "pods-head-kill")

    assert 50 <= cluster.wait_ready() <= 53
    assert any("must join it anew" in each for each in cluster.said)


def test_an_image_that_is_nowhere_ends_the_wait_long_before_the_deadline_with_image_and_node(
    cluster: Cluster,
) -> None:
    cluster.replay("raycluster-missing-image", skip=30)
    cluster.fake.put(*items("pods-ray-image-missing.json"), *items("events-ray-image-missing.json"))

    with pytest.raises(InfraError, match=r"docker\.io/rig/ray:missing.* on node rig") as caught:
        KubeRayCluster(cluster.api, "raymiss", "demo").wait_ready(2, 600, cluster.said.append)

    assert sum(cluster.fake.clock.slept) < 90
    assert caught.value.remedy


def test_pods_that_fit_nowhere_end_the_wait_with_the_schedulers_words(cluster: Cluster) -> None:
    big = sample("raycluster-unschedulable.json")
    cluster.fake.put(big, *items("pods-unschedulable.json"), *items("events-unschedulable.json"))
    cluster.fake.clock.at = datetime.fromisoformat(big["metadata"]["creationTimestamp"]).timestamp() + 15

    message = r"Pod demo-head-4r8hr asks for 9 CPU and .* fits on no node: .* Insufficient cpu"
    with pytest.raises(InfraError, match=message):
        KubeRayCluster(cluster.api, "raybig", "demo").wait_ready(2, 600, cluster.said.append)
    assert sum(cluster.fake.clock.slept) < 90


def test_a_lost_node_ends_the_wait_with_its_name(cluster: Cluster) -> None:
    cluster.replay("raycluster-node-loss", "pods-node-loss", "nodes-node-loss")
    cluster.wait_ready()
    cluster.fake.clock.at += 50

    with pytest.raises(InfraError, match="Node rig-m02 has been lost"):
        cluster.wait_ready(deadline=600)


def test_an_api_server_that_stays_away_ends_the_wait_as_such(cluster: Cluster) -> None:
    cluster.replay("raycluster-node-loss", "pods-node-loss", "nodes-node-loss", skip=85)

    message = r"did not answer GET /apis/ray\.io/v1/namespaces/ray/rayclusters/demo 5 times"
    with pytest.raises(InfraError, match=message):
        cluster.wait_ready(deadline=600)


def test_a_wait_that_reaches_its_deadline_says_what_is_missing(cluster: Cluster) -> None:
    cluster.replay("raycluster", "pods-ray", skip=20)

    message = r"demo in namespace ray was not ready with 2 workers after 5 s: 0 of 2 workers"
    with pytest.raises(InfraError, match=message):
        cluster.wait_ready(deadline=5)


def test_a_cluster_that_somebody_deleted_is_not_waited_for(cluster: Cluster) -> None:
    with pytest.raises(InfraError, match="RayCluster demo in namespace ray does not exist"):
        cluster.wait_ready()
    assert cluster.fake.clock.slept == []


def test_a_restart_broken_connections_and_a_view_of_one_namespace_do_not_end_a_wait(cluster: Cluster) -> None:
    cluster.replay("raycluster-restart", "pods-restart")
    assert 13 <= cluster.wait_ready() <= 16

    cluster.replay("raycluster", "pods-ray", skip=20)
    for path in ("/pods", "/rayclusters/demo"):
        cluster.fake.fail("GET", path, *[DROPPED] * 3)
    assert 12 <= cluster.wait_ready() <= 16

    for plural in ("nodes", "namespaces"):
        cluster.fake.deny("list", plural)
    cluster.replay("raycluster", "pods-ray", skip=25)
    assert 7 <= cluster.wait_ready() <= 10


def test_nodes_are_looked_at_less_often_than_pods(cluster: Cluster) -> None:
    cluster.replay("raycluster", "pods-ray", skip=22)
    cluster.wait_ready()

    looks = len(cluster.fake.asked("GET", "/namespaces/ray/pods"))
    assert looks >= 10
    assert len(cluster.fake.asked("GET", "/nodes")) <= looks / 4


def test_the_causes_of_events_and_nodes_reach_the_diagnosis(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.replay("raycluster", "pods-ray")
    operator = {"name": "op", "namespace": "kuberay", "labels": {"app.kubernetes.io/name": "kuberay-operator"}}
    cluster.fake.put(
        a_node("n") | {"apiVersion": "v1"},  # type: ignore[operator]
        {"apiVersion": "v1", "kind": "Pod", "metadata": operator, "spec": {}, "status": {}},
        *(_event(namespace) for namespace in ("ray", "kuberay", "other")),
    )
    scenes: list[Any] = []
    monkeypatch.setattr(raycluster, "first_cause", scenes.append)

    cluster.fake.clock.at += 30
    cluster.wait_ready()

    scene = scenes[0]
    assert [scene.raycluster["metadata"]["name"], scene.nodes[0]["metadata"]["name"]] == ["demo", "n"]
    assert len(scene.pods) == 3
    assert sorted(event["metadata"]["namespace"] for event in scene.events) == ["kuberay", "ray"]
    assert (scene.namespace["metadata"]["name"], scene.operator[0]["metadata"]["name"]) == ("ray", "op")
    assert scene.now.timestamp() == pytest.approx(cluster.fake.clock.at - len(cluster.fake.clock.slept), abs=1)


def _event(namespace: str) -> dict[str, Any]:
    about = {"name": "demo", "uid": "x"}
    metadata = {"name": "event", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Event", "metadata": metadata, "reason": "Started", "involvedObject": about}


def test_scaling_applies_the_whole_manifest_with_another_number(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raycluster, "ready", lambda *_: "")
    cluster.ray.apply(manifest())
    cluster.ray.scale(3, 10, cluster.said.append)

    stored = cluster.fake.find("RayCluster", "demo")
    assert stored is not None
    assert stored["spec"] == with_replicas(manifest(), 3)["spec"]
    assert stored["metadata"]["generation"] == 2


def test_scaling_down_waits_until_the_pods_are_gone(cluster: Cluster) -> None:
    """KubeRay's own counts agree a moment after the change; a pod that is ending still runs Ray."""
    cluster.ready()
    stored = cluster.fake.find("RayCluster", "demo")
    assert stored is not None
    one: dict[str, Any] = deepcopy(stored)
    one["spec"]["workerGroupSpecs"][0]["replicas"] = 1
    one["status"] |= {"desiredWorkerReplicas": 1, "readyWorkerReplicas": 1}
    victim = next(pod for pod in cluster.ray.pods() if "worker" in pod["metadata"]["name"])
    cluster.fake.put(one)
    cluster.fake.grace = 5.0
    cluster.fake.put({**victim, "metadata": {**victim["metadata"], "ownerReferences": [{"uid": "group"}]}})
    cluster.fake.put(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "g", "namespace": "ray", "uid": "group"}}
    )
    cluster.api.delete("Service", "g", "ray")

    assert cluster.wait_ready(1) == 5.0
    assert f"{victim['metadata']['name']} must end first" in cluster.said[0]


def test_what_this_run_did_not_apply_and_more_workers_than_the_manifest_allows_are_not_scaled(cluster: Cluster) -> None:
    with pytest.raises(InfraError, match="demo was not applied by this run"):
        cluster.ray.scale(1, 10, cluster.said.append)
    with pytest.raises(InfraError, match="RayCluster demo allows 0 to 3 workers, 9 are asked for"):
        with_replicas(manifest(), 9)


def test_deleting_waits_for_the_pods_and_names_what_stays(cluster: Cluster) -> None:
    cluster.ready()
    cluster.fake.grace = 3.0

    cluster.ray.delete(10, cluster.said.append)
    assert cluster.ray.pods() == ()
    assert sum(cluster.fake.clock.slept) == 3.0

    cluster.ready()
    cluster.fake.grace = 99.0
    with pytest.raises(InfraError, match="After 10 s there is still RayCluster demo"):
        cluster.ray.delete(10, cluster.said.append)


def test_the_cluster_says_which_of_its_pods_was_replaced(cluster: Cluster) -> None:
    length = cluster.replay("raycluster-worker-kill", "pods-worker-kill", skip=30)
    before = cluster.ray.identity()
    assert cluster.ray.changes_since(before) == ""

    cluster.fake.clock.at += length

    assert cluster.ray.changes_since(before).startswith("head pod demo-head-nvclt was deleted and replaced by demo-")


def test_the_cluster_says_that_it_was_deleted_before_it_says_what_its_pods_did(cluster: Cluster) -> None:
    cluster.ready()
    before = cluster.ray.identity()

    cluster.ray.delete(10, cluster.said.append)

    expected = "RayCluster demo was deleted: head pod demo-head-nvclt was deleted; afterwards worker pod demo-"
    assert cluster.ray.changes_since(before).startswith(expected)


def test_one_look_says_what_is_missing_now(cluster: Cluster) -> None:
    assert cluster.ray.missing(2) == "it does not exist"
    cluster.ready()
    assert cluster.ray.missing(2) == ""
    assert "asks for 2 workers, not for 3" in cluster.ray.missing(3)


def test_ray_has_to_know_every_pod(cluster: Cluster) -> None:
    cluster.ready()
    answers = [None, {}, ray_nodes(), ray_nodes(x10=NodeState("DEAD", 1)), ray_nodes()]

    assert cluster.ray.wait_registered(lambda: answers.pop(0), 2, 1, 30, cluster.said.append) == (
        Node("demo-workers-worker-gqtk5", 1),
        Node("demo-workers-worker-z6744", 1),
    )
    assert len(answers) == 2


def test_a_pod_for_one_process_on_all_cores_offers_ray_no_cpu_and_is_no_node_for_ranks(cluster: Cluster) -> None:
    cluster.ready()
    pods: list[Any] = deepcopy(list(cluster.ray.pods()))
    pods[-1]["metadata"]["labels"]["ray.io/group"] = "all-cores-2"

    assert unregistered(pods, ray_nodes(x11=NodeState("ALIVE", 0)), 1) == ""
    with pytest.raises(InfraError, match="Ray counts 1 CPUs on pod demo-workers-worker-z6744, 0 are asked for"):
        unregistered(pods, ray_nodes(), 1)


@pytest.mark.parametrize(
    ("nodes", "missing"),
    [
        (None, "Ray's dashboard does not answer"),
        (ray_nodes(x11=NodeState("DEAD", 1, "gone")), "Ray does not know demo-workers-worker-z6744 yet"),
        (ray_nodes(x10=NodeState("ALIVE", 0)), "Ray does not know demo-workers-worker-gqtk5 yet"),
        (ray_nodes(x99=NodeState("ALIVE", 1)), "Ray still counts 10.244.0.99, which is no pod of this cluster"),
        (ray_nodes(x99=NodeState("DEAD", 1)), ""),
    ],
)
def test_what_ray_lacks_is_named(cluster: Cluster, nodes: Mapping[str, NodeState] | None, missing: str) -> None:
    cluster.ready()

    assert unregistered(cluster.ray.pods(), nodes, 1) == missing


def test_another_number_of_cpus_never_becomes_the_right_one(cluster: Cluster) -> None:
    cluster.ready()

    with pytest.raises(InfraError, match="Ray counts 2 CPUs on pod demo-workers-worker-z6744, 1 are asked for"):
        unregistered(cluster.ray.pods(), ray_nodes(x11=NodeState("ALIVE", 2)), 1)
    with pytest.raises(InfraError, match="Ray counts 4 CPUs on pod demo-head-nvclt, 0 are asked for"):
        unregistered(cluster.ray.pods(), ray_nodes(x9=NodeState("ALIVE", 4)), 1)


def test_a_node_that_was_started_again_counts_although_ray_lists_the_dead_one_too() -> None:
    living = {"raylet": {"nodeName": "10.0.0.1", "state": "ALIVE", "resourcesTotal": {"CPU": 1.0}}}
    dead = {"raylet": {"nodeName": "10.0.0.1", "state": "DEAD", "resourcesTotal": {}}}
    for order in ([living, dead], [dead, living]):
        assert parse_nodes({"data": {"summary": order}})["10.0.0.1"].state == "ALIVE"  # type: ignore[dict-item]
