"""A provider on Kubernetes goes: whatever happened before, what it made is removed, and nothing of anybody else's."""

from pathlib import Path

import pytest

from fixtures.errors import InfraError
from tests.stand_ins.fake_helm import crd
from tests.stand_ins.fake_kuberay import CRD, SPACE, operator_of_somebody, thing
from tests.stand_ins.kubernetes_world import Engine, World

STEPS = (
    "cluster", "capacity", "apply Namespace", "image", "apply CustomResourceDefinition", "operator", "apply Secret",
    "apply RayCluster", "way", "apply Service", "Ray's nodes", "network",
)  # fmt: skip


def neighbours(world: World) -> None:
    """What others have in the cluster."""
    world.server.put(
        thing("Namespace", "theirs", None),
        thing("ConfigMap", "settings", "theirs"),
        thing("Secret", "e2e", "theirs", data={}),
        thing("RayCluster", "e2e", "theirs", spec={}),
    )


# What is there before a step is what is there after the one before it, so that each state is seen in both spaces.
@pytest.mark.parametrize(
    ("step", "when", "error", "space_is_ours"),
    [
        *((step, "before", InfraError("It failed."), False) for step in STEPS if step != "apply Namespace"),
        *((step, "after", KeyboardInterrupt(), True) for step in STEPS),
    ],
)
def test_after_a_start_that_ended_anywhere_nothing_is_left_and_nothing_else_is_touched(
    world: World, step: str, when: str, error: BaseException, space_is_ours: bool
) -> None:
    if not space_is_ours:
        world.server.put(thing("Namespace", SPACE, None), thing("ConfigMap", "theirs"))
    world.server.put(crd(CRD))
    neighbours(world)
    before = world.server.everything()
    provider = world.provider(owned=False)
    if step == "apply CustomResourceDefinition":
        world.server.remove("CustomResourceDefinition", "")
        del before["customresourcedefinitions /rayclusters.ray.io"]
        world.server.remove("RayCluster", "theirs")
        del before["rayclusters theirs/e2e"]
    world.cut_off(provider, step, when, error)

    provider.down()

    assert world.steps.count(step) == 1
    assert world.server.everything() == before
    assert world.helm.releases == {}
    assert "stop image" in world.steps


def removed(world: World, since: int) -> list[str]:
    return [each for each in world.steps[since:] if each.startswith(("delete", "remove", "stop"))]


def test_what_was_made_goes_in_the_opposite_order(world: World) -> None:
    provider = world.up()
    since = len(world.steps)

    provider.down()

    assert removed(world, since) == [
        "stop image", "delete Service", "delete RayCluster", "delete Secret", "remove operator",
        "delete CustomResourceDefinition", "delete Namespace", "remove cluster",
    ]  # fmt: skip
    assert world.left() == {"nodes"}


def test_in_a_namespace_of_somebody_else_our_things_go_one_by_one_in_the_opposite_order(world: World) -> None:
    world.server.put(thing("Namespace", SPACE, None))
    provider = world.up(owned=False)
    since = len(world.steps)

    provider.down()

    assert removed(world, since) == [
        "stop image", "delete Service", "delete RayCluster", "delete Secret", "remove operator",
        "delete CustomResourceDefinition", "delete Lease", "remove cluster",
    ]  # fmt: skip


def test_an_operator_of_somebody_else_stays_with_its_definitions(world: World) -> None:
    operator_of_somebody(world.server)
    neighbours(world)
    before = world.server.everything()
    provider = world.up(owned=False)

    provider.down()

    assert world.server.everything() == before
    assert world.helm.verbs() == []


def test_it_can_be_repeated(world: World) -> None:
    provider = world.provider(owned=False)
    provider.down()
    provider.up(world.said.append)
    provider.down()
    left = world.server.everything()
    since = len(world.steps)

    provider.down()

    assert world.server.everything() == left
    assert removed(world, since) == ["stop image", "remove cluster"]


FAILURES = ("delete RayCluster", "remove operator", "delete Namespace")


