"""Why one pod is not ready: each cause that a pod's status and events can tell."""

from collections.abc import Sequence
from typing import Any

import pytest

from fixtures.clusters.kubernetes.access.objects import Object
from fixtures.clusters.kubernetes.diagnosis.pod_causes import Finding, Scene, gist, note_restarts, pod_causes
from tests.unit.recordings import at, container, event, items, later, node, pod, running

NAME = "e2e-workers-worker-x"


def found(thing: Object, **more: Any) -> Finding:
    cause = looked(thing, **more)
    assert cause is not None
    return cause


def looked(
    thing: Object,
    *,
    seconds: float = 5,
    events: Sequence[Object] = (),
    nodes: Sequence[Object] = (),
    head_ready: float | None = None,
) -> Finding | None:
    scene = Scene(None, (thing,), events, nodes, later(seconds))
    return next(pod_causes((thing,), scene, head_ready), None)


def waiting(reason: str, message: str = "", *, init: bool = False, **more: Any) -> Object:
    return pod(NAME, container(init=init, waiting={"reason": reason, "message": message}, **more))


def test_a_recorded_pod_that_may_not_pull_names_image_node_and_who_has_it() -> None:
    (recorded,) = items("pod-never-pull-missing.json")

    cause = found(recorded, nodes=items("nodes-2.json"))

    assert cause == Finding(
        "Image docker.io/rig/ray:2.60.0 is not on node rig-m02 (it is on rig), and pod t may not pull it.",
        "Import docker.io/rig/ray:2.60.0 into node rig-m02.",
        fatal=True,
        see="image-not-on-node",
    )


def test_a_pod_that_is_ready_or_ending_has_no_cause() -> None:
    ending: Any = waiting("ErrImageNeverPull")
    ending["metadata"]["deletionTimestamp"] = at(0)

    assert looked(running(NAME)) is None
    assert looked(ending) is None


@pytest.mark.parametrize(
    "answer",
    [
        'failed to resolve reference "docker.io/e2e:1": docker.io/e2e:1: not found',
        "failed to pull: pull access denied, repository does not exist or may require authorization",
        "rpc error: code = Unknown desc = unexpected status: 401 Unauthorized",
        "failed to pull: no match for platform in manifest",
    ],
)
def test_what_a_registry_will_say_again_is_fatal_at_once_and_a_slow_one_may_answer_yet(answer: str) -> None:
    assert found(waiting("ErrImagePull", answer), seconds=1).fatal
    slow = found(waiting("ErrImagePull", "failed to pull: net/http: TLS handshake timeout"), seconds=30)
    assert not slow.fatal
    assert slow.cause.endswith("cannot pull it: failed to pull: net/http: TLS handshake timeout.")


def test_an_image_name_that_is_none_is_fatal() -> None:
    message = 'Failed to apply default image tag "A B": couldn\'t parse image reference "A B"'

    cause = found(waiting("InvalidImageName", message))
    assert cause.cause.startswith(f"Pod {NAME} has an invalid image name: 'docker.io/e2e:1' (Failed to")
    assert cause.fatal


def test_an_older_kubelet_that_only_says_back_off_is_explained_by_the_event() -> None:
    told = event("Failed", NAME, 'Failed to pull image "docker.io/e2e:1": dial tcp: lookup docker.io: no such host')

    cause = found(waiting("ImagePullBackOff", 'Back-off pulling image "docker.io/e2e:1"'), events=(told,))

    assert cause.cause == (
        f"Image docker.io/e2e:1 is not on node a, and pod {NAME} cannot pull it: "
        "dial tcp: lookup docker.io: no such host."
    )


def test_the_init_container_counts_too_unless_it_ended_well() -> None:
    main = container(waiting={"reason": "PodInitializing"})
    unpulled = container("wait-gcs-ready", init=True, waiting={"reason": "ErrImageNeverPull"})
    done = container("wait-gcs-ready", init=True, terminated={"exitCode": 0, "reason": "Completed"})

    assert found(pod(NAME, unpulled, main)).fatal
    assert looked(pod(NAME, done, main)) is None


