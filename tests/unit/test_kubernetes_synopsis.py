"""The first bad thing on one screen: causes before effects, and what is unknown is not called good."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fixtures.clusters.kubernetes.access.objects import Object
from fixtures.clusters.kubernetes.evidence.synopsis import Facts, synopsis
from fixtures.clusters.ray_state import NodeState, parse_nodes
from tests.stand_ins.fake_helm import deployment
from tests.unit.recordings import items, moments, node, sample

DATA = Path(__file__).parents[1] / "data"
CRD: Object = {
    "metadata": {"name": "rayclusters.ray.io"},
    "status": {"conditions": [{"type": "Established", "status": "True"}]},
}


def healthy() -> Facts:
    """A real cluster at the end of the recording of its start."""
    end = list(moments("raycluster", "pods-ray"))[-1]
    return Facts(
        now=end.now,
        nodes=(node("a"), node("rig")),
        crds=(CRD,),
        operators=(deployment("kuberay-system"),),
        namespace={"metadata": {"name": "ray"}},
        raycluster=end.raycluster,
        pods=end.pods,
        events=(),
        ray_nodes=parse_nodes(json.loads((DATA / "ray-nodes-summary.json").read_text())),
        jobs=[{"submission_id": "job-1", "status": "SUCCEEDED"}],
        versions={"Ray": "2.60.0"},
    )


def unschedulable() -> Facts:
    return replace(
        healthy(),
        now=datetime(2026, 11, 23, 9, 45, tzinfo=UTC),
        raycluster=sample("raycluster-unschedulable.json"),
        pods=items("pods-unschedulable.json"),
        events=items("events-unschedulable.json"),
        nodes=(node("rig2"), node("rig2-m02")),
    )


def first_bad(facts: Facts) -> str:
    return next((line for line in synopsis(facts).splitlines() if line.startswith("**First bad thing")), "")


def test_a_healthy_cluster_has_no_bad_thing_and_one_that_cannot_schedule_its_head_has_one() -> None:
    healthy_text, text = synopsis(healthy()), synopsis(unschedulable())

    assert "Nothing in the cluster looks wrong now." in healthy_text
    assert not any(word in healthy_text for word in ("BAD", "unknown"))
    assert "Ray 2.60.0" in healthy_text
    for words in ("(RayCluster and pods):** Pod demo-head", "Insufficient cpu", "Ask for fewer workers"):
        assert words in text


def test_an_image_that_is_missing_is_named_with_its_node() -> None:
    pods = items("pods-ray-image-missing.json")
    head = next(pod for pod in pods if pod["metadata"]["labels"].get("ray.io/node-type") == "head")
    cluster = {"metadata": {"name": head["metadata"]["labels"]["ray.io/cluster"], "namespace": "ray"}}
    cluster["metadata"]["namespace"] = head["metadata"]["namespace"]
    hosts = {pod["spec"]["nodeName"] for pod in pods if "nodeName" in pod["spec"]}

    said = first_bad(replace(healthy(), raycluster=cluster, pods=pods, nodes=tuple(map(node, hosts))))

    assert "(RayCluster and pods):** Image " in said
    assert f"is not on node {head['spec']['nodeName']}" in said


def test_it_fits_on_one_screen_whatever_is_wrong() -> None:
    facts = replace(
        unschedulable(),
        missing={f"log {each}": "word " * 500 for each in range(8)},
        jobs=[{"submission_id": "x", "status": "FAILED", "message": "line\n" * 1000}],
        ray_nodes=None,
    )
    said = synopsis(facts)

    assert len(said.splitlines()) < 40
    assert max(map(len, said.splitlines())) < 1000


def broken_node() -> Object:
    return node("a", ready="Unknown")


def pressed_node() -> Object:
    return node("a", conditions=({"type": "DiskPressure", "status": "True", "message": "disk is full"},))


@pytest.mark.parametrize(
    ("changed", "rows"),
    [
        (
            {"nodes": (), "missing": {"nodes": "This user may not list nodes: forbidden."}},
            ["| nodes | not for this user to see |"],
        ),
        ({"jobs": None, "crds": None}, ["| job | unknown |", "| CRDs and operator | unknown |"]),
        ({"ray_nodes": None, "ray_asked": False}, ["| Ray | no dashboard was reached yet |"]),
        ({"missing": {"log of head": "no answer within 60 s"}}, ["- log of head: no answer within 60 s"]),
    ],
    ids=[
        "what this user may not see",
        "what could not be learnt",
        "a dashboard not yet asked",
        "what was not collected",
    ],
)
def test_what_is_unknown_is_neither_good_nor_bad(changed: dict[str, Any], rows: list[str]) -> None:
    text = synopsis(replace(healthy(), **changed))

    assert "Nothing in the cluster looks wrong now." in text
    assert all(row in text for row in rows)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lost": {"rig-m02": "exited"}}, "(nodes):** Node rig-m02 (exited) does not run any more."),
        ({"nodes": (broken_node(),)}, "(nodes):** Node a is not ready"),
        ({"nodes": (pressed_node(),)}, "(nodes):** Node a has DiskPressure (disk is full)"),
        ({"nodes": ()}, "(nodes):** The Kubernetes API did not list its nodes"),
        ({"crds": ()}, "(CRDs and operator):** There is no CRD rayclusters.ray.io"),
        ({"crds": ({"metadata": CRD["metadata"]},)}, "CRD rayclusters.ray.io is not established"),
        ({"operators": ()}, "(CRDs and operator):** No KubeRay operator looks after the namespace"),
        ({"raycluster": {}}, "(RayCluster and pods):** There is no RayCluster"),
        ({"pods": ()}, "(RayCluster and pods):** "),
        ({"ray_nodes": None}, "(Ray):** Ray's dashboard does not answer"),
        (
            {"ray_nodes": {"w1": NodeState("DEAD", 1.0, "health check failed")}},
            "(Ray):** Ray's node w1 is DEAD: health check failed",
        ),
    ],
)
def test_each_part_can_be_the_first_bad_thing(changed: dict[str, Any], said: str) -> None:
    assert said in first_bad(replace(healthy(), **changed))


def test_a_cause_comes_before_its_effects() -> None:
    everything: dict[str, Any] = {
        "jobs": [{"submission_id": "j", "status": "FAILED"}],
        "ray_nodes": None,
        "raycluster": {},
        "operators": (),
        "nodes": (broken_node(),),
    }
    order = []
    facts = healthy()
    for part, bad in everything.items():
        facts = replace(facts, **{part: bad})
        order.append(first_bad(facts).split("(")[1].split(")")[0])

    assert order == ["job", "Ray", "RayCluster and pods", "CRDs and operator", "nodes"]


def test_an_operator_without_its_image_is_named_with_the_image() -> None:
    operator = deployment("kuberay-system")
    operator["status"] = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1}
    facts = replace(
        healthy(),
        now=datetime(2026, 11, 23, 9, 12, tzinfo=UTC),
        operators=(operator,),
        operator=items("pods-operator-image-missing.json"),
        events=items("events-operator-image-missing.json"),
    )

    assert "Image quay.io/kuberay/operator:v1.7.0 is not on node rig" in first_bad(facts)


def test_the_job_that_failed_is_told_with_ray_s_kind_of_failure_and_its_last_words() -> None:
    jobs = json.loads((DATA / "ray-api-jobs.json").read_text())
    said = first_bad(replace(healthy(), jobs=jobs))

    assert "(job):** Job raysubmit_bex7QJQ2GirTzAHC is FAILED (JOB_ENTRYPOINT_COMMAND_ERROR)" in said
    assert "exit code 3" in said


def test_a_bar_in_a_message_does_not_break_the_table() -> None:
    facts = replace(healthy(), ray_nodes={"w": NodeState("DEAD", 1.0, "a | b")})

    (row,) = [line for line in synopsis(facts).splitlines() if line.startswith("| Ray |")]
    assert "a \\| b" in row
