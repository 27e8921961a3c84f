"""What is read from Kubernetes objects, on recorded ones."""

from datetime import UTC, datetime

from fixtures.clusters.kubernetes.access.objects import (
    containers,
    event_count,
    event_time,
    events_of,
    name,
    ray_container,
    ray_pods,
)
from tests.unit.recordings import items, sample, timeline


def test_the_head_comes_first_whatever_the_names_are() -> None:
    pods = [*reversed(items("pods-unschedulable.json"))]
    pods[0]["metadata"]["name"] = "a-worker"
    pods[-1]["metadata"]["name"] = "z-head"

    assert [name(pod) for pod in ray_pods(pods, None)] == ["z-head", "a-worker", "demo-workers-worker-bklkr"]


def test_pods_of_a_ray_cluster_are_those_with_its_name_in_its_namespace() -> None:
    pods = timeline("pods-ray-timeline.jsonl")[0][1]["items"]
    ours = sample("raycluster-ready.json")
    elsewhere = {"metadata": {"name": "demo", "namespace": "elsewhere"}}

    assert len(ray_pods(pods, ours)) == 3
    assert ray_pods(pods, elsewhere) == ()


def test_events_about_a_pod_come_in_the_order_in_which_they_were_last_seen() -> None:
    events, (head,) = items("events-ray.json"), items("pod-head.json")
    (repeated,) = (event for event in events if event["reason"] == "CreatedWorkerPod")
    reasons = [event["reason"] for event in events_of([*reversed(events)], head)]

    assert (event_time(repeated), event_count(repeated)) == ("2026-11-23T09:11:54.018493Z", 2)
    assert (reasons[0], reasons[-1], len(reasons)) == ("Scheduled", "Unhealthy", 5)


def test_a_container_that_was_started_again_tells_both_its_starts() -> None:
    pods = timeline("pods-head-kill-timeline.jsonl")[-1][1]["items"]
    worker = ray_container(next(pod for pod in pods if name(pod) == "demo-workers-worker-nl84q"))

    assert worker is not None
    assert worker.last_exit is not None
    assert (worker.restarts, worker.last_exit.code, worker.last_exit.reason) == (1, 1, "Error")
    assert worker.first_known_start == datetime(2026, 11, 23, 9, 14, 47, tzinfo=UTC)
    assert worker.running_since is not None
    assert worker.running_since > worker.first_known_start


def test_init_containers_are_told_apart_from_the_others() -> None:
    pods = items("pods-unschedulable.json")

    assert [(each.name, each.init) for each in containers(pods[1])] == [("wait-gcs-ready", True), ("ray-worker", False)]
