"""Clusters that an earlier process kept: another one finds, stops, gives back or removes them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.clusters.kubernetes.engines.context import ContextEngine
from fixtures.errors import InfraError, UsageError
from fixtures.system import leases
from fixtures.system.leases import Lease, Ownership
from tests.stand_ins.stand_in import docker_ps, recorded
from tests.stand_ins.test_kind import NAMES, KindWorld, node_list
from tests.unit.minikube_world import NO_PROCESS, World

STOPPED = "minikube-status-stopped.json"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.check()


@pytest.fixture
def kept(world: World) -> World:
    """The same with a cluster that an earlier process kept."""
    world.left_by_another_run()
    return world


@pytest.fixture
def kind(tmp_path: Path) -> KindWorld:
    return KindWorld(tmp_path)


def lease(world: World) -> Lease | None:
    return leases.read_lease(world.engine().folder)


LEASE = Lease(NO_PROCESS, True, {"containers": ["xrig2", "xrig2-m02"]})


def test_where_there_is_nothing_of_ours_there_is_nothing_to_answer_for_and_no_program_is_asked(world: World) -> None:
    engine = world.engine()

    assert not engine.attach()
    engine.down()

    assert world.calls() == []
    assert not engine.folder.exists()


def test_what_an_earlier_process_kept_is_removed_by_the_next_without_a_start(kept: World) -> None:
    engine = kept.engine(nodes=1)  # of whatever shape it is

    assert engine.attach()
    engine.down()

    assert kept.calls("minikube start") == []
    assert len(kept.calls("minikube delete")) == 1
    assert not engine.folder.exists()


def test_what_is_given_back_is_kept_as_before_and_no_longer_ours_to_remove(kept: World) -> None:
    before = lease(kept)
    engine = kept.engine()

    engine.attach()
    assert lease(kept) != before
    engine.give_back()
    engine.down()

    assert lease(kept) == before
    assert kept.calls("minikube delete") == []


def test_an_up_after_the_claim_still_knows_that_the_cluster_was_kept(kept: World) -> None:
    engine = kept.engine(nodes=3)
    engine.attach()

    with pytest.raises(InfraError, match="The kept cluster rig2 has 2 nodes instead of 3"):
        engine.up(kept.said.append)

    assert kept.calls("minikube delete") == []


def test_what_had_to_be_made_anew_was_not_there_before(world: World) -> None:
    world.left_by_another_run(kept=False)
    world.answer("docker ps")  # its nodes are gone
    engine = world.engine()

    engine.up(world.said.append)

    assert not engine.inherited
    assert "has lost its nodes" in world.said[0]


def test_a_cluster_in_use_or_with_containers_of_somebody_else_is_not_touched(kept: World) -> None:
    kept.answer("docker ps", docker_ps("rig2").replace('"xrig2"', '"other"'))
    with pytest.raises(InfraError, match="were not made by it"):
        kept.engine().attach()
    assert lease(kept) == LEASE

    other = Ownership.take(kept.engine().folder)
    asked = kept.calls()
    with pytest.raises(InfraError, match="in use by another run"):
        kept.engine().attach()
    assert kept.calls() == asked
    assert other is not None
    other.release()


def test_a_node_that_somebody_added_to_the_profile_is_part_of_the_cluster_and_another_container_is_not(
    kept: World,
) -> None:
    listed = recorded("minikube-profile-list-2.json").replace('"Name": "m02"', '"Name": "m03"')
    kept.answer("docker ps", docker_ps("rig2", "rig2-m02", "rig2-m03"))
    with pytest.raises(InfraError, match="The containers rig2-m03 have the names"):
        kept.engine().attach()

    kept.answer("minikube profile list", listed)
    engine = kept.engine()
    assert engine.attach()
    engine.give_back()
    assert lease(kept) == LEASE


def test_a_node_that_does_not_run_is_known_from_docker_at_once(kept: World) -> None:
    assert kept.engine().lost_nodes() == {}

    kept.answer("docker ps", docker_ps("rig2") + docker_ps("rig2-m02", state="exited"))
    assert kept.engine().lost_nodes() == {"rig2-m02": "exited"}


def test_nodes_are_stopped_and_looked_at_whatever_the_exit_code_says(kept: World) -> None:
    engine = kept.engine()
    engine.attach()

    kept.answer("minikube stop", recorded("minikube-stop.jsonl"))
    with pytest.raises(InfraError, match=r"`minikube stop` left rig2, rig2-m02 running: 2 nodes stopped\."):
        engine.stop(kept.said.append)

    kept.answer("minikube stop", recorded("minikube-stop.jsonl"), then=kept.later("minikube status", recorded(STOPPED)))
    engine.stop(kept.said.append)
    engine.keep_running()

    assert kept.calls("minikube stop") == ["minikube stop --output=json --profile rig2"] * 2
    left = lease(kept)
    assert left is not None
    assert (left.kept, left.extra["containers"]) == (True, ["xrig2", "xrig2-m02"])


def test_the_status_says_whose_the_cluster_is_and_what_does_not_run(world: World) -> None:
    absent = world.engine().status()
    world.profile.mkdir(parents=True)
    assert "but was not made by ray-train-e2e" in world.engine().status().missing
    world.profile.rmdir()
    world.left_by_another_run()
    whole = world.engine().status()
    world.answer("minikube status", recorded(STOPPED), code=7)
    stopped = world.engine().status()

    assert (absent.parts[0][1], absent.missing) == (
        "Minikube's profile rig2 does not exist",
        "Minikube's profile rig2 does not exist.",
    )
    assert whole.parts[0][1] == stopped.parts[0][1] == "Minikube's profile rig2, kept"
    assert not whole.missing
    assert stopped.missing.startswith("Minikube's profile rig2 does not run: rig: Host Stopped")
    assert lease(world) == LEASE


def test_a_kept_kind_cluster_is_found_and_removed_and_cannot_be_stopped(kind: KindWorld) -> None:
    kind.left_by_another_run()
    engine = kind.engine()

    assert engine.attach()
    with pytest.raises(UsageError, match="each other's addresses"):
        engine.stop(kind.said.append)
    engine.down()

    assert kind.calls("kind create") == []
    assert len(kind.calls("kind delete")) == 1


def test_the_status_of_a_kind_cluster_says_which_nodes_are_not_ready_and_knows_its_address(kind: KindWorld) -> None:
    kind.left_by_another_run()
    engine = kind.engine()

    assert not engine.status().missing
    assert (engine.address(), engine.node_port) == ("127.0.0.1", 30999)
    kind.answer("docker exec", node_list(*NAMES, ready="False"))
    assert "nodes that are not ready: e2e-control-plane" in engine.status().missing


def test_a_context_is_nothing_to_claim_stop_or_remove(tmp_path: Path) -> None:
    engine = ContextEngine(tmp_path / "none", None, {})

    assert engine.attach()
    engine.give_back()
    with pytest.raises(UsageError, match="not ours to stop"):
        engine.stop(print)
    assert "There is no kubeconfig" in engine.status().missing
