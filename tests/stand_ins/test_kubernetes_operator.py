"""The operator: what fits is used, what is missing is installed, and why it does not start is said."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from fixtures.clusters.kubernetes.access.api import MANAGER
from fixtures.clusters.kubernetes.operator import operator as operator_module
from fixtures.clusters.kubernetes.operator.deployment import PART_OF
from fixtures.clusters.kubernetes.operator.operator import HIDDEN, READY_SECONDS, VALUES
from fixtures.errors import InfraError
from tests.stand_ins.fake_helm import CRDS, NAME, crd, deployment, make_chart, recorded
from tests.stand_ins.kubernetes_store import ignore
from tests.stand_ins.operator_bench import NS, Bench
from tests.unit.recordings import node, sample


def broken(bench: Bench, *, revision: str = "1", owner: str = "5f6bdc8757") -> None:
    """Make installations end as the recorded one did: the image is missing."""
    bad = deepcopy(recorded("deploy-operator-image-missing")["items"][0])
    bad["metadata"]["namespace"] = NS
    bad["metadata"]["labels"][PART_OF] = MANAGER
    bad["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = revision
    pods, events = sample("pods-operator-image-missing.json"), sample("events-operator-image-missing.json")
    for each in (*pods["items"], *events["items"]):
        each["metadata"]["namespace"] = NS
    label = {"app.kubernetes.io/name": NAME, "pod-template-hash": owner}
    owner_of_pods = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{NAME}-{owner}",
            "namespace": NS,
            "labels": label,
            "annotations": {"deployment.kubernetes.io/revision": "1"},
        },
    }
    bench.helm.install = lambda _: bench.fake.put(bad, owner_of_pods, pods, events)
    bench.fake.clock.at = 1_795_425_000.0


def test_where_there_is_no_operator_ours_is_installed_with_our_values_and_without_helms_crds(bench: Bench) -> None:
    operator = bench.up()

    assert operator.owned
    assert operator.running is not None
    assert operator.running.version == "1.7.0"
    assert bench.helm.asked[-1] == (
        "upgrade", "--install", NAME, str(bench.folder / "chart"), "--kubeconfig", "/c", "--kube-context", "ours",
        "--namespace", NS, "--skip-crds", "--values", str(VALUES), "--timeout", "120s", "--output", "json",
    )  # fmt: skip


def test_an_operator_that_an_earlier_run_installed_just_so_is_not_installed_again(bench: Bench) -> None:
    bench.up()

    operator = bench.up()

    assert operator.owned
    assert bench.helm.verbs() == ["upgrade"]


def test_an_operator_of_ours_with_other_values_or_of_another_chart_is_upgraded(bench: Bench, tmp_path: Path) -> None:
    bench.up()
    other = tmp_path / "values.yaml"
    other.write_text(VALUES.read_text().replace("periodSeconds: 3", "periodSeconds: 4"))

    bench.make(bench.operator(values=other))
    assert bench.helm.verbs() == ["upgrade", "upgrade"]

    make_chart(tmp_path / "newer", version="1.7.1")
    bench.make(bench.operator(values=other, given=tmp_path / "newer"))
    assert bench.helm.verbs() == ["upgrade", "upgrade", "upgrade"]


@pytest.mark.parametrize("arguments", [(), ("--watch-namespace", f"default,{NS}")])
def test_an_operator_that_fits_and_looks_after_our_namespace_is_used_as_it_is_and_survives_us_with_its_crds(
    bench: Bench, arguments: tuple[str, ...]
) -> None:
    bench.fake.put(deployment("kuberay-system", arguments=arguments), *map(crd, CRDS))

    operator = bench.up()
    owned, asked, said = operator.owned, list(bench.helm.asked), operator.down(ignore)

    assert (owned, asked, bench.helm.verbs(), bench.changed()) == (False, [], [], [])
    assert bench.lines[0] == "using the KubeRay operator kuberay-system/kuberay-operator (KubeRay 1.7.0)"
    assert said == ("KubeRay's CRDs stay: kuberay-system/kuberay-operator (KubeRay 1.7.0) needs them",)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("quay.io/kuberay/operator:v1.4.2", r"kuberay-system/kuberay-operator is of version 1.4.2; 1.7.0 is needed"),
        ("registry.corp/op@sha256:4f1c", r"version unknown \(image registry.corp/op@sha256:4f1c\)"),
        ("quay.io/kuberay/operator:v1.7.0", "runs without its CRD rayclusters.ray.io"),
    ],
    ids=["another version", "unknown version", "no CRDs"],
)
def test_an_operator_that_does_not_fit_is_an_error_that_says_why(bench: Bench, image: str, why: str) -> None:
    there = deployment("kuberay-system", image=image)
    there["metadata"]["labels"].pop("helm.sh/chart")
    bench.fake.put(there)

    with pytest.raises(InfraError, match=why):
        bench.up()

    assert bench.helm.verbs() == []


@pytest.mark.parametrize(
    "other",
    [
        deployment("team-a", arguments=("--watch-namespace", "team-a"), image="x/operator:v1.3.0"),
        deployment("team-a", replicas=0),
    ],
    ids=["of other namespaces", "scaled to zero"],
)
def test_an_operator_that_does_not_look_after_us_is_left_alone_and_ours_is_installed_beside_it(
    bench: Bench, other: Any
) -> None:
    bench.fake.put(other)

    assert bench.up().owned
    assert bench.api.get("Deployment", NAME, "team-a") is not None


def test_two_operators_for_one_namespace_are_an_error_that_names_both(bench: Bench) -> None:
    bench.up()
    bench.fake.put(deployment("kuberay-system"))

    with pytest.raises(InfraError, match="2 KubeRay operators watch namespace ray-train-e2e") as caught:
        bench.up()

    assert "kuberay-system/kuberay-operator" in caught.value.cause
    assert "ray-train-e2e/kuberay-operator" in caught.value.cause


def test_who_may_not_look_into_other_namespaces_gets_along_with_our_own(bench: Bench) -> None:
    bench.fake.deny_everywhere("list", "deployments")
    bench.fake.unknown.add("rayclusters")  # no operator can be there, seen or unseen

    assert bench.up().owned


def test_who_may_not_look_into_other_namespaces_believes_that_installed_crds_have_an_operator(bench: Bench) -> None:
    bench.fake.deny_everywhere("list", "deployments")
    bench.fake.deny("list", "customresourcedefinitions")

    operator = bench.up()

    assert operator.running == HIDDEN
    assert not operator.owned
    assert bench.helm.verbs() == []
    assert "its operator is in no namespace that this user may see" in bench.lines[-1]
    (stays,) = operator.down(ignore)
    assert stays.startswith("KubeRay's CRDs stay: This user may not list customresourcedefinitions")


def test_an_image_that_is_missing_is_the_error_long_before_the_deadline(bench: Bench) -> None:
    broken(bench)
    began = bench.fake.clock.now()

    with pytest.raises(InfraError) as caught:
        bench.up()

    assert "operator ray-train-e2e/kuberay-operator (KubeRay 1.7.0) does not start" in caught.value.cause
    assert "Image quay.io/kuberay/operator:v1.7.0 is not on node rig" in caught.value.cause
    assert "no such host" in caught.value.cause
    assert bench.fake.clock.now() - began < READY_SECONDS


def test_a_pod_of_an_earlier_attempt_is_not_blamed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_module, "READY_SECONDS", 5.0)
    broken(bench, revision="2")

    with pytest.raises(InfraError, match="not available after 5 s: 0 of 1 pods are available"):
        bench.up()


def test_an_operator_on_a_node_that_does_not_answer_is_waited_for_and_then_its_node_is_named(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_module, "READY_SECONDS", 5.0)
    broken(bench)
    bench.fake.put({"apiVersion": "v1", **node("rig", ready="Unknown")})

    with pytest.raises(InfraError, match=r"does not start: Node rig has been lost .* kuberay-operator-\S+ ran on it"):
        bench.up()

    assert sum(bench.fake.clock.slept) >= 4


def test_a_pod_that_a_quota_refuses_is_the_error_at_once(bench: Bench) -> None:
    refused = deployment(NS, ours=True)
    said = 'pods "kuberay-operator-1" is forbidden: exceeded quota'
    refused["status"] = {
        "observedGeneration": 1,
        "conditions": [{"type": "ReplicaFailure", "status": "True", "message": said}],
    }
    bench.helm.install = lambda _: bench.fake.put(refused)

    with pytest.raises(InfraError, match=r"its pod cannot be created: pods .* exceeded quota"):
        bench.up()


@pytest.mark.parametrize("plural", ["replicasets", "pods", "events"])
def test_who_may_not_see_why_an_operator_does_not_start_learns_that_it_does_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, plural: str
) -> None:
    monkeypatch.setattr(operator_module, "READY_SECONDS", 5.0)
    slow = deployment("kuberay-system")
    slow["status"] = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}
    bench.fake.put(slow, crd("rayclusters.ray.io"))
    bench.fake.deny("list", plural)

    with pytest.raises(InfraError, match="is not available after 5 s: 0 of 1 pods are available"):
        bench.up()


def test_progress_is_told_once_for_each_step_and_not_each_second(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_module, "READY_SECONDS", 5.0)
    slow = deployment(NS, ours=True)
    slow["status"] = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}
    bench.helm.install = lambda _: bench.fake.put(slow)

    with pytest.raises(InfraError):
        bench.up()

    assert bench.lines.count("KubeRay operator: 0 of 1 pods are available") == 1
