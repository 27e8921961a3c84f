"""The first cause, on recordings of a real cluster: none while all goes well, the right one when it does not."""

from datetime import UTC, datetime, timedelta
from typing import Any

from fixtures.clusters.kubernetes.access.objects import moment
from fixtures.clusters.kubernetes.diagnosis.diagnose import first_cause
from fixtures.clusters.kubernetes.diagnosis.pod_causes import Finding, Scene
from fixtures.clusters.kubernetes.raycluster.readiness import ready
from tests.unit.recordings import (
    Moment,
    at,
    container,
    event,
    items,
    later,
    moments,
    node,
    pod,
    raycluster,
    running,
    sample,
    timeline,
)

HEAD = running("e2e-head-a", role="head")
SILENT = raycluster(observed=None)


def look(*seen: Any, **more: Any) -> Finding | None:
    return first_cause(Scene(*seen, **more))


def cause(found: Moment) -> Finding | None:
    return look(found.raycluster, found.pods, found.events, found.nodes, found.now)


def story(**recordings: str) -> list[tuple[float, Finding | None]]:
    return [(each.t, cause(each)) for each in moments(**recordings)]


def named(found: Finding | None) -> Finding:
    assert found is not None
    return found


def test_a_cluster_that_comes_up_or_is_scaled_has_no_cause_at_any_moment() -> None:
    start = story(raycluster="raycluster", pods="pods-ray", events="events-ray.json")
    unpacks_for_a_minute = story(raycluster="raycluster-2nodes-fresh", pods="pods-2nodes-fresh")

    assert len(start) == 10
    assert unpacks_for_a_minute[-1][0] > 50
    scaled = story(raycluster="raycluster-scale")
    assert [cause for _, cause in (*start, *unpacks_for_a_minute, *scaled) if cause] == []


def test_a_worker_that_was_killed_and_comes_back_needs_time_only() -> None:
    told = story(raycluster="raycluster-worker-kill", pods="pods-worker-kill")

    assert [found for t, found in told if found and t < 39] == []


def test_a_head_that_was_killed_is_the_first_cause_until_the_last_worker_has_joined_the_new_one() -> None:
    told = [
        (each.t, cause(each), ready(each.raycluster or {}, each.pods, 2))
        for each in moments(raycluster="raycluster-head-kill", pods="pods-head-kill")
    ]

    for t, found, missing in told:
        assert bool(found) == bool(missing), t
        if found:
            assert found.cause.startswith("Head pod demo-head-"), t
            assert not found.fatal
    assert named(told[0][1]).cause == "Head pod demo-head-nvclt is being deleted; its workers lose it."
    green = [named(found).cause for t, found, _ in told if 20.6 < t < 23]
    assert green == [
        "Head pod demo-head-jj79t began at 09:15:19, after demo-workers-worker-nl84q, "
        "demo-workers-worker-z6744, which must join it anew."
    ]


def test_a_lost_node_is_the_first_cause_within_two_seconds_and_stays_it_whatever_follows() -> None:
    told = story(raycluster="raycluster-node-loss", pods="pods-node-loss", nodes="nodes-node-loss")
    lost = [(t, named(found)) for t, found in told if 49.5 < t < 137]

    assert [found for t, found in told if found and t < 49.5] == []
    assert lost[0][0] < 52
    for _, found in lost:
        assert found.cause.startswith("Node rig-m02 has been lost for ")
        assert found.cause.endswith("demo-head-kwdz9, demo-workers-worker-zb5k8 ran on it.")
        assert found.remedy.startswith("Start node rig-m02 again, or make the Kubernetes cluster anew.")
        assert found.fatal


def test_a_node_that_comes_back_leaves_causes_that_waiting_may_cure() -> None:
    told = story(raycluster="raycluster-node-loss", pods="pods-node-loss", nodes="nodes-node-loss")
    back = [named(found) for t, found in told if t > 137]

    assert back
    assert not any(found.fatal for found in back)
    assert "exit code 255 (its node or the container runtime stopped)" in back[-1].cause


