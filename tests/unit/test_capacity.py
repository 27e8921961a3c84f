"""How much a Kubernetes cluster can really give, and why that is too little."""

from collections.abc import Mapping, Sequence
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
    places_for,
    refuses,
    requested,
    usable_cores,
)
from fixtures.clusters.kubernetes.access.objects import Object
from tests.unit.recordings import items, node, pod

GIB = 1 << 30
HEAD = Resources(1000, 3 * GIB)
WORKER = Resources(1000, 5 * GIB // 2)
OURS: dict[str, Any] = {"namespace": "ray-train-e2e", "cluster": "e2e"}


def other(cpu: str, memory: str = "1Gi", *, on: str = "a", phase: str = "Running") -> Object:
    """A pod of somebody else."""
    made: Any = pod("theirs", node=on, phase=phase, requests={"cpu": cpu, "memory": memory})
    made["metadata"] |= {"namespace": "theirs", "labels": {}}
    return made  # type: ignore[no-any-return]


def asks(init: Sequence[Mapping[str, Any]] = (), **spec: Any) -> Object:
    """A pod that asks for 1 CPU and 1 GiB, and for what else is in its specification."""
    made: Any = pod(requests={"cpu": "1", "memory": "1Gi"})
    made["spec"] |= {"initContainers": list(init), **spec}
    return made  # type: ignore[no-any-return]


def init(name: str, cpu: str, memory: str = "0", **more: str) -> dict[str, Any]:
    return {"name": name, "resources": {"requests": {"cpu": cpu, "memory": memory}}, **more}


def lack(nodes: Sequence[Object], workers: int, worker: Resources = WORKER, pods: Sequence[Object] = ()) -> str:
    return explain_lack(node_rooms(nodes, pods, **OURS), nodes, head=HEAD, worker=worker, workers=workers)


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


SIDECAR = init("log", "500m", restartPolicy="Always")


def test_a_recorded_node_hands_out_the_whole_host_and_a_recorded_worker_asks_for_a_part() -> None:
    worker = next(pod for pod in items("pods-unschedulable.json") if "worker" in pod["metadata"]["name"])

    assert allocatable(items("nodes-2.json")[0]) == Resources(2000, 24683656 * 1024, 110)
    assert requested(worker) == Resources(300, 1500 << 20, 1), "more than KubeRay's init container"


@pytest.mark.parametrize(
    ("pod", "needs"),
    [
        pytest.param(
            asks([init("wait", "2", "256Mi")]), Resources(2000, GIB), id="an init container that asks for more"
        ),
        pytest.param(asks([SIDECAR]), Resources(1500, GIB), id="a sidecar"),
        pytest.param(asks([SIDECAR, init("wait", "2")]), Resources(2500, GIB), id="a sidecar beside what follows"),
        pytest.param(asks([init("wait", "2"), SIDECAR]), Resources(2000, GIB), id="a sidecar that follows"),
        pytest.param(
            asks(overhead={"cpu": "250m", "memory": "64Mi"}), Resources(1250, GIB + (64 << 20)), id="a runtime's own"
        ),
        pytest.param(
            asks(containers=[{"name": "a", "resources": {"limits": {"cpu": "2", "memory": "1Gi"}}}]),
            Resources(2000, GIB),
            id="a limit without a request",
        ),
        pytest.param(asks(containers=[{"name": "a"}]), Resources(0, 0, 1), id="nothing takes a place only"),
    ],
)
def test_what_a_pod_asks_for_is_what_the_scheduler_counts(pod: Object, needs: Resources) -> None:
    assert requested(pod) == needs


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


def test_too_little_room_is_explained_with_every_node() -> None:
    nodes = (node("a", cpu="2"), node("b", cpu="2"), node("c", unschedulable=True))

    assert lack(nodes, 2, pods=(other("1600m"), other("800m", on="b"))) == (
        "2 workers x 1 CPU and 2.5 GiB and a head with 1 CPU and 3.0 GiB need 3 CPU and 8.0 GiB; "
        "a has 0.4 CPU and 7.0 GiB free of 2 CPU and 8.0 GiB; b has 1.2 CPU and 7.0 GiB free of 2 CPU and 8.0 GiB; "
        "c takes none (cordoned); beside the head there is room for 0."
    )
    assert lack((node("a", cpu="1"),), 1).startswith("1 worker x 1 CPU and ")
    assert lack(nodes, 3) == ""


def test_cpus_and_memory_and_places_of_each_node_limit_the_workers() -> None:
    full: Any = node("a", cpu="8", memory="64Gi")
    full["status"]["allocatable"]["pods"] = "2"

    assert "room for 1." in lack((node("a", cpu="1500m"), node("b", cpu="1500m")), 2)
    assert "room for 2." in lack((node("a", cpu="8", memory="8Gi"),), 3)
    assert "room for 1." in lack((full,), 2)


def test_pods_beside_the_workers_go_where_they_cost_the_fewest() -> None:
    rooms = node_rooms((node("a", cpu="4", memory="64Gi"), node("b", cpu="2500m", memory="64Gi")), (), **OURS)
    small, wide = Resources(500, GIB), Resources(3000, GIB)

    assert places_for(rooms, WORKER, []) == 6
    assert places_for(rooms, WORKER, [small]) == 6
    assert places_for(rooms, WORKER, [small, wide]) == 3
    assert places_for(rooms, WORKER, [wide, wide]) is None


def test_the_head_goes_where_it_costs_no_worker_if_it_fits_anywhere() -> None:
    assert lack((node("a", cpu="2"), node("b", cpu="1")), 1, Resources(2000, GIB)) == ""
    assert "the head fits on no node" in lack((node("a", cpu="500m"),), 1)
    assert "there is no node; the head" in lack((), 1)


def test_usable_cores_are_those_of_whole_workers_beside_the_head() -> None:
    nodes = (node("a", cpu="4", memory="64Gi"), node("b", cpu="3", memory="64Gi"))
    found = node_rooms(nodes, (other("250m"),), **OURS)

    assert usable_cores(found, head=HEAD, worker=Resources(2000, GIB)) == 4
    assert usable_cores(found, head=HEAD, worker=Resources(1000, GIB)) == 5
    assert usable_cores((), head=HEAD, worker=WORKER) == 0


def test_nodes_that_each_claim_the_same_machine_have_its_cores_once() -> None:
    claimed = node_rooms(items("nodes-2.json"), (), **OURS)
    small = node_rooms((node("a", cpu="2", memory="8Gi"),), (), **OURS)

    assert usable_cores(claimed, head=HEAD, worker=WORKER) == 3
    assert usable_cores(claimed, head=HEAD, worker=WORKER, machine=2) == 2
    assert usable_cores(small, head=HEAD, worker=WORKER, machine=16) == 2, "a small virtual machine"
