"""What the report says of a Kubernetes cluster, from recorded nodes and pods."""

from types import SimpleNamespace
from typing import Any

from fixtures.clusters.kubernetes.details import describe
from tests.unit.recordings import items, moments


def test_versions_names_pods_and_requests_are_those_of_the_cluster_and_what_is_unknown_is_left_out() -> None:
    engine: Any = SimpleNamespace(context="rig", version=lambda: "Minikube v1.38.1")
    pods = list(moments("raycluster", "pods-ray"))[-1].pods
    nodes = items("nodes-2.json")

    versions, address = ("v1.34.4", "ray/kuberay (KubeRay 1.7.0)"), "http://192.168.49.2:30265"

    details = dict(describe(engine, "ray", nodes, pods, versions, address, "e2e-grafana: no image."))

    assert details["Kubernetes"] == "v1.34.4, Minikube v1.38.1, containerd://1.6.20"
    assert details["KubeRay"] == "ray/kuberay (KubeRay 1.7.0)"
    assert details["context and namespace"] == "rig, ray"
    assert details["pods"].startswith("demo-head-")
    assert " on rig" in details["pods"]
    assert details["image"] == "docker.io/rig/ray:2.60.0"
    assert details["limits of a worker"].startswith("cpu ")
    assert details["dashboard"] == "http://192.168.49.2:30265, as long as the cluster is kept"
    assert details["monitoring"] == "not all of it ran: e2e-grafana: no image."
    few = dict(describe(engine, "ray", (), (), ("", ""), ""))
    assert few["dashboard"] == "`python -m fixtures dashboard` opens it, as long as the cluster is kept"
    assert set(few) == {"Kubernetes", "context and namespace", "dashboard"}