def test_a_restarted_cluster_has_no_fatal_cause_and_in_the_end_none() -> None:
    told = story(raycluster="raycluster-restart", pods="pods-restart")

    assert not any(found.fatal for _, found in told if found)
    assert told[-1][1] is None


def test_a_missing_image_is_the_same_cause_whether_kubernetes_tries_or_backs_off() -> None:
    pods = items("pods-ray-image-missing.json")
    causes = []
    for t, cluster in timeline("raycluster-missing-image-timeline.jsonl")[1:]:
        reason = cluster["status"]["conditions"][0]["reason"]
        states = [
            each["state"]["waiting"]
            for found in pods
            for kind in ("initContainerStatuses", "containerStatuses")
            for each in found["status"].get(kind, ())
        ]
        for waiting in states:
            if waiting["reason"] != "PodInitializing":
                waiting["reason"] = reason
        found = named(look(cluster, pods, (), (), datetime.fromtimestamp(t, UTC)))
        causes.append((found.cause, found.fatal))

    assert set(causes) == {
        (
            "Image docker.io/rig/ray:missing is not on node rig, and pod demo-head-mxvb7 cannot pull it: "
            'failed to do request: Head "https://registry-1.docker.io/v2/rig/ray/manifests/missing": '
            "dial tcp: lookup registry-1.docker.io on 192.168.49.1:53: no such host.",
            False,
        )
    }


def test_a_registry_that_stays_out_of_reach_is_given_up_after_a_minute() -> None:
    pods, events = items("pods-ray-image-missing.json"), items("events-ray-image-missing.json")
    began = moment(pods[0]["status"]["startTime"])
    assert began is not None

    for seconds, fatal in ((59, False), (61, True)):
        found = named(look(None, pods, events, (), began + timedelta(seconds=seconds)))
        assert found.fatal is fatal
        assert found.remedy.startswith("Import docker.io/rig/ray:missing into node rig,")


def test_a_head_that_fits_nowhere_is_named_with_the_arithmetic_and_given_up_after_20_seconds() -> None:
    cluster, pods = sample("raycluster-unschedulable.json"), items("pods-unschedulable.json")
    nodes = [
        {**each, "metadata": {"name": each["metadata"]["name"].replace("rig", "rig2")}}
        for each in items("nodes-2.json")
    ]
    began = moment("2026-11-23T09:43:32Z")
    assert began is not None

    for seconds, fatal in ((5, False), (21, True)):
        now = began + timedelta(seconds=seconds)
        found = named(look(cluster, pods, items("events-unschedulable.json"), nodes, now))
        assert found.fatal is fatal
        assert found.cause == (
            "Pod demo-head-4r8hr asks for 9 CPU and 1.5 GiB and fits on no node: 0/2 nodes are available: "
            "2 Insufficient cpu (allocatable: rig2 2 CPU and 23.5 GiB, rig2-m02 2 CPU and 23.5 GiB)."
        )


def test_an_operator_whose_image_is_missing_is_the_cause_of_a_raycluster_without_a_status() -> None:
    operator, nodes = items("pods-operator-image-missing.json"), items("nodes-2.json")
    began = moment(operator[0]["status"]["startTime"])
    assert began is not None

    missing = named(look(SILENT, (), (), nodes, began, operator=operator))
    assert missing.cause.startswith("Image quay.io/kuberay/operator:v1.7.0 is not on node rig, and pod kuberay-operato")
    assert look(raycluster(), (), (), nodes, began, operator=operator) is None


def test_an_operator_that_says_nothing_is_given_up_after_45_seconds() -> None:
    assert look(SILENT, (), (), (), later(44)) is None
    silent = named(look(SILENT, (), (), (), later(46)))
    assert silent.cause == ("KubeRay's operator has not looked at RayCluster e2e in namespace ray-train-e2e for 46 s.")
    assert silent.fatal


