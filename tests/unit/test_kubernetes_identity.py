"""What has happened to the pods of a Ray cluster since: on recordings of a real one, and case by case."""

from copy import deepcopy
from typing import Any

from fixtures.clusters.kubernetes.raycluster.identity import changes, identify
from tests.unit.recordings import at, container, event, moments, node, pod, running

HEAD = running("e2e-head-a", role="head")
TWO = (HEAD, running("e2e-workers-worker-a"), running("e2e-workers-worker-b"))


def story(raycluster: str, pods: str, nodes: str = "") -> list[str]:
    """What had changed since the first moment of a recording, at each later one."""
    first, *rest = moments(raycluster, pods, nodes)
    before = identify(first.pods)
    return [changes(before, each.pods, each.events, each.nodes) for each in rest]


def since(*pods: Any, events: tuple[Any, ...] = (), nodes: tuple[Any, ...] = ()) -> str:
    return changes(identify(TWO), pods, events, nodes)


def with_container(name: str, **state: Any) -> Any:
    """The second worker with another state of its container."""
    return pod(name, container(**state), phase="Running", limits={"memory": "3Gi"})


def test_nothing_has_changed_when_the_same_pods_run() -> None:
    assert since(*TWO) == since(*TWO, nodes=(node("a"),)) == ""


def test_a_worker_that_was_killed_is_named_with_its_successor() -> None:
    told = story("raycluster-worker-kill", "pods-worker-kill")

    assert list(dict.fromkeys(told))[:2] == [
        "worker pod demo-workers-worker-gqtk5 is being deleted at 09:14:36",
        "worker pod demo-workers-worker-gqtk5 was deleted and replaced by demo-workers-worker-nl84q at 09:14:37",
    ]


def test_a_head_that_was_killed_comes_before_the_workers_that_restart_for_it() -> None:
    told = story("raycluster-head-kill", "pods-head-kill")

    assert told[-1].startswith(
        "head pod demo-head-nvclt was deleted and replaced by demo-head-jj79t at 09:15:18; afterwards container "
        "ray-worker of worker pod demo-workers-worker-z6744 restarted (Error, exit code 1) at 09:15:38, container "
    )
    assert all(each.startswith("head pod demo-head-nvclt") for each in told)


def test_a_lost_node_comes_before_what_its_loss_did_to_other_pods() -> None:
    told = [each for each in dict.fromkeys(story("raycluster-node-loss", "pods-node-loss", "nodes-node-loss")) if each]

    assert told[0] == (
        "node rig-m02 with demo-head-kwdz9, demo-workers-worker-zb5k8 was not ready (NodeStatusUnknown) at 09:32:51"
    )
    assert "afterwards container ray-worker of worker pod demo-workers-worker-mlpr8 ended (Error" in told[1]


def test_a_node_that_was_stopped_and_started_has_restarted_its_containers() -> None:
    told = story("raycluster-restart", "pods-restart")

    assert told[-1] == (
        "container ray-worker of worker pod demo-workers-worker-zb5k8 restarted "
        "(exit code 255: its node or container runtime was restarted) at 09:34:11"
    )


def test_a_container_that_ended_is_named_with_its_reason_and_its_memory_limit() -> None:
    ended = {"reason": "Error", "exitCode": 139, "finishedAt": at(7)}
    killed = {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": at(60)}}
    again = with_container("e2e-workers-worker-b", running={}, restartCount=1, lastState=killed)

    assert since(*TWO[:2], with_container("e2e-workers-worker-b", terminated=ended)) == (
        "container ray-worker of worker pod e2e-workers-worker-b ended (Error, exit code 139: segmentation fault) "
        "at 12:00:07"
    )
    assert since(*TWO[:2], again) == (
        "container ray-worker of worker pod e2e-workers-worker-b restarted (OOMKilled, exit code 137: it needed more "
        "memory than its limit of 3Gi) at 12:01:00"
    )


def test_an_evicted_pod_says_what_its_node_was_short_of() -> None:
    evicted = pod("e2e-workers-worker-b", phase="Failed", reason="Evicted", message="The node was low on memory.")
    assert since(*TWO[:2], evicted) == (
        "worker pod e2e-workers-worker-b was evicted (The node was low on memory.) at 12:00:00"
    )

    told = event("Evicted", "e2e-workers-worker-b", "The node was low on memory.", seen=30)
    other = event("Killing", "e2e-workers-worker-b", "Stopping container ray-worker", seen=20)
    assert since(*TWO[:2], events=(other, told)) == (
        "worker pod e2e-workers-worker-b was deleted (Evicted: The node was low on memory.) at 12:00:30"
    )


def test_kuberay_says_why_it_deleted_a_pod_and_events_of_another_explain_nothing() -> None:
    why = "Deleted worker Pod ray-train-e2e/e2e-workers-worker-b; Pod status: Failed; Pod restart policy: Never"
    deleted = event("DeletedWorkerPod", "e2e", why, seen=9)
    other = event("DeletedWorkerPod", "e2e", "Deleted Pod ray-train-e2e/e2e-workers-worker-bb", seen=8)
    earlier: dict[str, Any] = deepcopy(dict(event("Evicted", "e2e-workers-worker-b", "long ago")))
    earlier["involvedObject"]["uid"] = "another"

    assert since(*TWO[:2], events=(earlier,)) == "worker pod e2e-workers-worker-b was deleted"
    assert since(*TWO[:2], events=(other, deleted)) == (
        f"worker pod e2e-workers-worker-b was deleted (DeletedWorkerPod: {why}) at 12:00:09"
    )


def test_a_deletion_began_before_its_grace_period_and_a_pod_that_nobody_asked_for_is_new() -> None:
    going: dict[str, Any] = deepcopy(dict(TWO[2]))
    going["metadata"] |= {"deletionTimestamp": at(90), "deletionGracePeriodSeconds": 30}

    assert since(*TWO[:2], going) == "worker pod e2e-workers-worker-b is being deleted at 12:01:00"
    assert since(*TWO, running("e2e-workers-worker-c")) == "worker pod e2e-workers-worker-c is new at 12:00:00"


def test_a_node_that_left_takes_its_pods_along_and_unknown_nodes_are_no_lost_ones() -> None:
    assert since(*TWO, nodes=(node("b"),)) == (
        "node a with e2e-head-a, e2e-workers-worker-a, e2e-workers-worker-b left the cluster"
    )
    assert since(*TWO, nodes=()) == ""


def test_many_changes_are_counted() -> None:
    told = since()

    assert told == (
        "head pod e2e-head-a was deleted; afterwards worker pod e2e-workers-worker-a was deleted, "
        "worker pod e2e-workers-worker-b was deleted"
    )
    assert since(*(running(f"e2e-workers-worker-{name}") for name in "xyz")).endswith(" and 1 more")
