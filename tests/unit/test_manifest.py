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
    asked: dict[str, Any] = {
        "image": "docker.io/library/ray-train-e2e:4f1c",
        "workers": 2,
        "cpus": 1,
        "overcommit": False,
        "namespace": "ray-train-e2e",
    }
    return manifest.raycluster(TEMPLATE, **{**asked, **changes})


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


def containers(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    spec = found["spec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    return [each for group in groups for each in group["template"]["spec"]["containers"]]


@pytest.mark.parametrize("found", [yaml.safe_load(TEMPLATE), rendered(), rendered(overcommit=True, imported=False)])
def test_kuberays_schema_accepts_the_raycluster_and_knows_every_field(found: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    assert list(unknown(SCHEMA, found)) == []


def test_a_field_that_the_schema_does_not_know_would_be_noticed() -> None:
    wrong = rendered()
    wrong["spec"]["authOption"] = {}
    wrong["spec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["imagePolicy"] = "Never"

    assert list(unknown(SCHEMA, wrong)) == [
        ".spec.workerGroupSpecs[0].template.spec.containers[0].imagePolicy",
        ".spec.authOption",
    ]


def test_the_raycluster_is_for_the_ray_that_is_pinned() -> None:
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)

    assert pinned is not None
    assert rendered()["spec"]["rayVersion"] == pinned.group(1)


def test_every_container_has_the_environment_of_the_embedded_cluster_and_nothing_else() -> None:
    wanted = {**training_environment.TRAINING, **training_environment.RAY}

    for container in containers(rendered()):
        assert {each["name"]: each["value"] for each in container["env"]} == wanted


def test_the_object_store_is_as_large_as_on_the_embedded_cluster() -> None:
    spec = rendered()["spec"]

    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert int(group["rayStartParams"]["object-store-memory"]) == training_environment.OBJECT_STORE


def test_the_head_runs_no_work() -> None:
    assert rendered()["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_every_pod_keeps_the_restricted_pod_security_standard() -> None:
    for container in containers(rendered()):
        assert container["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }


def test_a_worker_gets_whole_cpus_as_limit_and_request() -> None:
    worker = containers(rendered(cpus=3))[1]

    assert worker["resources"]["limits"] == {"cpu": "3", "memory": "3584Mi"}
    assert worker["resources"]["requests"] == worker["resources"]["limits"]


def test_overcommit_lowers_what_is_asked_for_and_never_what_may_be_used() -> None:
    usual, squeezed = rendered(), rendered(overcommit=True)

    for before, after in zip(containers(usual), containers(squeezed), strict=True):
        assert after["resources"]["limits"] == before["resources"]["limits"]
        assert after["resources"]["requests"] == {"cpu": "50m", "memory": "256Mi"}


def test_the_scheduler_needs_room_for_kuberays_init_container_too() -> None:
    squeezed = rendered(overcommit=True)

    assert manifest.head_needs(squeezed) == Resources(50, 256 * MIB)
    assert manifest.worker_needs(squeezed) == Resources(200, 256 * MIB)
    assert manifest.worker_uses(squeezed) == Resources(1000, 2560 * MIB)
    assert manifest.worker_needs(rendered()) == manifest.worker_uses(rendered())


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
        manifest.raycluster(broken, image="i", workers=1, cpus=1, overcommit=False, namespace="n")


def test_rendering_changes_no_later_rendering() -> None:
    first = rendered()
    first["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["env"].clear()

    assert all(container["env"] for container in containers(rendered()))
    assert containers(first)[1]["env"]


def test_everything_that_is_applied_says_whose_it_is() -> None:
    for file in sorted(set(MANIFESTS.glob("*.yaml")) - {MANIFESTS / "kuberay-values.yaml"}):
        found = yaml.safe_load(file.read_text())
        assert found["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "ray-train-e2e", file.name
    spec = rendered()["spec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert group["template"]["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "ray-train-e2e"}


def test_the_dashboard_is_a_node_port_of_the_head_with_the_port_that_was_agreed_on() -> None:
    template = (MANIFESTS / "dashboard.yaml").read_text()
    free = manifest.dashboard(template, namespace="mine")
    fixed = manifest.dashboard(template, namespace="mine", port=30265)

    assert (free["metadata"]["name"], free["metadata"]["namespace"]) == ("e2e-dashboard", "mine")
    assert free["spec"]["type"] == "NodePort"
    assert "nodePort" not in free["spec"]["ports"][0]
    assert fixed["spec"]["selector"] == {"ray.io/cluster": manifest.NAME, "ray.io/node-type": "head"}
    assert fixed["spec"]["ports"] == [{"name": "dashboard", "port": 8265, "targetPort": 8265, "nodePort": 30265}]


def test_the_namespace_has_the_name_that_was_asked_for() -> None:
    found = manifest.namespace((MANIFESTS / "namespace.yaml").read_text(), name="mine")

    assert found["metadata"]["name"] == "mine"
    assert found["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_what_the_code_sets_is_marked_in_the_manifest() -> None:
    marked = [line.partition("# set:")[0].strip() for line in TEMPLATE.splitlines() if "# set:" in line]

    for field in ("namespace:", "secretName:", "image:", "imagePullPolicy:", "replicas:", "maxReplicas:"):
        assert any(line.startswith(field) for line in marked), field