def test_an_operator_that_does_not_see_a_change_is_named_with_both_generations() -> None:
    writes = [{"manager": "ray-train-e2e", "time": at(100)}, {"subresource": "status", "time": at(190)}]
    changed = raycluster(generation=3, observed=2, managedFields=writes)

    assert look(changed, (), (), (), later(140)) is None
    assert named(look(changed, (), (), (), later(150))).cause.endswith("for 50 s since generation 2, now it is 3.")
    assert look(raycluster(generation=3, observed=2), (), (), (), later(999)) is None, "nobody says when it changed"


def test_a_spec_that_kuberay_refuses_is_known_from_the_event_about_this_spec_alone() -> None:
    message = "The RayCluster spec is invalid x/e2e: authOptions.mode is 'token'"
    event_now: Any = event("InvalidRayClusterSpec", "e2e", message)
    of_an_earlier_one = {**event_now, "involvedObject": {"name": "e2e", "uid": "uid-of-the-one-before"}}

    refused = named(look(SILENT, (), (event_now,), (), later(1)))
    assert refused.cause == f"KubeRay refuses RayCluster e2e (InvalidRayClusterSpec): {message}."
    assert refused.fatal
    assert look(raycluster(observed=1), (), (event_now,), (), later(1)) is None
    assert look(SILENT, (), (of_an_earlier_one,), (), later(1)) is None


def test_what_is_being_deleted_names_its_finalizers_and_the_namespace_comes_first() -> None:
    message = "Some content has finalizers remaining: ray.io/gcs-ft-redis-cleanup-finalizer in 1"
    remaining = {"type": "NamespaceFinalizersRemaining", "status": "True", "message": message}
    metadata = {"name": "ray-train-e2e", "deletionTimestamp": at(0)}
    going = {"metadata": metadata, "status": {"conditions": [remaining]}}

    namespace = named(look(SILENT, (), (), (), later(60), namespace=going))
    assert namespace.cause == f"Namespace ray-train-e2e has been terminating for 60 s: {message}."
    assert namespace.fatal
    assert look(None, (), (), (), later(60), namespace={"metadata": {"name": "ray-train-e2e"}}) is None
    cluster = raycluster(deletionTimestamp=at(0), finalizers=["ray.io/x"])
    assert (
        named(look(cluster, (), (), (), later(1))).cause == "RayCluster e2e is being deleted and is held by ray.io/x."
    )


def failing(reason: str, message: str) -> Any:
    found = raycluster(ready=0)
    found["status"]["conditions"].append(
        {"type": "ReplicaFailure", "status": "True", "reason": reason, "message": f"{reason}\n{message}"}
    )
    return found


def test_a_quota_is_named_with_its_numbers() -> None:
    told = (
        'pods "e2e-workers-worker-x" is forbidden: exceeded quota: team, requested: limits.cpu=1, '
        "used: limits.cpu=2, limited: limits.cpu=2"
    )

    found = named(look(failing("FailedCreateWorkerPod", told), (), (), (), later(1)))

    assert found == Finding(
        f"KubeRay cannot create pods of RayCluster e2e (FailedCreateWorkerPod): {told}.",
        "Raise the quota team, or ask for fewer workers.",
        fatal=True,
        see="raycluster-refused",
    )


def test_pod_security_limit_ranges_and_webhooks_are_fatal_each_with_its_own_remedy() -> None:
    remedies = {
        'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true': "Relax the namespace",
        'pods "x" is forbidden: maximum cpu usage per Container is 500m, but limit is 1': "Change the namespace's",
        'admission webhook "policy.io" denied the request: no team label': "Ask whoever runs",
    }
    for message, remedy in remedies.items():
        refused = named(look(failing("FailedCreateHeadPod", message), (), (), (), later(1)))
        assert refused.fatal, message
        assert refused.remedy.startswith(remedy)
    late = 'pods "x" is forbidden: error looking up service account a/default: serviceaccount "default" not found'
    assert not named(look(failing("FailedCreateHeadPod", late), (), (), (), later(1))).fatal


