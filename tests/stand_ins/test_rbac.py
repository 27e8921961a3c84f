"""The least rights for --cluster=context: all that a run asks for, and nothing that none does."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from fixtures.clusters.kubernetes.monitoring.monitoring import Wanted
from fixtures.clusters.kubernetes.namespace import lease
from fixtures.errors import InfraError
from fixtures.system.paths import MANIFESTS
from tests.stand_ins.fake_kuberay import SPACE, operator_of_somebody, thing
from tests.stand_ins.fake_kubernetes import FakeKubernetes, Request
from tests.stand_ins.kubernetes_world import Engine, ImageDistribution, World
from tests.stand_ins.stand_in import forwarding_kubectl
from tests.stand_ins.test_kubernetes_monitoring import READY
from tests.unit.recordings import at, container, pod

ASKED = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v[^/]+(?:/namespaces/(?P<space>[^/]+)(?=/.))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>log|proxy)\b.*)?"
)
MANIFEST = list(yaml.safe_load_all((MANIFESTS / "rbac.yaml").read_text(encoding="utf-8")))


class Right(NamedTuple):
    """A verb on a resource, in the suite's namespace or in all."""

    verb: str
    group: str
    resource: str
    everywhere: bool


BY_PROGRAMS = {
    *(Right(verb, "", f"pods/{sub}", False) for verb in ("get", "create") for sub in ("exec", "portforward")),
    Right("get", "", "pods", False),  # kubectl exec and port-forward
    Right("list", "", "secrets", False),  # helm status
}
"""What kubectl and Helm ask by themselves, which the played API does not see."""

DONE_WITHOUT = {
    Right("get", "", "pods/log", True),  # the operator's
    Right("list", "", "events", True),  # in the operator's namespace
}
"""What sharpens the evidence and is not granted: every log and event of the cluster would be readable."""


def of_rules(role: Any) -> Iterator[Right]:
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield Right(verb, group, resource, role["kind"] == "ClusterRole")


def asked(request: Request) -> Iterator[Right]:
    """The rights that a request takes; an applied object is created unless it is there."""
    at = ASKED.fullmatch(request.path)
    assert at is not None, request.path
    verbs = {"POST": ["create"], "PUT": ["update"], "PATCH": ["patch", "create"], "DELETE": ["delete"]}
    verbs["GET"] = ["get" if at["name"] else "list"]
    resource = at["plural"] + (f"/{at['sub']}" if at["sub"] else "")
    for verb in verbs[request.method]:
        yield Right(verb, at["group"] or "", resource, at["space"] != SPACE)


def start_monitors(server: FakeKubernetes) -> None:
    """Let every Deployment of the monitors be available."""
    for name in ("e2e-prometheus", "e2e-grafana"):
        if stored := server.find("Deployment", name):
            server.put({**stored, "status": {**READY, "observedGeneration": stored["metadata"]["generation"]}})


def whole_life(world: World, folder: Path) -> None:
    """Every verb on the cluster of a context whose administrator made the namespace and installed KubeRay."""
    world.kubectl.path = forwarding_kubectl(folder, world.server.node_port)
    operator_of_somebody(world.server)
    world.server.put(thing("Namespace", SPACE, None))
    operator = pod("operator-1", container("operator", running={"startedAt": at(0)}), phase="Running")
    labels = {"app.kubernetes.io/name": "kuberay-operator"}
    world.server.put(
        {
            **operator,
            "apiVersion": "v1",
            "metadata": {**operator["metadata"], "namespace": "kuberay-system", "labels": labels},
        }
    )
    world.server.clock.meanwhile = lambda: start_monitors(world.server)
    provider = world.provider(
        Engine(world, name="context", owned=False, host=None),
        ImageDistribution(world, imported=False),
        environ={"STAND_IN": str(folder)},
        monitors=Wanted("docker.io/prom/prometheus:v3.5.0", "docker.io/grafana/grafana:12.2.0", None),
    )
    cluster = provider.up(world.said.append)
    provider.scale(1, world.said.append)
    provider.replace(world.server.pods()[1]["metadata"]["name"], world.said.append)
    assert provider.trouble() == ""
    assert provider.status().missing == ""
    assert provider.dashboards()
    provider.logs()
    provider.collect_evidence(folder / "evidence")
    assert cluster.prometheus is not None
    with pytest.raises(InfraError):  # the played API has no Prometheus behind its proxy
        cluster.prometheus.query("up")
    renewed = time.monotonic() + 10
    while not world.server.asked("PUT") and time.monotonic() < renewed:
        time.sleep(0.01)
    provider.down()


def test_the_manifest_grants_exactly_what_a_run_asks_for(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.01)

    whole_life(world, tmp_path)

    needed = {right for request in world.server.requests if request.path != "/version" for right in asked(request)}
    (prometheus,) = [
        role
        for role in yaml.safe_load_all((MANIFESTS / "monitoring/prometheus.yaml").read_text(encoding="utf-8"))
        if role["kind"] == "Role"
    ]
    granted = {right for role in MANIFEST if "rules" in role for right in of_rules(role)}
    needed |= BY_PROGRAMS | set(of_rules(prometheus))  # nobody may hand on a right that he does not have
    # A ClusterRole holds in the suite's namespace as well.
    covered = {right for right in needed if right._replace(everywhere=True) in granted}
    assert needed - DONE_WITHOUT - covered <= granted, "what is missing in manifests/rbac.yaml"
    assert granted <= needed, "what nobody asks for"
    assert needed >= DONE_WITHOUT


def test_a_run_gets_along_without_any_read_of_the_whole_cluster(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.01)
    (cluster_role,) = [stored for stored in MANIFEST if stored["kind"] == "ClusterRole"]
    for right in of_rules(cluster_role):
        world.server.deny_everywhere(right.verb, right.resource)

    whole_life(world, tmp_path)

    assert "apply RayCluster" in world.steps
    assert any("left to the scheduler: This user may not list nodes" in line for line in world.said)
    assert any("its operator is in no namespace that this user may see" in line for line in world.said)
