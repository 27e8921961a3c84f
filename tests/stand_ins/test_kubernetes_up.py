"""A provider on Kubernetes comes up: in order, once, and not over what belongs to somebody else."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from fixtures.clusters.contract import Problem
from fixtures.clusters.kubernetes.namespace import lease
from fixtures.clusters.kubernetes.network import routes
from fixtures.clusters.kubernetes.operator.versions import handshake
from fixtures.errors import InfraError
from fixtures.system.programs import Completed
from tests.stand_ins.fake_kuberay import DIGEST, OURS, SPACE, operator_of_somebody, thing
from tests.stand_ins.fake_kubernetes import UNAVAILABLE
from tests.stand_ins.kubernetes_world import Engine, ImageDistribution, World
from tests.stand_ins.stand_in import forwarding_kubectl
from tests.unit.recordings import node


def test_a_second_run_in_the_namespace_of_one_that_lives_gets_one_sentence_and_takes_nothing_from_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.01)
    first = world.up(owned=False)
    there = set(world.server.everything())
    second = world.provider(owned=False)
    world.server.clock.meanwhile = lambda: time.sleep(0.05)  # in which the first run shows that it lives

    with pytest.raises(InfraError, match=f"^Namespace {SPACE} is in use by .* process .*--namespace") as refused:
        second.up(world.said.append)
    second.down()

    assert str(refused.value.cause).count(". ") == 0
    assert set(world.server.everything()) == there
    assert first.trouble() == ""
    first.down()


def test_everything_is_made_in_the_order_in_which_it_is_needed(world: World) -> None:
    world.provider().up(world.said.append)

    assert world.steps == [
        "begin image", "cluster", "capacity", "apply Namespace", "apply CustomResourceDefinition", "operator", "image",
        "apply Secret", "apply RayCluster", "way", "apply Service", "Ray's nodes", "network",
    ]  # fmt: skip


def test_the_handle_is_what_the_rest_of_the_harness_needs(world: World) -> None:
    provider = world.provider()

    cluster = provider.up(world.said.append)

    assert cluster.dashboard == f"http://127.0.0.1:{world.server.node_port}"
    assert len(cluster.token) == 64
    assert [each.cpus for each in cluster.nodes] == [1, 1]
    assert {each.name for each in cluster.nodes} == {each["metadata"]["name"] for each in world.server.pods()[1:]}
    assert (cluster.usable_cores, cluster.reserve, cluster.overcommitted) == (4, 1, False)
    assert [name for name, _ in cluster.phases] == [
        "minikube", "operator", "image", "RayCluster", "dashboard", "network",
    ]  # fmt: skip
    assert cluster.image == {"a": DIGEST}
    assert {"Kubernetes", "KubeRay", "pods", "image", "dashboard"} <= dict(cluster.details).keys()
    assert provider.trouble() == ""


def test_pods_pull_nothing_that_was_imported_and_ask_for_less_with_overcommit(world: World) -> None:
    world.provider(overcommit=True).up(world.said.append)

    container = world.server.pods()[1]["spec"]["containers"][0]
    assert container["imagePullPolicy"] == "Never"
    assert container["resources"]["requests"]["cpu"] == "50m"


def test_where_the_nodes_pull_the_image_the_pods_tell_which_one_they_run(world: World) -> None:
    provider = world.provider(supply=ImageDistribution(world, imported=False))

    cluster = provider.up(world.said.append)

    assert world.server.pods()[0]["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert cluster.image == {"a": DIGEST}


def test_a_second_provider_adopts_what_was_kept_and_replaces_no_pod(world: World) -> None:
    first = world.provider()
    kept = first.up(world.said.append)
    first.keep_running()
    pods, written = world.server.pods(), len(world.writes())

    cluster = world.provider().up(world.said.append)

    assert cluster.token == kept.token
    assert cluster.nodes == kept.nodes
    assert world.server.pods() == pods
    assert len(world.writes()) - written < 10
    assert "remove cluster" not in world.steps


def test_a_namespace_that_is_terminating_is_awaited(world: World) -> None:
    dying = thing("Namespace", SPACE, None, OURS)
    dying["metadata"]["deletionTimestamp"] = "2026-11-23T09:00:00Z"
    world.server.put(dying)
    clock = world.server.clock

    def end_after_five_seconds() -> None:
        if len(clock.slept) == 5:
            world.server.remove("Namespace", "", SPACE)

    clock.meanwhile = end_after_five_seconds

    world.provider().up(world.said.append)

    assert f"waiting until namespaces are gone: {SPACE}" in world.said
    found = world.server.find("Namespace", SPACE)
    assert found is not None
    assert "deletionTimestamp" not in found["metadata"]


@pytest.mark.parametrize(
    ("kind", "name", "more"),
    [
        ("RayCluster", "e2e", {"spec": {}}),
        ("Secret", "e2e", {"data": {"auth_token": "bWluZQ=="}}),
        ("Service", "e2e-dashboard", {"spec": {"ports": [{"port": 80}]}}),
    ],
)
def test_what_has_our_name_and_is_somebody_elses_is_refused_and_stays(
    world: World, kind: str, name: str, more: Any
) -> None:
    operator_of_somebody(world.server)
    world.server.put(thing("Namespace", SPACE, None), thing(kind, name, **more))
    before = world.server.everything()
    provider = world.provider(owned=False)

    with pytest.raises(InfraError, match=f"{SPACE} has a {kind} {name} that this suite did not make") as refused:
        provider.up(world.said.append)
    provider.down()

    assert "--namespace" in refused.value.remedy
    assert world.server.everything() == before


def test_where_there_is_no_room_the_arithmetic_is_said_and_no_ray_is_started(world: World) -> None:
    world.server.put({"apiVersion": "v1", **node("a", cpu="2", memory="32Gi")})

    with pytest.raises(InfraError, match=r"2 workers x 1 CPU.* need 3 CPU .*a has 2 CPU.* room for 1\.") as refused:
        world.provider().up(world.said.append)

    assert "--overcommit" in refused.value.remedy
    assert not {"apply Secret", "apply RayCluster"} & set(world.steps)


def put_two_nodes(world: World, taint: str) -> Any:
    """One that is too small, and one that takes no pods; return that."""
    fresh = {"apiVersion": "v1", **node("b", cpu="8", memory="32Gi")}
    fresh["spec"]["taints"] = [{"key": taint, "effect": "NoSchedule"}]
    world.server.put({"apiVersion": "v1", **node("a", cpu="2", memory="32Gi")}, fresh)
    return fresh


@pytest.mark.parametrize("key", ["node.kubernetes.io/not-ready", "node.cloudprovider.kubernetes.io/uninitialized"])
def test_a_node_that_has_just_joined_is_waited_for_if_there_is_no_room_without_it(world: World, key: str) -> None:
    fresh = put_two_nodes(world, key)

    def settle() -> None:
        fresh["spec"].pop("taints", None)
        world.server.put(fresh)

    world.server.clock.meanwhile = settle

    world.up()

    assert "no room yet: b will take pods in a moment" in world.said


def test_a_node_that_never_takes_pods_is_waited_for_a_minute_and_named(world: World) -> None:
    put_two_nodes(world, "node.kubernetes.io/not-ready")
    began = world.server.clock.now()

    with pytest.raises(InfraError, match=r"b takes none \(taint node.kubernetes.io/not-ready\)"):
        world.up()

    assert 60 <= world.server.clock.now() - began < 70


@pytest.mark.parametrize("plural", ["nodes", "pods"])
def test_a_user_of_one_namespace_leaves_it_to_the_scheduler_whether_there_is_room(world: World, plural: str) -> None:
    operator_of_somebody(world.server)
    world.server.put(thing("Namespace", SPACE, None))
    world.server.deny_everywhere("list", plural)
    provider = world.provider(owned=False, supply=ImageDistribution(world, imported=False))

    cluster = provider.up(world.said.append)
    provider.down()

    assert (cluster.usable_cores, len(cluster.nodes)) == (2, 2)  # both pods run: their CPUs are theirs
    (said,) = [line for line in world.said if "scheduler" in line]
    assert f"This user may not list {plural}" in said


def test_versions_that_do_not_fit_are_a_problem_before_anything_is_started(world: World) -> None:
    older = ImageDistribution(world, image_ray="2.59.0")

    (problem, *_) = world.provider(supply=older, versions=handshake).preflight()

    assert problem.what == "The image has Ray 2.59.0, the harness has Ray 2.60.0."
    assert world.steps == []
    assert world.writes() == []


def test_the_ray_in_a_ready_made_image_is_compared_as_soon_as_it_answers(world: World) -> None:
    ready_made = ImageDistribution(world, image_ray=None, image_python=None)
    world.dashboard.version = "2.61.0"
    provider = world.provider(supply=ready_made, versions=handshake)
    assert provider.preflight() == ()

    with pytest.raises(InfraError, match=r"The image has Ray 2\.61\.0, the harness has Ray 2\.60\.0\."):
        provider.up(world.said.append)


@pytest.mark.parametrize(("part", "step"), [("kubernetes", "cluster"), ("operator", "operator")])
def test_versions_are_asked_again_with_what_the_cluster_says(world: World, part: str, step: str) -> None:
    def versions(**said: str | None) -> tuple[Problem, ...]:
        return (Problem(f"{part} is {said[part]}.", "Take another."),) if said[part] else ()

    provider = world.provider(versions=versions)
    assert provider.preflight() == ()

    with pytest.raises(InfraError, match=rf"{part} is v?1\.\d+\.\d+\. Take another\."):
        provider.up(world.said.append)

    assert world.steps[-1] == step
    assert "apply RayCluster" not in world.steps


def test_everything_that_is_missing_is_said_at_once(world: World) -> None:
    world.helm.there = False
    world.kubectl.path = None
    engine = Engine(world)
    engine.problems = (Problem("No Docker.", "Install it."),)

    found = world.provider(engine, chart=world.folder / "chart" / "crds").preflight()

    told = " ".join(each.what for each in found)
    for what in ("No Docker", "helm is not on PATH", "kubectl is not on PATH", "not a Helm chart"):
        assert what in told
    assert all(each.remedy for each in found)
    assert world.steps == []


def test_a_manifest_that_cannot_be_read_is_said_and_not_thrown(world: World) -> None:
    (problem,) = world.provider(manifests=world.folder / "none").preflight()

    assert "raycluster.yaml" in problem.what
    assert "git" in problem.remedy


def test_scaling_waits_for_exactly_the_count_and_what_is_there_then_is_the_new_normal(world: World) -> None:
    provider = world.up()

    provider.scale(1, world.said.append)
    assert len(world.server.pods()) == 2
    assert provider.trouble() == ""

    provider.scale(2, world.said.append)
    assert len(world.server.pods()) == 3
    assert provider.trouble() == ""

    asked = len(world.server.requests)
    provider.scale(2, world.said.append)
    assert len(world.server.requests) == asked, "a count that is there already costs nothing"


def test_after_a_scaling_that_failed_the_next_one_believes_nothing(world: World) -> None:
    provider = world.up()
    world.trap = ("apply RayCluster", "after", InfraError("The API went away."))
    with pytest.raises(InfraError, match="went away"):
        provider.scale(1, world.said.append)
    world.trap = None
    assert len(world.server.pods()) == 2

    provider.scale(2, world.said.append)

    assert len(world.server.pods()) == 3
    assert provider.trouble() == ""


def test_programs_ask_nodes_on_this_machine_without_a_proxy_and_others_as_the_user_says(world: World) -> None:
    environ = {"PATH": "", "https_proxy": "http://127.0.0.1:9", "no_proxy": "example.org"}

    world.provider(owned=False, environ=environ)
    assert world.environ == environ
    world.provider(environ=environ)
    assert world.environ["NO_PROXY"] == "example.org,localhost,127.0.0.1,192.168.0.0/16"


def test_trouble_names_the_pod(world: World) -> None:
    provider = world.up()
    lost = world.server.pods()[-1]["metadata"]["name"]
    world.server.remove("Pod", SPACE, lost)

    assert provider.trouble() == f"Worker pod {lost} was deleted."


def test_trouble_names_the_node_that_the_engine_has_lost_before_kubernetes_or_ray_notice(world: World) -> None:
    engine = Engine(world)
    provider = world.up(engine)
    engine.lost = {"a": "exited"}
    pods = ", ".join(sorted(pod["metadata"]["name"] for pod in world.server.pods()))
    world.server.fail("GET", "/pods", *[UNAVAILABLE] * 50)

    assert provider.trouble() == f"Node a (exited) does not run any more; {pods} ran on it."


def test_trouble_says_who_does_not_answer(world: World) -> None:
    provider = world.provider()
    assert provider.trouble() == "The cluster is not up."
    provider.up(world.said.append)
    world.server.fail("GET", "/pods", *[UNAVAILABLE] * 50)

    assert "503" in provider.trouble() or "did not answer" in provider.trouble()


def test_evidence_is_never_an_error_whether_anything_is_up_or_not(world: World, tmp_path: Path) -> None:
    provider = world.provider()
    provider.collect_evidence(tmp_path / "before")
    cluster = provider.up(world.said.append)
    world.kubectl.answers = dict.fromkeys(
        [each["metadata"]["name"] for each in world.server.pods()], lambda: Completed(1, "", "error: no such container")
    )

    provider.collect_evidence(tmp_path / "during")

    assert (tmp_path / "before" / "engine.txt").read_text() == "all is well"
    texts = {file.name: file.read_text() for file in (tmp_path / "during").iterdir()}
    assert {"SUMMARY.md", "pods.json", "raycluster.json", "nodes.json"} <= set(texts)
    assert not any(cluster.token in text for text in texts.values())
    assert json.loads(texts["ray-nodes.json"])["result"] is True


def test_a_pod_that_reaches_no_other_ends_the_start(world: World) -> None:
    failed = Completed(0, '{"10.9.9.9": "timed out"}\n', "")
    world.kubectl.answers = {f"e2e-head-{number}": lambda: failed for number in range(999)}

    with pytest.raises(InfraError, match=r"Pods do not reach each other: e2e-head-\d+ on node a cannot connect to 10"):
        world.provider().up(world.said.append)


@dataclass
class Way:
    """A way to the dashboard that had an outage."""

    address: str
    broken: bool
    trouble: str = "09:12:13 no way to the dashboard for 3.0 s: error: lost connection to pod."

    def stop(self) -> None:
        """Nothing to give up."""


@pytest.mark.parametrize("broken", [False, True])
def test_an_outage_that_is_over_is_evidence_and_no_trouble(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    address = f"http://127.0.0.1:{world.server.node_port}"
    monkeypatch.setattr(routes, "reach", lambda *_: Way(address, broken))
    provider = world.up()

    assert provider.trouble() == (Way.trouble if broken else "")
    provider.collect_evidence(tmp_path / "evidence")
    assert (tmp_path / "evidence" / "dashboard-outages.txt").read_text() == Way.trouble


def test_on_a_cluster_of_somebody_else_the_heads_own_port_is_forwarded_and_no_node_opens_one(
    world: World, tmp_path: Path
) -> None:
    world.kubectl.path = forwarding_kubectl(tmp_path, world.server.node_port)
    engine = Engine(world, name="context", owned=False, host=None)
    provider = world.provider(engine, environ={"STAND_IN": str(tmp_path)})

    cluster = provider.up(world.said.append)
    provider.down()

    pid, *arguments = (tmp_path / "calls").read_text().split()
    assert arguments[-2:] == ["svc/e2e-head-svc", f"{cluster.dashboard.rpartition(':')[2]}:8265"]
    assert arguments[:2] == ["--kubeconfig", str(world.kubeconfig)]
    assert "apply Service" not in world.steps
    assert not psutil.pid_exists(int(pid))
