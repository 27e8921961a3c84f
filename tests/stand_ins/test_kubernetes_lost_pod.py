"""A worker's pod that the harness deletes on purpose."""

from tests.stand_ins.kubernetes_world import World


def test_a_pod_that_is_deleted_on_purpose_is_no_trouble_once_another_is_in_its_place(world: World) -> None:
    provider = world.up()
    lost, kept = (pod["metadata"]["name"] for pod in world.server.pods()[1:])

    provider.replace(lost, world.said.append)

    pods = {pod["metadata"]["name"] for pod in world.server.pods()[1:]}
    assert kept in pods
    assert lost not in pods
    assert len(pods) == 2
    assert provider.trouble() == ""
