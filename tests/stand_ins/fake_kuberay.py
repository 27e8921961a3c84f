"""A Kubernetes API with KubeRay, whose controllers act at once, and the dashboard of the Ray that it makes."""

import json
from base64 import b64decode
from collections.abc import Mapping
from copy import deepcopy
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.stand_ins.fake_helm import crd, deployment
from tests.stand_ins.fake_kubernetes import FakeKubernetes
from tests.unit.recordings import at

SPACE = "ray-train-e2e"
OURS = {"app.kubernetes.io/managed-by": "ray-train-e2e"}
IMAGE = "docker.io/ray-train-e2e/trainer:1"
DIGEST = f"sha256:{'d' * 64}"
CRD = "rayclusters.ray.io"


def thing(kind: str, name: str, space: str | None = SPACE, labels: Mapping[str, str] | None = None, **more: Any) -> Any:
    """An object of somebody else's, unless it has our label."""
    metadata = {"name": name, "labels": dict(labels or {}), **({"namespace": space} if space else {})}
    version = "ray.io/v1" if kind == "RayCluster" else "v1"
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


class Server(FakeKubernetes):
    """An API server with KubeRay and the controllers that one notices, all of which act at once."""

    node_port = 0

    def apply(self, at: Any, manifest: Any) -> Any:
        stored = super().apply(at, manifest)
        if manifest["kind"] == "CustomResourceDefinition":
            stored["status"] = crd(CRD)["status"]
        if manifest["kind"] == "Service":
            stored["spec"]["ports"][0].setdefault("nodePort", self.node_port)
        if manifest["kind"] == "RayCluster":
            self._reconcile(stored)
        return stored

    def delete(self, at: Any, query: Any) -> Any:
        stored = super().delete(at, query)
        if at["plural"] == "namespaces":
            for objects in self._objects.values():
                for key in [key for key in objects if key[0] == at["name"]]:
                    del objects[key]
        if at["plural"] == "pods" and (ray := self.find("RayCluster", "e2e")):
            self._reconcile(ray)
        return stored

    def pods(self) -> list[Any]:
        """Those of the RayCluster, the head first."""
        pods = self._objects.get(("api/v1", "pods"), {}).values()
        return [pod for pod in pods if "ray.io/group" in pod["metadata"]["labels"]]

    def token(self) -> str:
        """What is in the RayCluster's secret."""
        return b64decode(self._objects[("api/v1", "secrets")][(SPACE, "e2e")]["data"]["auth_token"]).decode()

    def everything(self) -> dict[str, Any]:
        """All objects, without what changes by itself."""
        self.advance()
        return {
            f"{plural} {'/'.join(key)}": deepcopy(each)
            for (_, plural), objects in self._objects.items()
            for key, each in objects.items()
        }

    def _reconcile(self, ray: Any) -> None:
        spec, groups = ray["spec"], ray["spec"]["workerGroupSpecs"]
        templates = {"headgroup": spec["headGroupSpec"]["template"]}
        templates |= {group["groupName"]: group["template"] for group in groups}
        wanted = {"headgroup": 1} | {group["groupName"]: group["replicas"] for group in groups}
        if json.dumps(templates) != ray.get("made", ""):
            self.remove("Pod", SPACE)
            ray["made"] = json.dumps(templates)
        for group, count in wanted.items():
            there = [each for each in self.pods() if each["metadata"]["labels"]["ray.io/group"] == group]
            for each in there[count:]:
                self.remove("Pod", SPACE, each["metadata"]["name"])
            for _ in range(count - len(there)):
                self.put(self._pod(ray, group, templates[group]["spec"]))
        ray["status"] = {
            "observedGeneration": ray["metadata"]["generation"],
            "desiredWorkerReplicas": sum(wanted.values()) - 1,
            "readyWorkerReplicas": sum(wanted.values()) - 1,
            "conditions": [{"type": "HeadPodReady", "status": "True", "reason": "HeadPodRunningAndReady"}],
        }

    def _pod(self, ray: Any, group: str, spec: Any) -> Any:
        number, role = self._next(), "head" if group == "headgroup" else "worker"
        main = {"name": spec["containers"][0]["name"], "ready": True, "restartCount": 0, "imageID": f"x@{DIGEST}"}
        metadata = {
            "labels": {"ray.io/cluster": "e2e", "ray.io/node-type": role, "ray.io/group": group},
            "ownerReferences": [{"uid": ray["metadata"]["uid"]}],
            "creationTimestamp": at(0),
        }
        status = {
            "phase": "Running",
            "podIP": f"10.244.0.{number}",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{**main, "state": {"running": {"startedAt": at(0)}}}],
        }
        made = thing("Pod", f"e2e-{role}-{number}", spec={**deepcopy(spec), "nodeName": "a"}, status=status)
        made["metadata"] |= metadata
        return made


class Dashboard:
    """Answers as Ray's dashboard does, with the pods that there are as its nodes; token by the secret e2e."""

    def __init__(self, server: Server) -> None:
        self.kubernetes = server
        self.version = "2.60.0"

    def answer(self, call: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        if call.headers["Authorization"] != f"Bearer {self.kubernetes.token()}":
            return 403, b"Forbidden: Invalid authentication token"
        if call.path == "/api/version":
            return 200, json.dumps({"ray_version": self.version}).encode()
        if call.path == "/api/jobs/":
            return 200, b"[]"
        nodes = []
        for pod in self.kubernetes.pods():
            cpus = pod["spec"]["containers"][0]["resources"]["limits"]["cpu"]
            total = {"CPU": float(cpus)} if pod["metadata"]["labels"]["ray.io/group"] == "workers" else {}
            name = pod["status"]["podIP"]
            nodes.append({"raylet": {"nodeName": name, "state": "ALIVE", "resourcesTotal": total}})
        return 200, json.dumps({"result": True, "data": {"summary": nodes}}).encode()


def operator_of_somebody(server: Server) -> None:
    """KubeRay as somebody else installed it, for all namespaces."""
    server.put(deployment("kuberay-system"), crd(CRD))
