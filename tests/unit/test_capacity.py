"""How much a Kubernetes cluster can really give, and why that is too little."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.clusters.kubernetes.access.capacity import (
    Resources,
    allocatable,
    explain_lack,
    node_rooms,
    parse_cpu,
    parse_memory,
    refuses,
    requested,
    usable_cores,
)
from fixtures.clusters.kubernetes.access.objects import Object
from tests.unit.recordings import items, node, pod

GIB = 1 << 30
HEAD = Resources(1000, 3 * GIB)
WORKER = Resources(1000, 5 * GIB // 2)
OURS = {"namespace": "ray-train-e2e", "cluster": "e2e"}


def other(cpu: str, memory: str = "1Gi", *, on: str = "a", phase: str = "Running") -> Object:
    """A pod of somebody else."""
    found: Any = pod("theirs", node=on, phase=phase, requests={"cpu": cpu, "memory": memory})
    found["metadata"] |= {"namespace": "theirs", "labels": {}}
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("text", "millicores"),
    [("2", 2000), ("1500m", 1500), ("0.1", 100), ("100u", 1), ("1e1", 10_000), (2, 2000), ("1k", 1_000_000)],
)
def test_a_cpu_quantity_is_read_as_kubernetes_reads_it(text: str, millicores: int) -> None:
    assert parse_cpu(text) == millicores


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("24683656Ki", 24683656 * 1024),
        ("1500Mi", 1500 * 2**20),
        ("1.5Gi", 3 * 2**29),
        ("128M", 128_000_000),
        ("1E", 10**18),
        ("1E2", 100),
        ("128974848", 128974848),
        ("400m", 1),
    ],
)
def test_a_memory_quantity_is_read_as_kubernetes_reads_it(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "two", "1Kb", "0x10", "1.2.3", "Gi", "-"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid number format"):
        parse_cpu(text)


@given(st.integers(0, 10**6))
def test_millicores_survive_the_way_through_text(millicores: int) -> None:
    assert parse_cpu(f"{millicores}m") == parse_cpu(str(millicores / 1000)) == millicores


def test_a_recorded_node_hands_out_the_whole_host() -> None:
    assert allocatable(items("nodes-2.json")[0]) == Resources(2000, 24683656 * 1024, 110)


def test_a_recorded_worker_asks_for_more_than_kuberays_init_container() -> None:
    worker = next(each for each in items("pods-unschedulable.json") if "worker" in each["metadata"]["name"])

    assert requested(worker) == Resources(300, 1500 << 20, 1)


def test_an_init_container_that_asks_for_more_than_the_others_is_what_counts() -> None:
    small: Any = pod(requests={"cpu": "50m", "memory": "1Gi"})
    small["spec"]["initContainers"] = [{"name": "wait", "resources": {"requests": {"cpu": "200m", "memory": "256Mi"}}}]

    assert requested(small) == Resources(200, GIB)


def test_a_sidecar_stays_beside_what_comes_after_it() -> None:
    def asks(name: str, cpu: str, **more: str) -> dict[str, Any]:
        return {"name": name, "resources": {"requests": {"cpu": cpu}}, **more}

    found: Any = pod(requests={"cpu": "1", "memory": "1Gi"})
    sidecar = asks("log", "500m", restartPolicy="Always")

    for init, millicores in (
        ([sidecar], 1500),
        ([sidecar, asks("wait", "2")], 2500),
        ([asks("wait", "2"), sidecar], 2000),
    ):
        found["spec"]["initContainers"] = init
        assert requested(found).cpu == millicores


def test_what_a_runtime_takes_for_itself_is_added() -> None:
    found: Any = pod(requests={"cpu": "1", "memory": "1Gi"})
    found["spec"]["overhead"] = {"cpu": "250m", "memory": "64Mi"}

    assert requested(found) == Resources(1250, GIB + (64 << 20), 1)


def test_a_limit_without_a_request_is_the_request() -> None:
    found: Any = pod()
    found["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "2", "memory": "1Gi"}}

    assert requested(found) == Resources(2000, GIB)


def test_a_pod_that_asks_for_nothing_takes_a_place_only() -> None:
    found: Any = pod()
    del found["spec"]["containers"][0]["resources"]

    assert requested(found) == Resources(0, 0, 1)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (node(), ""),
        (node(ready="False"), "not ready"),
        (node(ready="Unknown"), "not ready"),
        (node(unschedulable=True), "cordoned"),
        (node(taints=[{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]), "taint node-role"),
        (node(taints=[{"key": "busy", "effect": "PreferNoSchedule"}]), ""),
    ],
)
def test_a_node_that_takes_no_pod_of_ours_says_why(found: Object, why: str) -> None:
    assert refuses(found).startswith(why)
    assert bool(refuses(found)) == bool(why)


def test_what_others_asked_for_is_gone_and_what_ended_or_is_ours_is_not() -> None:
    pods = (other("500m"), other("1", phase="Succeeded"), other("1", on="b"), pod(node="a"))

    (room,) = node_rooms((node("a", cpu="2", memory="8Gi"),), pods, **OURS)

    assert room.free == Resources(1500, 7 * GIB, 109)


def test_enough_room_needs_no_explanation() -> None:
    nodes = (node("a", cpu="2"), node("b", cpu="2"))

    assert explain_lack(node_rooms(nodes, (), **OURS), nodes, head=HEAD, worker=WORKER, workers=3) == ""


def test_too_little_room_is_explained_with_every_node() -> None:
    nodes = (node("a", cpu="2"), node("b", cpu="2"), node("c", unschedulable=True))
    found = node_rooms(nodes, (other("1600m"), other("800m", on="b")), **OURS)

    assert explain_lack(found, nodes, head=HEAD, worker=WORKER, workers=2) == (
        "2 workers x 1 CPU and 2.5 GiB and a head with 1 CPU and 3.0 GiB need 3 CPU and 8.0 GiB; "
        "a has 0.4 CPU and 7.0 GiB free of 2 CPU and 8.0 GiB; b has 1.2 CPU and 7.0 GiB free of 2 CPU and 8.0 GiB; "
        "c takes none (cordoned); beside the head there is room for 0."
    )


def test_fractions_on_several_nodes_make_no_worker() -> None:
    nodes = (node("a", cpu="1500m"), node("b", cpu="1500m"))

    assert "room for 1." in explain_lack(node_rooms(nodes, (), **OURS), nodes, head=HEAD, worker=WORKER, workers=2)


def test_memory_limits_the_workers_too() -> None:
    nodes = (node("a", cpu="8", memory="8Gi"),)

    assert "room for 2." in explain_lack(node_rooms(nodes, (), **OURS), nodes, head=HEAD, worker=WORKER, workers=3)


def test_a_node_may_be_out_of_places_for_pods() -> None:
    full: Any = node("a", cpu="8", memory="64Gi")
    full["status"]["allocatable"]["pods"] = "2"

    assert "room for 1." in explain_lack(node_rooms((full,), (), **OURS), (full,), head=HEAD, worker=WORKER, workers=2)


def test_the_head_goes_where_it_costs_no_worker() -> None:
    nodes = (node("a", cpu="2"), node("b", cpu="1"))
    two = Resources(2000, GIB)

    assert explain_lack(node_rooms(nodes, (), **OURS), nodes, head=HEAD, worker=two, workers=1) == ""


def test_a_cluster_without_room_for_the_head_says_so() -> None:
    nodes = (node("a", cpu="500m"),)

    assert "the head fits on no node" in explain_lack(
        node_rooms(nodes, (), **OURS), nodes, head=HEAD, worker=WORKER, workers=1
    )
    assert "there is no node; the head" in explain_lack((), (), head=HEAD, worker=WORKER, workers=1)


def test_usable_cores_are_those_of_whole_workers_beside_the_head() -> None:
    nodes = (node("a", cpu="4", memory="64Gi"), node("b", cpu="3", memory="64Gi"))
    found = node_rooms(nodes, (other("250m"),), **OURS)

    assert usable_cores(found, head=HEAD, worker=Resources(2000, GIB)) == 4
    assert usable_cores(found, head=HEAD, worker=Resources(1000, GIB)) == 5
    assert usable_cores((), head=HEAD, worker=WORKER) == 0


def test_nodes_that_each_claim_the_same_machine_have_its_cores_once() -> None:
    found = node_rooms(items("nodes-2.json"), (), **OURS)

    assert usable_cores(found, head=HEAD, worker=WORKER) == 3
    assert usable_cores(found, head=HEAD, worker=WORKER, machine=2) == 2


def test_a_node_in_a_small_virtual_machine_has_fewer_cores_than_the_machine_below() -> None:
    found = node_rooms((node("a", cpu="2", memory="8Gi"),), (), **OURS)

    assert usable_cores(found, head=HEAD, worker=WORKER, machine=16) == 2
