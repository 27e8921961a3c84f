"""The monitors of a namespace: applied, kept, removed, and never the reason why a run ends."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.clusters.kubernetes.access.api import Api, DeniedError
from fixtures.clusters.kubernetes.monitoring import metrics_server
from fixtures.clusters.kubernetes.monitoring.monitoring import (
    GRAFANA,
    PROMETHEUS,
    START_SECONDS,
    TROUBLE_SECONDS,
    KubernetesMonitors,
    Wanted,
    manifests,
)
from fixtures.clusters.kubernetes.network import forward
from fixtures.clusters.kubernetes.network import routes as network_routes
from fixtures.clusters.kubernetes.network.probe import why_not_grafana
from fixtures.clusters.kubernetes.network.routes import Routes
from fixtures.clusters.kubernetes.watching import Watching
from fixtures.errors import InfraError
from tests.stand_ins.fake_kubernetes import FakeKubernetes
from tests.stand_ins.http_server import answering
from tests.stand_ins.kubernetes_world import Engine
from tests.unit.recordings import container
from tests.unit.recordings import pod as recorded_pod

SPACE = "space"
WANTED = Wanted("docker.io/prom/prometheus:v3.5.0", "docker.io/grafana/grafana:12.2.0", 30300)
READY = {
    "observedGeneration": 1,
    "replicas": 1,
    "updatedReplicas": 1,
    "availableReplicas": 1,
    "conditions": [{"type": "Available", "status": "True"}],
}


class Scene:
    """The monitors of a namespace that is there, on a fake server."""

    def __init__(self, fake: FakeKubernetes, folder: Path) -> None:
        self.fake = fake
        self.api = Api(fake.kubeconfig(folder), None, clock=fake.clock)
        self.monitors = KubernetesMonitors(self.api, SPACE)
        self.said: list[str] = []
        fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})

    def apply(self, wanted: Wanted = WANTED) -> str:
        return self.monitors.apply(wanted, self.said.append)

    def run(self, *names: str) -> None:
        """Let these Deployments be available."""
        for name in names:
            stored = self.api.get("Deployment", name, SPACE)
            assert stored is not None
            self.fake.put(
                {**stored, "status": {**READY, "observedGeneration": stored["metadata"].get("generation", 0)}}
            )

    def names(self, kind: str) -> set[str]:
        return {each["metadata"]["name"] for each in self.api.list(kind, SPACE)}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with FakeKubernetes() as fake:
        yield Scene(fake, tmp_path)


def test_all_of_it_is_applied_and_the_password_is_told_once(scene: Scene) -> None:
    assert scene.apply() == ""
    told = list(scene.said)
    assert scene.apply() == ""

    password = scene.monitors.password()
    assert len(password) >= 12
    assert told == scene.said == [f"Grafana's user is admin, its password {password}"]
    for each in manifests(WANTED, namespace=SPACE):
        assert each["metadata"]["name"] in scene.names(each["kind"])
    assert scene.monitors.grafana_port() == 30300


def test_a_password_of_the_user_takes_the_place_of_the_kept_one_and_is_not_told(scene: Scene) -> None:
    scene.apply()
    scene.said.clear()
    scene.apply(Wanted(WANTED.prometheus_image, WANTED.grafana_image, 30300, "open sesame"))

    assert scene.monitors.password() == "open sesame"
    assert scene.said == ["Grafana's user is admin, its password that of --grafana-password"]


def test_two_clusters_have_two_passwords(scene: Scene, tmp_path: Path) -> None:
    scene.apply()
    with FakeKubernetes() as fake:
        other = Scene(fake, tmp_path)
        other.apply()
        assert other.monitors.password() != scene.monitors.password()


def test_what_is_removed_is_ours_and_nothing_else(scene: Scene) -> None:
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs", "namespace": SPACE}, "data": {}}
    scene.fake.put(theirs)
    scene.apply()

    scene.monitors.remove()

    for kind in ("Deployment", "Service", "Role", "RoleBinding", "ServiceAccount", "Secret"):
        assert scene.names(kind) == set()
    assert scene.names("ConfigMap") == {"theirs"}


def test_where_nothing_was_applied_removal_asks_once_and_deletes_nothing_also_not_a_secret_of_somebody_else(
    scene: Scene,
) -> None:
    scene.monitors.remove()
    assert [request.method for request in scene.fake.requests] == ["GET"]

    metadata = {"name": GRAFANA, "namespace": SPACE}
    scene.fake.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {}})
    scene.monitors.remove()
    assert scene.names("Secret") == {GRAFANA}


def test_rights_that_are_missing_are_a_reason_and_no_failure(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = scene.api.apply

    def refusing(manifest: Any) -> Any:
        if manifest["kind"] == "Role":
            raise DeniedError("This user may not apply Role.", "Ask for the right.")
        return apply(manifest)

    monkeypatch.setattr(scene.api, "apply", refusing)
    routes: Any = type("Routes", (), {"grafana_node_port": None})()

    found = Watching.begin(scene.monitors, WANTED, routes, scene.said.append)

    assert found.prometheus is None
    assert scene.said[-1] == "no monitoring: This user may not apply Role. Ask for the right."
    found.wait_ready(
        scene.api, [], Engine.__new__(Engine), scene.said.append
    )  # nothing is looked at, nothing is raised


def test_without_monitoring_what_an_earlier_run_left_is_removed(scene: Scene) -> None:
    scene.apply()
    no_routes: Any = None

    assert Watching.begin(scene.monitors, None, no_routes, scene.said.append).prometheus is None
    assert scene.names("Deployment") == set()


def test_they_are_waited_for_and_what_does_not_come_is_named_and_given_up(scene: Scene) -> None:
    scene.apply()
    scene.run(PROMETHEUS)
    began = scene.fake.clock.at

    missing = scene.monitors.missing([], scene.said.append)

    assert set(missing) == {GRAFANA}
    assert scene.fake.clock.at - began <= START_SECONDS
    assert scene.said[1:] == [f"waiting for {GRAFANA}: its change is not seen yet."]
    scene.run(GRAFANA)
    assert scene.monitors.missing([], scene.said.append) == {}


def put_stuck_grafana(scene: Scene, image: str, reason: str, message: str) -> None:
    """Its pod, whose container waits."""
    state, began = {"waiting": {"reason": reason, "message": message}}, scene.fake.clock.utc().isoformat()
    container = {"name": "grafana", "image": image, "ready": False, "restartCount": 0, "state": state}
    scene.fake.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "grafana-1", "namespace": SPACE, "labels": {"app.kubernetes.io/name": GRAFANA}},
            "spec": {"nodeName": "a", "containers": [{"name": "grafana", "image": image}]},
            "status": {"phase": "Pending", "startTime": began, "containerStatuses": [container]},
        }
    )


@pytest.mark.parametrize(
    ("image", "reason", "message", "least", "most"),
    [
        ("::", "InvalidImageName", 'couldn\'t parse image name "::"', 0, 0),
        ("g:1", "ImagePullBackOff", "Back-off pulling image", 20, TROUBLE_SECONDS),
    ],
)
def test_a_pod_that_can_never_run_is_not_waited_for_and_one_in_trouble_half_a_minute(
    scene: Scene, image: str, reason: str, message: str, least: float, most: float
) -> None:
    scene.apply()
    scene.run(PROMETHEUS)
    put_stuck_grafana(scene, image, reason, message)
    began = scene.fake.clock.at

    missing = scene.monitors.missing([], scene.said.append)

    assert image in missing[GRAFANA]
    assert least <= scene.fake.clock.at - began <= most
    assert sum(line.startswith("waiting for") for line in scene.said) == (1 if least else 0)


def test_the_time_that_passed_since_they_were_applied_counts_for_a_pod_in_trouble(scene: Scene) -> None:
    scene.apply()
    began = scene.fake.clock.at
    scene.run(PROMETHEUS)
    put_stuck_grafana(scene, "g:1", "ImagePullBackOff", "Back-off pulling image")
    scene.fake.clock.sleep(20)

    assert set(scene.monitors.missing([], scene.said.append)) == {GRAFANA}
    assert scene.fake.clock.at - began <= TROUBLE_SECONDS


def test_prometheus_is_asked_through_the_api_server(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def raw(path: str) -> Any:
        asked.append(path)
        return {"status": "success", "data": {"activeTargets": []}}

    monkeypatch.setattr(scene.api, "raw", raw)

    assert scene.monitors.client().ask("targets", {"state": "active"}) == {"activeTargets": []}
    assert asked == [f"/api/v1/namespaces/{SPACE}/services/{PROMETHEUS}:http/proxy/api/v1/targets?state=active"]


# --- routes -----------------------------------------------------------------------------------------------------


def way(host: str | None, mapped: int | None = None) -> Routes:
    engine: Any = SimpleNamespace(address=lambda: host, grafana_port=mapped, kubeconfig=None, context=None)
    kubectl: Any = SimpleNamespace(found=lambda: Path("/bin/kubectl"))
    return Routes(engine, SPACE, kubectl, {}, 30265, 30300)


@pytest.mark.parametrize(
    ("host", "mapped", "port", "address"),
    [
        ("192.168.49.2", None, 30300, "http://192.168.49.2:30300"),
        ("127.0.0.1", 30301, 30301, "http://127.0.0.1:30301"),  # kind, and 30300 was taken
        (None, None, None, "http://127.0.0.1:30300"),  # forwarded
    ],
)
def test_ray_is_told_where_a_browser_will_find_grafana(
    host: str | None, mapped: int | None, port: int | None, address: str
) -> None:
    found = way(host, mapped)

    assert found.grafana_node_port == port
    assert found.head_environment()["RAY_GRAFANA_IFRAME_HOST"] == address


def test_grafana_is_forwarded_at_the_port_that_ray_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(network_routes, "reach", lambda *given: asked.append(given))
    way(None).grafana(lambda _: None)

    host, node_port, target, token, _, timeouts, why_not = asked[0]
    assert (host, node_port, token) == (None, None, "")
    assert (target.local, target.page) == (30300, "Grafana")
    assert target.command(30300)[-2:] == [f"svc/{GRAFANA}", "30300:3000"]
    assert why_not is why_not_grafana
    assert timeouts.outage > 300, "a pod that is replaced is waited for"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"database": "ok", "version": "12.2.0"}', ""),
        (b'{"database": "failing"}', "which is not Grafana's answer"),
        (b"[]", "which is not Grafana's answer"),
        (b"<html>", "which is not Grafana's answer"),
    ],
)
def test_only_a_grafana_that_is_well_is_taken_for_grafana(body: bytes, said: str) -> None:
    with answering(lambda _: (200, body)) as address:
        assert why_not_grafana(address, "", (5, 5)) == said


def test_a_port_that_somebody_has_is_not_forwarded() -> None:
    target = forward.forward_service(Path("kubectl"), (), {}, SPACE, GRAFANA)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        other = forward.PortForward(replace(target, local=port), "").address
    assert other != f"http://127.0.0.1:{port}"
    assert forward.PortForward(replace(target, local=port), "").address == f"http://127.0.0.1:{port}"


# --- kubectl top ------------------------------------------------------------------------------------------------


def test_metrics_server_answers_when_every_node_has_figures(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    assert metrics_server.lacking(scene.api, 2) == "there is no metrics-server"
    service: dict[str, Any] = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": metrics_server.SERVICE},
        "status": {"conditions": [{"type": "Available", "status": "False", "message": "no endpoints"}]},
    }
    scene.fake.put(service)
    assert metrics_server.lacking(scene.api, 2) == "its APIService is not available: no endpoints"
    service["status"]["conditions"][0]["status"] = "True"
    scene.fake.put(service)
    monkeypatch.setattr(scene.api, "raw", lambda path: {"items": [{}]})
    assert metrics_server.lacking(scene.api, 2) == "it has figures of 1 of 2 nodes"
    assert metrics_server.lacking(scene.api, 1) == ""


def test_nobody_waits_for_kubectl_top_and_the_cause_is_the_pods(scene: Scene) -> None:
    assert metrics_server.describe(scene.api, 2) == "`kubectl top` does not work yet: there is no metrics-server."

    waiting = {"reason": "ErrImagePull", "message": "dial tcp: lookup registry.k8s.io: no such host"}
    pod: Any = recorded_pod("metrics-server-1", container("metrics-server", waiting=waiting))
    pod["metadata"] |= {"namespace": "kube-system", "labels": {"k8s-app": "metrics-server"}}
    scene.fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
    scene.fake.put({"apiVersion": "v1", **pod})

    said = metrics_server.describe(scene.api, 2)

    assert said.startswith("`kubectl top` does not work yet: Image docker.io/e2e:1 is not on node a")
    assert "no such host" in said
    assert scene.fake.clock.slept == []


def test_an_image_that_could_not_be_pulled_for_a_minute_is_not_waited_for_again(scene: Scene) -> None:
    scene.apply()
    scene.run(PROMETHEUS)
    put_stuck_grafana(scene, "g:1", "ImagePullBackOff", "Back-off pulling image")
    scene.fake.clock.sleep(61)
    began = scene.fake.clock.at

    assert "g:1" in scene.monitors.missing([], scene.said.append)[GRAFANA]

    assert scene.fake.clock.at == began


def test_our_metrics_server_is_applied_whole(scene: Scene) -> None:
    scene.fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
    metrics_server.apply(scene.api)

    assert scene.api.get("Deployment", "metrics-server", "kube-system") is not None
    assert scene.api.get("APIService", metrics_server.SERVICE) is not None


def test_a_broken_api_while_settling_is_told(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise InfraError("The API is gone.")

    scene.apply()
    monkeypatch.setattr(scene.monitors, "missing", broken)
    engine: Any = type("Engine", (), {"owned": True, "brings_metrics": True})()
    some_routes: Any = object()

    Watching(scene.monitors, some_routes).wait_ready(scene.api, [], engine, scene.said.append)

    assert scene.said[-1] == "monitoring: The API is gone."
