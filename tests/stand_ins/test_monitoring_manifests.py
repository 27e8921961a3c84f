"""The manifests of the monitoring: by Kubernetes' own types, the strictest standard for pods, least rights."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from kubernetes import client

from fixtures.clusters.kubernetes.access.objects import CLUSTER_LABEL
from fixtures.clusters.kubernetes.monitoring.monitoring import (
    COMPONENT,
    GRAFANA,
    PROMETHEUS,
    Wanted,
    head_environment,
    manifests,
)
from fixtures.clusters.kubernetes.raycluster.manifest import NAME
from fixtures.monitoring import files
from fixtures.monitoring.dashboards import OURS, every
from fixtures.settings.kubernetes import GRAFANA_IMAGE, PROMETHEUS_IMAGE
from fixtures.system.paths import MANIFESTS
from tests.stand_ins.dashboard_queries import filled, queries
from tests.unit.recordings import items, text, timeline

WANTED = Wanted(PROMETHEUS_IMAGE, GRAFANA_IMAGE, 30300)
CONFIG_MAP_BYTES = 1 << 20
METRICS_SERVER = tuple(yaml.safe_load_all(files.text("metrics-server.yaml")))
"""It has rights in the whole cluster by its nature, and is applied only to clusters of our own."""
SCRAPES = yaml.safe_load(files.text("scrape.yml"))["scrape_configs"]
FILES = tuple(each for name in ("prometheus.yaml", "grafana.yaml") for each in yaml.safe_load_all(files.text(name)))

Applied = tuple[Mapping[str, Any], ...]


@pytest.fixture(scope="module")
def applied() -> Applied:
    return tuple(manifests(WANTED, "space"))


def one(applied: Applied, kind: str, name: str) -> Mapping[str, Any]:
    (found,) = (each for each in applied if each["kind"] == kind and each["metadata"]["name"] == name)
    return found


def pod_spec(applied: Applied, name: str) -> Any:
    return one(applied, "Deployment", name)["spec"]["template"]["spec"]


def pods(applied: Applied) -> list[Any]:
    """The specification of each Deployment's pods, that of metrics-server included."""
    every_object = (*applied, *METRICS_SERVER)
    return [each["spec"]["template"]["spec"] for each in every_object if each["kind"] == "Deployment"]


def check(stored: Mapping[str, Any]) -> None:
    """Raise ValueError for a field or a type that Kubernetes does not know."""
    kind = {"APIService": "V1APIService"}.get(stored["kind"], f"V1{stored['kind']}")
    getattr(client, kind).model_validate(stored)


def test_every_object_and_every_file_has_only_fields_and_types_that_kubernetes_knows(applied: Applied) -> None:
    rights = yaml.safe_load_all((MANIFESTS / "rbac.yaml").read_text(encoding="utf-8"))
    for stored in (*applied, *METRICS_SERVER, *FILES, *rights):
        check(stored)

    wrong = json.loads(json.dumps(one(applied, "Deployment", PROMETHEUS)))
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(ValueError, match="readynessProbe"):
        check(wrong)


def test_everything_lies_in_the_namespace_and_is_marked_as_ours(applied: Applied) -> None:
    for each in applied:
        assert each["metadata"]["namespace"] == "space"
        assert each["metadata"]["labels"][COMPONENT] == "monitoring"
        assert each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "ray-train-e2e"
    assert one(applied, "RoleBinding", PROMETHEUS)["subjects"][0]["namespace"] == "space"


def test_pods_keep_the_restricted_standard_and_are_pinned_bounded_and_probed(applied: Applied) -> None:
    for pod in pods(applied):
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        for volume in pod["volumes"]:
            assert set(volume) - {"name"} <= {"configMap", "emptyDir", "projected", "secret"}
        assert re.fullmatch(r"[\w.]+\.\w+/[\w./-]+:v?\d+\.\d+\.\d+", container["image"])
        for kind in ("requests", "limits"):
            assert set(container["resources"][kind]) == {"cpu", "memory"}
        assert {"readinessProbe", "livenessProbe"} <= set(container)