@pytest.mark.parametrize("step", FAILURES)
@pytest.mark.parametrize("error", [InfraError("It does not go."), ValueError("no JSON")])
def test_one_thing_that_does_not_go_does_not_keep_the_others_and_is_tried_again_next_time(
    world: World, step: str, error: Exception
) -> None:
    provider = world.up(owned=False)
    world.trap = (step, "before", error)

    with pytest.raises(InfraError, match=str(error)):
        provider.down()

    assert set(FAILURES) <= set(world.steps)
    assert world.steps[-1] == "remove cluster"
    world.trap = None
    provider.down()
    assert world.left() == {"nodes"}


def test_what_did_not_go_does_not_matter_once_the_whole_cluster_is_gone(world: World) -> None:
    provider = world.up()
    world.trap = ("delete RayCluster", "before", InfraError("It does not go."))

    provider.down()

    assert world.steps[-1] == "remove cluster"


def test_the_first_failure_is_told_when_the_cluster_does_not_go_either(world: World) -> None:
    class Stuck(Engine):
        def down(self) -> None:
            raise InfraError("Docker does not answer.", "Start it.")

    provider = world.up(Stuck(world))
    world.server.down = True

    with pytest.raises(InfraError, match=r"did not answer .*Docker does not answer\."):
        provider.down()


def test_a_second_interrupt_ends_the_removal_and_the_next_call_finishes_it(world: World) -> None:
    provider = world.up(owned=False)
    world.trap = ("delete RayCluster", "after", KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        provider.down()

    world.trap = None
    provider.down()
    assert world.left() == {"nodes"}


def test_what_is_kept_stays_as_it_is_and_nothing_of_ours_runs_on_here(world: World) -> None:
    provider = world.up()
    there = world.server.everything()

    provider.keep_running()

    assert world.server.everything() == there
    assert world.steps[-2:] == ["stop image", "keep cluster"]


@pytest.mark.parametrize("step", ["image", "operator", "apply RayCluster", "network"])
def test_a_start_that_is_cut_off_in_a_cluster_that_was_there_takes_back_what_it_made(world: World, step: str) -> None:
    before = world.server.everything()
    provider = world.provider(owned=False)
    world.cut_off(provider, step, "after", KeyboardInterrupt())

    provider.give_back()

    assert world.server.everything() == before
    assert world.steps[-1] == "give cluster back"


@pytest.mark.parametrize("step", ["image", "apply RayCluster", "network"])
def test_a_start_that_is_cut_off_where_ray_was_kept_takes_nothing_away(world: World, step: str) -> None:
    first = world.up(owned=False)
    first.keep_running()
    there = set(world.server.everything())
    provider = world.provider(owned=False)
    world.cut_off(provider, step, "after", KeyboardInterrupt())

    provider.give_back()

    assert set(world.server.everything()) == there
    assert world.steps[-3:] == ["stop image", "delete Lease", "give cluster back"]


def test_a_cluster_that_this_process_made_is_removed_and_not_given_back(world: World) -> None:
    provider = world.up()

    provider.give_back()

    assert world.steps[-1] == "remove cluster"
    assert "give cluster back" not in world.steps


def test_what_one_process_kept_another_claims_and_removes(world: World) -> None:
    before = world.server.everything()
    first = world.up(owned=False)
    first.keep_running()

    later = world.provider(owned=False)
    assert later.claim(world.said.append)
    later.down()

    assert world.server.everything() == before
    assert not world.provider(owned=False).claim(world.said.append)


def test_a_cluster_that_never_answers_is_one_error_and_has_nothing_to_be_asked_or_removed(
    world: World, tmp_path: Path
) -> None:
    world.server.down = True
    provider = world.provider(owned=False)

    with pytest.raises(InfraError, match="did not answer GET /version"):
        provider.up(world.said.append)
    provider.collect_evidence(tmp_path / "evidence")
    provider.down()

    assert sum(world.server.clock.slept) <= 10


def test_a_cluster_that_is_gone_in_mid_run_costs_one_patience_and_is_one_error(world: World, tmp_path: Path) -> None:
    provider = world.up(owned=False)
    world.server.down = True
    world.server.clock.slept.clear()

    trouble = provider.trouble()
    provider.collect_evidence(tmp_path / "evidence")
    with pytest.raises(InfraError) as left:
        provider.down()

    assert "did not answer" in trouble
    assert left.value.cause.count("did not answer") == 1
    assert sum(world.server.clock.slept) <= 30