def test_taints_have_another_remedy_than_too_few_cores() -> None:
    def unschedulable(message: str) -> Object:
        told = {"type": "PodScheduled", "status": "False", "message": message, "lastTransitionTime": at(0)}
        return pod(NAME, node=None, conditions=(told,))

    cores = found(unschedulable("0/1 nodes are available: 1 Insufficient cpu. preemption: none."), nodes=(node(),))
    taint = found(unschedulable("0/1 nodes are available: 1 node(s) had untolerated taint(s). preemption: none."))

    assert cores.cause == (
        f"Pod {NAME} asks for 1 CPU and 1.0 GiB and fits on no node: "
        "0/1 nodes are available: 1 Insufficient cpu (allocatable: a 2 CPU and 8.0 GiB)."
    )
    assert cores.remedy.startswith("Ask for fewer workers or CPUs")
    assert taint.remedy.startswith("Add a node without a taint")


def test_a_missing_secret_is_named_and_may_come_for_15_seconds() -> None:
    missing = waiting("CreateContainerConfigError", 'secret "e2e" not found')
    as_root = waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root")

    assert found(missing, seconds=5) == Finding(
        f"Container ray-worker of pod {NAME} cannot be created on node a: "
        'CreateContainerConfigError (secret "e2e" not found).',
        "Create the secret e2e before the RayCluster.",
        fatal=False,
        see="pod-not-started",
    )
    assert found(missing, seconds=16).fatal
    assert found(as_root).fatal, "waiting does not cure it"


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (126, "its command is not executable"),
        (127, "its command was not found: bash or ray is missing in the image"),
        (134, "aborted"),
        (137, "killed, by the memory limit or because it did not end in time"),
        (139, "segmentation fault"),
        (143, "ended by SIGTERM"),
    ],
)
def test_an_exit_code_is_explained(code: int, meaning: str) -> None:
    ended = {"terminated": {"exitCode": code, "reason": "Error", "startedAt": at(0)}}
    crashed = waiting("CrashLoopBackOff", "back-off", lastState=ended, restartCount=1)

    cause = found(crashed)

    assert cause.cause == (
        f"Container ray-worker of pod {NAME} on node a ended once, at last with exit code {code} ({meaning})."
    )
    assert cause.remedy.startswith(f"Read `kubectl logs {NAME} -c ray-worker --previous`.")
    assert cause.fatal is (code in (126, 127))


def test_a_container_that_ends_again_and_again_is_fatal_from_the_third_time_unless_days_ago() -> None:
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": at(0)}}
    days_ago = {"terminated": {"exitCode": 255, "reason": "Unknown", "startedAt": at(0)}}
    now = container(running={"startedAt": at(0)}, lastState=days_ago, restartCount=7)

    for times, fatal in ((2, False), (3, True)):
        crashed = found(waiting("CrashLoopBackOff", lastState=ended, restartCount=times))
        assert crashed.fatal is fatal
        assert f"ended {times} times" in crashed.cause
    assert not found(pod(NAME, now, phase="Running")).fatal


