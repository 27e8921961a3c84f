"""A pod for one process on all cores, beside the workers: where a node has room for it."""

from typing import Any

import pytest

from tests.stand_ins.fake_kuberay import thing
from tests.stand_ins.kubernetes_world import World


def asking(cpu: str) -> dict[str, Any]:
    return {"containers": [{"name": "main", "resources": {"requests": {"cpu": cpu}}}]}


@pytest.mark.parametrize(
    ("sizes", "others", "places", "why"),
    [
        pytest.param((), "0", [], "", id="not wanted"),
        pytest.param((2, 3), "0", [2, 3], "", id="room for both"),
        pytest.param((2, 4), "0", [2], "", id="no core left for the head"),
        pytest.param((2, 16), "0", [2], "", id="no node has so many"),
        pytest.param((2,), "4900m", [], "no node has room for one such pod beside head and workers", id="crowded"),
    ],
)
def test_one_process_gets_a_pod_with_all_cores_where_a_node_has_room_for_it(
    world: World, sizes: tuple[int, ...], others: str, places: list[int], why: str
) -> None:
    world.server.put(thing("Pod", "theirs", "theirs", spec={"nodeName": "a", **asking(others)}))

    cluster = world.provider(all_cores=sizes).up(world.said.append)

    assert {cpus: place.resource for cpus, place in cluster.all_cores.items()} == {n: f"all-cores-{n}" for n in places}
    assert cluster.no_all_cores == why
    assert len(cluster.nodes) == 2
    assert len(world.server.pods()) == 3 + len(places)