def test_where_the_network_policy_holds_prometheus_and_the_dashboard_are_still_reached(applied: Applied) -> None:
    policy = yaml.safe_load((MANIFESTS / "network-policy.yaml").read_text(encoding="utf-8"))
    cluster = yaml.safe_load((MANIFESTS / "raycluster.yaml").read_text(encoding="utf-8"))
    head = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in head["ports"]}
    among_ray, from_prometheus, from_all = policy["spec"]["ingress"]

    check(policy)
    assert among_ray == {"from": [{"podSelector": policy["spec"]["podSelector"]}]}
    assert policy["spec"]["podSelector"] == {"matchLabels": {CLUSTER_LABEL: NAME}}
    scraped = {port["port"] for port in from_prometheus["ports"]}
    assert scraped == {number for name, number in ports.items() if "metrics" in name}
    assert from_prometheus["from"] == [{"podSelector": one(applied, "Deployment", PROMETHEUS)["spec"]["selector"]}]
    assert from_all == {"ports": [{"protocol": "TCP", "port": ports["dashboard"]}]}


def test_prometheus_may_read_the_pods_of_its_namespace_and_nothing_else(applied: Applied) -> None:
    roles = [each for each in applied if "Role" in each["kind"]]

    assert {(each["kind"], each["metadata"]["name"]) for each in roles} == {
        ("Role", PROMETHEUS),
        ("RoleBinding", PROMETHEUS),
    }
    assert one(applied, "Role", PROMETHEUS)["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    ]
    assert pod_spec(applied, GRAFANA)["automountServiceAccountToken"] is False


def test_prometheus_forgets_after_a_time_and_a_size(applied: Applied) -> None:
    arguments = pod_spec(applied, PROMETHEUS)["containers"][0]["args"]

    assert any(re.fullmatch(r"--storage\.tsdb\.retention\.time=\d+d", each) for each in arguments)
    assert any(re.fullmatch(r"--storage\.tsdb\.retention\.size=\d+GB", each) for each in arguments)


def test_each_dashboard_has_a_config_map_of_its_own_that_fits_and_is_mounted(
    applied: Applied,
) -> None:
    maps = {each["metadata"]["name"]: each["data"] for each in applied if each["kind"] == "ConfigMap"}
    volumes = pod_spec(applied, GRAFANA)["volumes"]
    (sources,) = (each["projected"]["sources"] for each in volumes if each["name"] == "dashboards")
    mounted = [name for each in sources for name in maps[each["configMap"]["name"]]]

    assert sorted(mounted) == sorted(every())
    assert OURS in mounted
    assert len(mounted) > 5, "Ray has several of its own"
    assert all(sum(map(len, data.values())) < CONFIG_MAP_BYTES for data in maps.values())


def test_what_is_mounted_by_name_is_applied(applied: Applied) -> None:
    maps = {each["metadata"]["name"] for each in applied if each["kind"] == "ConfigMap"}
    volumes = [each for pod in pods(applied)[:2] for each in pod["volumes"]]

    assert {each["configMap"]["name"] for each in volumes if "configMap" in each} <= maps
    assert [each["secret"]["secretName"] for each in volumes if "secret" in each] == [NAME]
    for each in volumes:
        for item in each.get("configMap", {}).get("items", ()):
            assert item["key"] in one(applied, "ConfigMap", GRAFANA)["data"]


def test_grafana_has_a_node_port_only_where_one_is_asked_for(applied: Applied) -> None:
    assert one(applied, "Service", GRAFANA)["spec"]["ports"][0]["nodePort"] == 30300
    assert one(applied, "Service", GRAFANA)["spec"]["type"] == "NodePort"

    shared = tuple(manifests(Wanted("a", "b", None), "space"))
    spec = one(shared, "Service", GRAFANA)["spec"]
    assert spec["type"] == "ClusterIP"
    assert "nodePort" not in spec["ports"][0]
    assert "nodePort" not in json.dumps(one(applied, "Service", PROMETHEUS))


def test_a_changed_password_or_configuration_replaces_the_pod(applied: Applied) -> None:
    other = tuple(manifests(Wanted(PROMETHEUS_IMAGE, GRAFANA_IMAGE, 30300, "secret"), "space"))

    def mark(found: Applied, name: str) -> Any:
        return one(found, "Deployment", name)["spec"]["template"]["metadata"]["annotations"]

    assert mark(applied, GRAFANA) != mark(other, GRAFANA)
    assert mark(applied, PROMETHEUS) == mark(other, PROMETHEUS)
    assert "secret" not in json.dumps(mark(other, GRAFANA))


def test_the_pinned_images_are_those_of_the_files() -> None:
    found = {pod["containers"][0]["image"] for pod in pods(FILES)[:2]}

    assert found == {PROMETHEUS_IMAGE, GRAFANA_IMAGE}


def test_the_head_knows_both_from_inside_and_grafana_as_a_browser_does() -> None:
    assert head_environment("space", "http://192.168.49.2:30300") == {
        "RAY_PROMETHEUS_HOST": "http://e2e-prometheus.space.svc:9090",
        "RAY_PROMETHEUS_NAME": yaml.safe_load(files.text("datasource.yml"))["datasources"][0]["name"],
        "RAY_GRAFANA_HOST": "http://e2e-grafana.space.svc:3000",
        "RAY_GRAFANA_IFRAME_HOST": "http://192.168.49.2:30300",
    }


def test_grafana_s_data_source_points_at_prometheus_s_service(applied: Applied) -> None:
    source = yaml.safe_load(one(applied, "ConfigMap", GRAFANA)["data"]["datasource.yml"])["datasources"][0]

    port = one(applied, "Service", PROMETHEUS)["spec"]["ports"][0]["port"]
    assert source["url"] == f"http://{PROMETHEUS}:{port}"
    assert source["isDefault"] is True


# --- the dashboards ---------------------------------------------------------------------------------------------


def test_our_dashboard_asks_only_for_metrics_of_ray_of_the_exporter_or_of_alerts() -> None:
    from trainer.exporter import RANK_FIGURES, TRIAL_FIGURES  # noqa: PLC0415

    ours = {f"ray_e2e_{name}" for name in (*RANK_FIGURES, *TRIAL_FIGURES)}
    found = {
        name
        for each in queries(OURS, files.text(OURS))
        for name in re.findall(r"ray_\w+|ALERTS", filled(each.expression, {"trial": ".*"}))
    }

    assert {each for each in found if each.startswith("ray_e2e_")} <= ours
    assert found - ours == {"ALERTS", "ray_node_cpu_utilization", "ray_node_cpu_count", "ray_node_mem_used"}


def test_our_dashboard_marks_the_start_and_the_end_of_each_trial_at_their_own_time() -> None:
    annotations = json.loads(files.text(OURS))["annotations"]["list"]

    assert [each["name"] for each in annotations] == ["Trial starts", "Trial ends"]
    assert all(each["useValueForTime"] == "on" and each["expr"].endswith("* 1000") for each in annotations)


# --- what is scraped --------------------------------------------------------------------------------------------


def discovered(pod: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """What Prometheus's discovery says about a pod: one target for each container port (role: pod)."""

    def sanitised(name: str) -> str:
        return re.sub(r"[^a-zA-Z0-9_]", "_", name)

    if not pod.get("status", {}).get("podIP"):
        return
    labels = {
        "__meta_kubernetes_pod_name": pod["metadata"]["name"],
        "__meta_kubernetes_pod_node_name": pod["spec"].get("nodeName", ""),
        "__meta_kubernetes_pod_phase": pod["status"]["phase"],
    }
    for key, value in pod["metadata"].get("labels", {}).items():
        labels[f"__meta_kubernetes_pod_label_{sanitised(key)}"] = value
        labels[f"__meta_kubernetes_pod_labelpresent_{sanitised(key)}"] = "true"
    for container in pod["spec"]["containers"]:
        for port in container.get("ports", ()):
            address = f"{pod['status']['podIP']}:{port['containerPort']}"
            yield {
                **labels,
                "__address__": address,
                "__meta_kubernetes_pod_container_port_name": port.get("name", ""),
            }


def relabelled(target: dict[str, str], rules: list[Mapping[str, Any]]) -> dict[str, str] | None:
    """A target after the relabelling of a job, by Prometheus's rules for keep, drop and replace."""
    for rule in rules:
        assert set(rule) <= {"source_labels", "regex", "action", "target_label"}, rule
        value = ";".join(target.get(each, "") for each in rule["source_labels"])
        matches = re.fullmatch(rule.get("regex", "(.*)"), value, re.DOTALL)
        action = rule.get("action", "replace")
        if (action == "keep" and not matches) or (action == "drop" and matches):
            return None
        if action == "replace" and matches:
            target = {**target, rule["target_label"]: value}
    return {key: value for key, value in target.items() if not key.startswith("__meta") and value}


def targets(pods: Applied, job: str) -> list[dict[str, str]]:
    (found,) = (each for each in SCRAPES if each["job_name"] == job)
    every_target = (target for pod in pods for target in discovered(pod))
    return [kept for each in every_target if (kept := relabelled(each, found["relabel_configs"])) is not None]


def test_every_ray_pod_of_a_recorded_cluster_is_scraped_once_at_its_metrics_port() -> None:
    found = targets(items("pods-auth.json"), "ray")

    assert sorted((each["pod"], each["node_type"], each["port"], each["ray_io_cluster"]) for each in found) == [
        ("auth-head-5szj5", "head", "metrics", "auth"),
        ("auth-workers-worker-nzbnl", "worker", "metrics", "auth"),
    ]
    assert all(each["__address__"].endswith(":8080") for each in found)


def test_the_head_of_our_manifest_has_its_autoscaler_s_and_its_dashboard_s_ports_as_well() -> None:
    group = yaml.safe_load((files.FOLDER.parent / "raycluster.yaml").read_text())["spec"]["headGroupSpec"]
    head = json.loads(json.dumps(items("pods-auth.json")[0]))
    head["spec"]["containers"] = group["template"]["spec"]["containers"]

    found = {each["port"]: each["__address__"].rpartition(":")[2] for each in targets((head,), "ray")}
    assert found == {"metrics": "8080", "as-metrics": "44217", "dash-metrics": "44227"}


def test_pods_that_come_and_go_are_followed() -> None:
    counts = [len(targets(tuple(moment["items"]), "ray")) for _, moment in timeline("pods-worker-kill-timeline.jsonl")]

    assert counts[0] == 3
    assert set(counts) <= {2, 3, 4}
    assert counts[-1] == 3


def test_the_operator_is_scraped_by_its_own_job_and_by_no_other() -> None:
    running = json.loads(text("pods-operator-image-missing.json"))["items"]
    for pod in running:
        pod["status"] |= {"podIP": "10.0.0.9", "phase": "Running"}

    (found,) = targets(tuple(running), "operator")
    assert found["__address__"] == "10.0.0.9:8080"
    assert targets(tuple(running), "ray") == []


def test_ray_is_asked_with_the_token_of_its_secret(applied: Applied) -> None:
    (ray,) = (each for each in SCRAPES if each["job_name"] == "ray")
    container = pod_spec(applied, PROMETHEUS)["containers"][0]
    (mount,) = (each["mountPath"] for each in container["volumeMounts"] if each["name"] == "ray-token")

    assert ray["authorization"] == {"credentials_file": f"{mount}/auth_token"}


def test_it_looks_into_its_own_namespace_only() -> None:
    for each in SCRAPES:
        for discovery in each.get("kubernetes_sd_configs", ()):
            assert discovery == {"role": "pod", "namespaces": {"own_namespace": True}}