def test_restarts_before_the_first_look_are_no_crash_loop() -> None:
    def crashed(times: int) -> Object:
        ended = {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": at(0)}}
        return waiting("CrashLoopBackOff", lastState=ended, restartCount=times)

    restarts: dict[tuple[str, str], int] = {}
    note_restarts([crashed(7)], restarts)

    def is_fatal(times: int) -> bool:
        note_restarts([crashed(times)], restarts)
        scene = Scene(None, (), (), (), later(5), restarts=restarts)
        return [finding.fatal for finding in pod_causes([crashed(times)], scene)] == [True]

    assert [is_fatal(times) for times in (7, 9, 10)] == [False, False, True]


def test_a_container_that_cannot_be_started_says_what_the_runtime_said() -> None:
    ended = {"exitCode": 128, "reason": "StartError", "message": 'exec: "/bin/bash": no such file', "startedAt": None}

    cause = found(pod(NAME, container(terminated=ended)))

    assert 'exit code 128 (exec: "/bin/bash": no such file)' in cause.cause
    assert cause.fatal


def test_out_of_memory_is_named_with_the_limit_of_the_container_until_it_is_ready_again() -> None:
    killed = {"exitCode": 137, "reason": "OOMKilled", "startedAt": at(0)}
    last: dict[str, Any] = {"lastState": {"terminated": killed}}

    assert found(waiting("CrashLoopBackOff", restartCount=2, **last)) == Finding(
        f"Container ray-worker of pod {NAME} on node a was killed for using more than its memory limit of 2560Mi "
        "(2 times).",
        "Give its container a higher memory limit in manifests/raycluster.yaml.",
        fatal=True,
        see="out-of-memory",
    )
    back = container(running={"startedAt": at(1)}, ready=True, restartCount=1, **last)
    assert looked(pod(NAME, back, phase="Running")) is None

    init: Any = pod(NAME, container("wait-gcs-ready", init=True, terminated=killed))
    init["spec"]["initContainers"] = [{"name": "wait-gcs-ready", "resources": {"limits": {"memory": "256Mi"}}}]
    cause = found(init)
    assert "Container wait-gcs-ready" in cause.cause
    assert "memory limit of 256Mi (once)" in cause.cause
    assert "init container" in cause.remedy


def test_a_pod_that_was_evicted_says_why() -> None:
    gone = pod(NAME, phase="Failed", reason="Evicted", message="The node was low on resource: ephemeral-storage.")

    reason = "Evicted (The node was low on resource: ephemeral-storage)"
    assert found(gone).cause == f"Pod {NAME} failed on node a: {reason}."


def test_a_worker_that_does_not_find_a_ready_head_has_trouble_with_dns_or_network() -> None:
    init = container("wait-gcs-ready", init=True, running={"startedAt": at(0)})
    stuck = pod(NAME, init, container(waiting={"reason": "PodInitializing"}))

    assert looked(stuck, seconds=90, head_ready=None) is None
    assert looked(stuck, seconds=90, head_ready=30) is None
    cause = found(stuck, seconds=90, head_ready=70)
    assert cause.cause.startswith(f"Worker {NAME} on node a has not found the head in 70 s, although the head is ready")
    assert not cause.fatal


def test_a_pull_that_takes_long_is_said_and_waited_for() -> None:
    told = event("Pulling", NAME, 'Pulling image "docker.io/e2e:1"', seen=2, kind="Normal")

    cause = found(waiting("ContainerCreating"), seconds=42, events=(told,))

    assert cause.cause == f"Node a has been pulling the image of pod {NAME} for 40 s."
    assert not cause.fatal


def test_a_container_that_is_not_created_names_the_last_warning_and_one_that_was_names_none() -> None:
    old = event("FailedMount", NAME, 'MountVolume.SetUp failed for volume "x"', seen=3)
    both = (old, event("FailedCreatePodSandBox", NAME, "plugin type=bridge failed: no IP addresses", seen=20))
    init = container("wait-gcs-ready", init=True, running={"startedAt": at(20)})
    begun = pod(NAME, init, container(waiting={"reason": "PodInitializing"}))

    assert looked(waiting("ContainerCreating"), seconds=29, events=both) is None
    assert found(waiting("ContainerCreating"), seconds=31, events=both).cause == (
        f"Pod {NAME} is not started on node a after 31 s: "
        "FailedCreatePodSandBox (plugin type=bridge failed: no IP addresses)."
    )
    assert looked(begun, seconds=40, events=(old,)) is None


def test_a_first_probe_that_fails_is_normal_and_one_that_goes_on_failing_is_named() -> None:
    def starting(since: float) -> Object:
        return pod(NAME, container(running={"startedAt": at(since)}), phase="Running")

    def unhealthy(why: str, **more: Any) -> dict[str, Any]:
        return {"events": (event("Unhealthy", NAME, f"Readiness probe failed: {why}", seen=20, **more),)}

    refused = unhealthy("connection refused", count=4)
    assert looked(starting(0), seconds=25, **refused) is None
    cause = found(starting(0), seconds=40, **refused)
    assert cause.cause == (
        f"Pod {NAME} has run on node a for 40 s and is not ready: Readiness probe failed: connection refused (4 times)."
    )
    assert not cause.fatal
    absent = unhealthy("HTTP probe failed with statuscode: 404")
    assert found(starting(0), seconds=40, **absent).remedy.startswith("Set rayVersion")
    assert looked(starting(30), seconds=70, **refused) is None, "it failed before the restart"


def test_a_long_message_is_cut_and_put_on_one_line() -> None:
    assert gist("one\n two.") == "one two"
    assert gist("x" * 400, 10) == "xxxxxxxxx…"
