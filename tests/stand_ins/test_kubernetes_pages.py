"""What is shown of a cluster by hand: its pages, how a browser gets to each, and its logs."""

import pytest

from fixtures.clusters.kubernetes.access.api import Api
from fixtures.clusters.kubernetes.namespace.namespace import Namespace
from fixtures.clusters.kubernetes.raycluster.manifest import NAME
from tests.stand_ins.fake_kuberay import SPACE
from tests.stand_ins.kubernetes_world import Engine, World


@pytest.fixture
def engine(world: World) -> Engine:
    """One whose cluster was brought up and kept by another provider."""
    engine = Engine(world)
    kept = world.up(engine)
    kept.keep_running()
    return engine


def test_without_a_cluster_there_are_no_pages_and_no_logs(world: World) -> None:
    provider = world.provider()

    assert provider.dashboards() == ()
    assert provider.logs() == {}
    assert world.writes() == []


def test_where_a_node_port_is_reached_the_page_is_there_with_its_token(world: World, engine: Engine) -> None:
    written = len(world.writes())

    (page,) = world.provider(engine).dashboards()

    assert (page.name, page.address) == ("Ray", f"http://127.0.0.1:{world.server.node_port}")
    assert (page.token, page.forward) == (Namespace(Api(world.kubeconfig, None), SPACE).kept_token(NAME), "")
    assert page.token
    assert page.token not in repr(page)
    assert len(world.writes()) == written, "looking changes nothing"


def test_where_none_is_reached_the_page_comes_with_the_command_that_forwards_a_port(
    world: World, engine: Engine
) -> None:
    engine.host = None

    (page,) = world.provider(engine).dashboards()

    assert page.address == "http://127.0.0.1:8265"
    assert page.forward == (
        f"kubectl --kubeconfig {world.kubeconfig} --namespace {SPACE} port-forward service/e2e-head-svc 8265:8265"
    )


def test_the_logs_are_those_of_the_pods_that_are_there(world: World, engine: Engine) -> None:
    pod = world.server.pods()[1]["metadata"]["name"]
    world.server.logs[SPACE, pod, "ray-worker", False] = "Ray runtime started.\n"

    found = world.provider(engine).logs()

    assert found[f"log-{pod}-ray-worker.txt"] == "Ray runtime started.\n"
    assert {pod["metadata"]["name"] for pod in world.server.pods()} <= {
        name.removeprefix("ray-logs-").removesuffix(".txt") for name in found
    }
