"""The manifests: that KubeRay's own schema knows every field of them, and what the options change."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from fixtures.clusters import training_environment
from fixtures.clusters.kubernetes.access.capacity import Resources
from fixtures.clusters.kubernetes.raycluster import manifest
from fixtures.errors import UsageError
from fixtures.system.paths import MANIFESTS
from tests.unit.recordings import sample

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = (MANIFESTS / "raycluster.yaml").read_text()
SCHEMA: Mapping[str, Any] = sample("schema-v1.json")["schema"]
MIB = 1 << 20


def rendered(**changes: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"workers": 2, "cpus": 1, "overcommit": False, "namespace": "ray-train-e2e"}
    asked["image"] = "docker.io/library/ray-train-e2e:4f1c"
    return manifest.raycluster(**{"template": TEMPLATE, **asked, **changes})


def unknown(schema: Mapping[str, Any], value: Any, path: str = "") -> Iterator[str]:
    """Fields that the schema does not have, which the API server would refuse or drop."""
    if isinstance(value, dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        for key, part in value.items():
            if key in known:
                yield from unknown(known[key], part, f"{path}.{key}")
            elif isinstance(others, Mapping):
                yield from unknown(others, part, f"{path}.{key}")
            elif not (path == ".metadata" or others):
                yield f"{path}.{key}"
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from unknown(schema["items"], part, f"{path}[{index}]")


def groups(cluster: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]


def containers(cluster: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [container for group in groups(cluster) for container in group["template"]["spec"]["containers"]]


def test_kuberays_schema_accepts_the_raycluster_and_knows_every_field() -> None:
    for cluster in (
        yaml.safe_load(TEMPLATE),
        rendered(),
        rendered(overcommit=True, imported=False),
        with_all_cores(2, 4),
    ):
        jsonschema.Draft202012Validator(SCHEMA).validate(cluster)
        assert list(unknown(SCHEMA, cluster)) == []
    wrong = rendered()
    wrong["spec"]["authOption"] = {}
    containers(wrong)[1]["imagePolicy"] = "Never"
    assert list(unknown(SCHEMA, wrong)) == [
        ".spec.workerGroupSpecs[0].template.spec.containers[0].imagePolicy",
        ".spec.authOption",
    ]


def test_the_raycluster_is_for_the_ray_that_is_pinned() -> None:
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)

    assert pinned is not None
    assert rendered()["spec"]["rayVersion"] == pinned.group(1)


def test_every_pod_has_the_environment_and_object_store_of_the_embedded_cluster_and_the_head_no_work() -> None:
    for container in containers(rendered()):
        environment = {variable["name"]: variable.get("value", "") for variable in container["env"]}
        assert environment.pop("RAY_TRAIN_E2E_NODE") == "", "the pod's node says Kubernetes"
        assert environment == {**training_environment.TRAINING, **training_environment.RAY}
    for group in groups(rendered()):
        assert int(group["rayStartParams"]["object-store-memory"]) == training_environment.OBJECT_STORE
    assert groups(rendered())[0]["rayStartParams"]["num-cpus"] == "0"


def test_every_pod_keeps_the_restricted_pod_security_standard() -> None:
    every_pod = with_all_cores(2, 4)
    assert len(containers(every_pod)) == 4  # head, workers, and one process on 2 and on 4 cores
    for container in containers(every_pod):
        assert container["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    for group in groups(every_pod):
        # Nothing of a pod's own that the standard forbids: the host's network, process ids, volumes.
        assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & set(group["template"]["spec"])


def test_the_image_runs_as_the_user_of_the_pods() -> None:
    user = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "image/Dockerfile").read_text(), re.MULTILINE)

    assert user == [(str(containers(rendered())[0]["securityContext"]["runAsUser"]), "0")]


def test_a_worker_gets_whole_cpus_and_overcommit_lowers_what_is_asked_for_never_what_may_be_used() -> None:
    resources = containers(rendered(cpus=3))[1]["resources"]
    assert resources["limits"] == resources["requests"] == {"cpu": "3", "memory": "3584Mi"}

    usual, squeezed = rendered(), rendered(overcommit=True)
    for before, after in zip(containers(usual), containers(squeezed), strict=True):
        assert after["resources"]["limits"] == before["resources"]["limits"]
        assert after["resources"]["requests"] == {"cpu": "50m", "memory": "256Mi"}
    assert manifest.head_needs(squeezed) == Resources(50, 256 * MIB)
    assert manifest.worker_needs(squeezed) == Resources(200, 256 * MIB), "KubeRay's init container needs room, too"
    assert manifest.worker_uses(squeezed) == Resources(1000, 2560 * MIB)
    assert manifest.worker_needs(usual) == manifest.worker_uses(usual)


def test_an_imported_image_is_never_pulled_and_another_one_only_when_it_is_absent() -> None:
    assert {each["imagePullPolicy"] for each in containers(rendered())} == {"Never"}
    assert {each["imagePullPolicy"] for each in containers(rendered(imported=False))} == {"IfNotPresent"}
    assert {each["image"] for each in containers(rendered(image="docker.io/library/x:1"))} == {"docker.io/library/x:1"}


def test_names_are_those_by_which_everything_is_found_again() -> None:
    found = rendered(namespace="mine")
    text = yaml.safe_dump(found)

    assert (found["metadata"]["name"], found["metadata"]["namespace"]) == (manifest.NAME, "mine")
    assert found["spec"]["authOptions"] == {"mode": "token", "secretName": manifest.NAME}
    assert text.count(f"ray.io/cluster: {manifest.NAME}\n") == 2


def test_kuberay_may_start_as_many_workers_as_are_asked_for_and_fewer() -> None:
    group = rendered(workers=4)["spec"]["workerGroupSpecs"][0]
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (4, 0, 4)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("kind: [", "is not YAML"),
        ("kind: Pod", "The manifest is not a RayCluster"),
        ("", "The manifest is not a RayCluster"),
        ("kind: RayCluster\nspec: {}", "has not exactly one head"),
        (TEMPLATE.replace("containers:", "container:"), "has not exactly one head"),
        (TEMPLATE.replace("authOptions:", "auth:"), "has not exactly one head"),
    ],
)
def test_a_manifest_that_was_edited_beyond_recognition_is_refused_in_one_sentence(broken: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        rendered(template=broken)


def test_rendering_changes_no_later_rendering() -> None:
    containers(rendered())[0]["env"].clear()

    assert all(container["env"] for container in containers(rendered()))


def test_everything_that_is_applied_says_whose_it_is() -> None:
    ours = {"app.kubernetes.io/managed-by": "ray-train-e2e"}
    never_applied_by_us = {MANIFESTS / f"{name}.yaml" for name in ("kuberay-values", "rbac", "network-policy")}
    for file in sorted(set(MANIFESTS.glob("*.yaml")) - never_applied_by_us):
        assert ours.items() <= yaml.safe_load(file.read_text())["metadata"]["labels"].items(), file.name
    assert [group["template"]["metadata"]["labels"] for group in groups(rendered())] == [ours, ours]


def test_the_dashboard_is_a_node_port_of_the_head_with_the_port_that_was_agreed_on() -> None:
    template = (MANIFESTS / "dashboard.yaml").read_text()
    free = manifest.dashboard(template, namespace="mine")
    fixed = manifest.dashboard(template, namespace="mine", port=30265)

    assert (free["metadata"]["name"], free["metadata"]["namespace"]) == ("e2e-dashboard", "mine")
    assert free["spec"]["type"] == "NodePort"
    assert "nodePort" not in free["spec"]["ports"][0]
    assert fixed["spec"]["selector"] == {"ray.io/cluster": manifest.NAME, "ray.io/node-type": "head"}
    assert fixed["spec"]["ports"] == [{"name": "dashboard", "port": 8265, "targetPort": 8265, "nodePort": 30265}]
    namespace = manifest.namespace((MANIFESTS / "namespace.yaml").read_text(), name="mine")["metadata"]
    assert (namespace["name"], namespace["labels"]["pod-security.kubernetes.io/enforce"]) == ("mine", "restricted")


def test_what_the_code_sets_is_marked_in_the_manifest() -> None:
    marked = [line.partition("# set:")[0].strip() for line in TEMPLATE.splitlines() if "# set:" in line]

    for field in ("namespace:", "secretName:", "image:", "imagePullPolicy:", "replicas:", "maxReplicas:"):
        assert any(line.startswith(field) for line in marked), field


def with_all_cores(*sizes: int, promised: bool = False) -> dict[str, Any]:
    return manifest.add_all_cores(rendered(), sizes, promised=promised)


def test_one_process_on_all_cores_has_a_pod_of_its_own_for_each_number_of_cpus() -> None:
    _, *pods = groups(with_all_cores(2, 4))

    assert [pod["groupName"] for pod in pods] == ["workers", "all-cores-2", "all-cores-4"]
    assert (pods[2]["replicas"], pods[2]["maxReplicas"]) == (1, 1)
    resources = [container["resources"] for container in containers(with_all_cores(2, 4))[1:]]
    assert [each["limits"]["cpu"] for each in resources] == ["1", "2", "4"]
    assert [each["limits"]["memory"] for each in resources] == ["2560Mi", "3072Mi", "4096Mi"]
    assert [each["requests"] for each in resources[1:]] == [{"cpu": "50m", "memory": "2560Mi"}] * 2


def test_on_somebody_elses_cluster_the_pod_of_one_process_is_promised_its_cpus() -> None:
    asked = with_all_cores(4, promised=True)

    assert containers(asked)[2]["resources"]["requests"] == {"cpu": "4", "memory": "2560Mi"}
    assert manifest.all_cores_needs(asked, 4, promised=True) == Resources(4000, 2560 * MIB)
    assert manifest.all_cores_needs(asked, 4, promised=False) == Resources(200, 2560 * MIB)


def test_no_rank_and_no_baseline_can_land_on_the_pod_of_one_process_and_its_job_lands_nowhere_else() -> None:
    offered = [group["rayStartParams"] for group in groups(with_all_cores(4))]

    assert [each.get("num-cpus", "by the limit") for each in offered] == ["0", "by the limit", "0"]
    assert [each.get("resources") for each in offered] == [None, None, r'"{\"all-cores-4\": 1}"']


def test_the_pod_of_one_process_changes_nothing_about_where_workers_go() -> None:
    _, workers, alone = groups(with_all_cores(4))

    assert workers == groups(rendered())[1]
    near, _ = workers["template"]["spec"]["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert near["podAffinityTerm"]["labelSelector"]["matchLabels"]["ray.io/group"] == "workers"
    assert "affinity" not in alone["template"]["spec"]
