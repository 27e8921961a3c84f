"""GPUs on Kubernetes: what pods ask for, which nodes have room, and what is refused."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from fixtures.clusters.kubernetes.access.capacity import (
    Resources,
    allocatable,
    explain_lack,
    node_rooms,
    places_for,
    refuses,
    sliced,
)
from fixtures.clusters.kubernetes.image.recipe import pins
from fixtures.clusters.kubernetes.raycluster import manifest
from fixtures.errors import UsageError
from fixtures.settings.settings import build
from fixtures.system.paths import IMAGE, MANIFESTS
from tests.unit.recordings import node

GIB = 1 << 30
HEAD, WORKER = Resources(1000, 3 * GIB), Resources(1000, 5 * GIB // 2, gpus=1)
OURS: dict[str, Any] = {"namespace": "ray-train-e2e", "cluster": "e2e", "gpus": True}
TEMPLATE = (MANIFESTS / "raycluster.yaml").read_text()


def with_gpus(name: str, gpus: int, *, taints: tuple[str, ...] = (), labels: Mapping[str, str] | None = None) -> Any:
    made: Any = node(name, cpu="16", memory="64Gi")
    made["status"]["allocatable"]["nvidia.com/gpu"] = str(gpus)
    made["metadata"]["labels"] = dict(labels or {})
    made["spec"]["taints"] = [{"key": key, "effect": "NoSchedule"} for key in taints]
    return made


def rendered(**changes: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"workers": 2, "cpus": 1, "overcommit": False, "namespace": "ray-train-e2e", "image": "a:1"}
    return manifest.raycluster(TEMPLATE, **asked | changes)


def test_each_worker_asks_for_a_whole_gpu_and_the_head_for_none_which_ray_is_told() -> None:
    for overcommit in (False, True):
        spec = rendered(gpus=1, overcommit=overcommit)["spec"]
        head, (workers,) = spec["headGroupSpec"], spec["workerGroupSpecs"]
        resources = workers["template"]["spec"]["containers"][0]["resources"]

        assert [resources[kind]["nvidia.com/gpu"] for kind in ("limits", "requests")] == ["1", "1"]
        assert "num-gpus" not in workers["rayStartParams"], "KubeRay takes it from the limit"
        assert head["rayStartParams"]["num-gpus"] == "0"
        assert "nvidia.com/gpu" not in str(head["template"]["spec"]["containers"])


def test_both_tolerate_the_taint_of_gpu_nodes_and_without_gpus_none_does() -> None:
    spec = rendered(gpus=1)["spec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert group["template"]["spec"]["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert "tolerations" not in yaml.safe_dump(rendered())


def test_the_scheduler_is_asked_for_the_gpus_of_all_workers() -> None:
    assert manifest.worker_needs(rendered(gpus=1)).gpus == 1
    assert manifest.head_needs(rendered(gpus=1)).gpus == manifest.worker_needs(rendered()).gpus == 0


def test_room_is_counted_in_gpus_and_a_lack_is_shown_with_them() -> None:
    nodes = (with_gpus("a", 1), with_gpus("b", 0))
    rooms = node_rooms(nodes, (), **OURS)

    assert allocatable(nodes[0]).gpus == 1
    assert places_for(rooms, WORKER, [HEAD]) == 1
    assert explain_lack(rooms, nodes, head=HEAD, worker=WORKER, workers=1) == ""
    lack = explain_lack(rooms, nodes, head=HEAD, worker=WORKER, workers=2)
    assert lack.startswith("2 workers x 1 CPU and 2.5 GiB and 1 GPU and a head with 1 CPU and 3.0 GiB need ")
    assert "a has 16 CPU and 64.0 GiB and 1 GPU free" in lack
    assert lack.endswith("beside the head there is room for 1.")


def test_a_gpu_nodes_own_taint_is_no_obstacle_and_any_other_is() -> None:
    tainted = with_gpus("a", 1, taints=("nvidia.com/gpu",))

    assert refuses(tainted, gpus=True) == ""
    assert refuses(tainted) == "taint nvidia.com/gpu"
    assert refuses(with_gpus("a", 1, taints=("nvidia.com/gpu", "mine")), gpus=True) == "taint mine"


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({"nvidia.com/gpu.sharing-strategy": "time-slicing"}, "time-slicing"),
        ({"nvidia.com/gpu.sharing-strategy": "mps"}, "mps"),
        ({"cloud.google.com/gke-gpu-sharing-strategy": "time-sharing"}, "time-sharing"),
        ({"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb"}, "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb"),
        ({"nvidia.com/gpu.product": "Tesla-T4-SHARED"}, "Tesla-T4-SHARED"),
    ],
)
def test_a_node_that_hands_out_parts_of_gpus_is_named(labels: dict[str, str], says: str) -> None:
    assert sliced([with_gpus("a", 4, labels=labels)]) == f"a ({says}) hand out parts of GPUs: expected whole ones."


def test_a_node_of_whole_gpus_is_not_named() -> None:
    whole = {"nvidia.com/gpu.sharing-strategy": "none", "nvidia.com/gpu.product": "NVIDIA-H200"}

    assert sliced([with_gpus("a", 4, labels=whole), with_gpus("b", 0)]) == ""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "--container-runtime='containerd' (default): expected docker with --gpus-per-worker on Minikube."),
        ({"driver": "kvm2"}, "--driver='kvm2': expected docker with --gpus-per-worker on Minikube."),
        ({"container_runtime": "docker"}, "--nodes='2' (default): expected 1 with --gpus-per-worker on Minikube."),
    ],
)
def test_what_minikube_cannot_give_gpus_to_is_refused(
    given: dict[str, object], message: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = {"gpus_per_worker": "1", "cluster": "minikube"}
    with pytest.raises(UsageError) as caught:
        build(asked | given, {})
    assert caught.value.cause == message
    assert build(asked | {"container_runtime": "docker", "nodes": "1"}, {}).gpus_per_worker == 1


def test_the_image_for_gpus_replaces_tensorflow_by_the_pinned_one_with_cuda() -> None:
    locked = pins((IMAGE.parent / "constraints.txt").read_text())
    cuda = pins((IMAGE / "requirements-gpu.txt").read_text())

    assert cuda.items() <= locked.items()
    assert {"tensorflow", "nvidia-ml-py", "nvidia-cudnn-cu12", "nvidia-nccl-cu12"} <= set(cuda)
