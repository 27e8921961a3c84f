"""When a RayCluster may be used: on recordings of a real one, and case by case."""

from __future__ import annotations

from typing import Any

from fixtures.clusters.kubernetes.raycluster.readiness import ready
from tests.unit.recordings import at, container, moments, pod, raycluster, running, sample

HEAD = running("e2e-head-a", role="head")
TWO = (HEAD, running("e2e-workers-worker-a", since=5), running("e2e-workers-worker-b", since=5))


def missing(name: str, workers: int = 2) -> list[tuple[float, str]]:
    """What was missing at each moment of a recording of RayCluster and pods."""
    return [
        (moment.t, ready(moment.raycluster, moment.pods, workers))
        for moment in moments(f"raycluster-{name}" if name else "raycluster", f"pods-{name or 'ray'}")
        if moment.raycluster is not None
    ]


def test_a_cluster_that_comes_up_is_ready_only_when_both_workers_are() -> None:
    story = missing("")

    assert list(dict.fromkeys(what for _, what in story)) == [
        "head demo-head-nvclt is Pending",
        "head demo-head-nvclt runs but is not ready",
        "HeadPodReady is not True (ContainersNotReady)",
        "0 of 2 workers ready (worker demo-workers-worker-gqtk5 is Pending)",
        "0 of 2 workers ready (worker demo-workers-worker-gqtk5 runs but is not ready)",
        "",
    ]


def test_a_worker_that_was_killed_makes_the_cluster_unready_at_once() -> None:
    story = missing("worker-kill")

    assert story[0][1] == "demo-workers-worker-gqtk5 must end first"
    assert next(round(t) for t, what in story if not what) == 24


def test_after_the_head_was_killed_the_green_moment_before_the_workers_restart_is_not_ready() -> None:
    story = missing("head-kill")
    green = [(round(t), what) for t, what in story if 20 < t < 23]

    assert green[-1][1] == (
        "demo-workers-worker-nl84q, demo-workers-worker-z6744 started before the head and must join it anew"
    )
    assert [round(t) for t, what in story if not what] == [52]


def test_a_lost_node_makes_the_cluster_unready_although_its_containers_still_look_ready() -> None:
    story = missing("node-loss")

    assert story[0][1] == ""
    after = [what for t, what in story if t > 51]
    assert after
    assert all(after)
    assert "head demo-head-kwdz9 runs but is not ready" in after


def test_a_cluster_that_comes_back_after_a_restart_is_ready_at_the_end() -> None:
    assert missing("restart")[-1][1] == ""


def test_ready_says_what_a_recorded_ready_cluster_lacks_for_another_number_of_workers() -> None:
    assert ready(sample("raycluster-ready.json"), (), 3) == "the RayCluster asks for 2 workers, not for 3"
    assert ready(sample("raycluster-ready.json"), (), 2) == "0 heads of 1"


def test_a_ready_cluster_lacks_nothing() -> None:
    assert ready(raycluster(), TWO, 2) == ""


def test_a_generation_that_kuberay_has_not_seen_is_not_ready() -> None:
    assert ready(raycluster(generation=2), TWO, 2) == "KubeRay has seen generation 1, 2 is asked for"


def test_a_cluster_without_a_status_has_not_begun() -> None:
    assert ready(raycluster(observed=None), (), 2) == "KubeRay has not begun yet"


def test_replicas_that_kuberay_clamped_are_named() -> None:
    clamped = raycluster(workers=9)
    clamped["status"]["desiredWorkerReplicas"] = 3

    assert ready(clamped, TWO, 9).startswith("KubeRay wants 3 workers, not 9")


def test_a_status_that_says_ready_does_not_hide_a_head_condition_that_is_false() -> None:
    failed = raycluster()
    failed["status"]["conditions"][0] |= {"status": "False", "reason": "PodFailed"}

    assert ready(failed, TWO, 2) == "HeadPodReady is not True (PodFailed)"


def test_a_cluster_without_any_head_condition_is_not_ready() -> None:
    silent = raycluster()
    silent["status"]["conditions"] = []

    assert ready(silent, TWO, 2) == "HeadPodReady is not True (no such condition yet)"


def test_two_heads_are_not_ready() -> None:
    assert ready(raycluster(), (*TWO, running("e2e-head-b", role="head")), 2) == "2 heads of 1"


def test_a_worker_too_many_is_not_ready_either() -> None:
    extra = (*TWO, running("e2e-workers-worker-c", since=5))

    assert ready(raycluster(), extra, 2) == "3 of 2 workers ready (3 pods of 2)"


def test_a_worker_whose_container_is_not_ready_is_counted_out() -> None:
    starting = container("ray-worker", running={"startedAt": at(5)})
    worker = pod("e2e-workers-worker-c", starting, phase="Running")

    assert ready(raycluster(), (*TWO[:2], worker), 2) == (
        "1 of 2 workers ready (worker e2e-workers-worker-c runs but is not ready)"
    )


def test_a_pod_that_its_node_no_longer_vouches_for_is_not_ready_although_its_container_is() -> None:
    lost: Any = running("e2e-workers-worker-b", since=5)
    lost["status"]["conditions"][0]["status"] = "False"

    assert ready(raycluster(), (*TWO[:2], lost), 2) == (
        "1 of 2 workers ready (worker e2e-workers-worker-b runs but is not ready)"
    )


def test_pods_that_still_run_an_earlier_image_are_not_the_cluster_that_was_asked_for() -> None:
    wanted: Any = raycluster()
    wanted["spec"]["workerGroupSpecs"][0]["template"] = {"spec": {"containers": [{"image": "docker.io/e2e:2"}]}}

    assert ready(wanted, TWO, 2) == (
        "e2e-workers-worker-a still runs image docker.io/e2e:1, docker.io/e2e:2 is asked for"
    )


def test_workers_that_kuberay_has_not_counted_yet_are_waited_for() -> None:
    assert ready(raycluster(ready=0), TWO, 2) == "KubeRay counts 0 of 2 workers ready"


def test_pods_of_another_ray_cluster_in_the_namespace_do_not_count() -> None:
    other = running("other-workers-worker-a")
    other["metadata"]["labels"]["ray.io/cluster"] = "other"

    assert ready(raycluster(), (*TWO, other), 2) == ""