def test_an_event_of_a_failed_creation_counts_as_long_as_it_is_fresh_and_pods_are_missing() -> None:
    told = event("FailedToCreateHeadPod", "e2e", "pods is forbidden: exceeded quota: team, requested", seen=10)
    workers = (running("e2e-workers-worker-a", since=5),)

    assert named(look(raycluster(), (), (told,), (), later(20))).fatal
    assert look(raycluster(), (), (told,), (), later(200)) is None
    assert look(raycluster(), (HEAD, *workers), (told,), (), later(20)) is None


def test_a_node_that_only_starts_is_waited_for_and_one_that_stays_unready_is_not() -> None:
    slow = node(ready="False")

    found = named(look(raycluster(), (HEAD,), (), (slow,), later(30)))
    assert found.cause == "Node a has not been ready (container runtime is down) for 30 s; e2e-head-a ran on it."
    assert not found.fatal
    assert named(look(raycluster(), (HEAD,), (), (slow,), later(61))).fatal


def test_a_node_that_was_lost_or_removed_matters_only_where_our_pods_are() -> None:
    gone = named(look(raycluster(), (HEAD,), (), (node("b"),), later(30)))

    assert gone.cause == "Node a is no longer part of the cluster; e2e-head-a ran on it."
    assert gone.fatal
    assert look(raycluster(), (HEAD,), (), (node("a"), node("b", ready="Unknown")), later(30)) is None
    assert look(raycluster(), (HEAD,), (), (), later(30)) is None, "nodes may not be listed"


def test_a_node_under_pressure_is_named_last() -> None:
    told = [{"type": "DiskPressure", "status": "True", "message": "kubelet has disk pressure"}]
    short = node("a", conditions=told)
    crashed = pod(
        "e2e-workers-worker-b", container(terminated={"exitCode": 1, "reason": "Error"}), phase="Running", node="a"
    )

    assert named(look(raycluster(), (HEAD,), (), (short,), later(30))).cause == (
        "Node a has DiskPressure: kubelet has disk pressure."
    )
    assert "exit code 1" in named(look(raycluster(), (HEAD, crashed), (), (short,), later(30))).cause


def test_an_evicted_pod_that_kuberay_has_deleted_is_known_from_its_event() -> None:
    told = event("Evicted", "e2e-workers-worker-z", "The node was low on resource: memory.", seen=10)

    assert named(look(raycluster(), (HEAD,), (told,), (), later(30))).cause == (
        "Pod e2e-workers-worker-z was evicted: The node was low on resource: memory."
    )
    assert look(raycluster(), (HEAD,), (told,), (), later(300)) is None


def test_the_head_comes_first_and_what_waiting_cannot_cure_before_what_it_may() -> None:
    slow = container(waiting={"reason": "ErrImagePull", "message": "failed to pull: i/o timeout"})
    never = container(waiting={"reason": "ErrImageNeverPull"})
    head = pod("e2e-head-a", slow, role="head")

    waiting = (pod("e2e-workers-worker-a", slow), head)
    assert "pod e2e-head-a cannot pull it" in named(look(raycluster(ready=0), waiting, (), (), later(1))).cause
    worse = (head, pod("e2e-workers-worker-a", never, node="b"))
    assert named(look(raycluster(ready=0), worse, (), (), later(1))).cause == (
        "Image docker.io/e2e:1 is not on node b, and pod e2e-workers-worker-a may not pull it."
    )
    headless = named(look(raycluster(), (running("e2e-workers-worker-a"),), (), (), later(30)))
    assert headless.cause == "There is no head pod, and e2e-workers-worker-a had one."
    other: Any = pod("other-head-a", never, role="head")
    other["metadata"]["labels"]["ray.io/cluster"] = "other"
    assert look(raycluster(), (HEAD, other), (), (), later(30)) is None
