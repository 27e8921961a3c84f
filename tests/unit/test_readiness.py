"""When a RayCluster may be used: on recordings of a real one, and case by case."""

from collections.abc import Sequence
from typing import Any

import pytest

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


def test_a_killed_worker_makes_the_cluster_unready_until_it_is_back_and_a_restart_until_its_end() -> None:
    story = missing("worker-kill")

    assert story[0][1] == "demo-workers-worker-gqtk5 must end first"
    assert next(round(t) for t, what in story if not what) == 24
    assert missing("restart")[-1][1] == ""


def test_after_the_head_was_killed_the_green_moment_before_the_workers_restart_is_not_ready() -> None:
    story = missing("head-kill")
    green = [what for t, what in story if 20 < t < 23]

    both = "demo-workers-worker-nl84q, demo-workers-worker-z6744"
    assert green[-1] == f"{both} were ready before the head and must join it anew"
    assert [round(t) for t, what in story if not what] == [52]


def test_a_worker_that_started_before_its_head_and_joined_it_later_is_ready() -> None:
    came_back = running("e2e-head-a", role="head", since=60)
    waited: Any = running("e2e-workers-worker-a", since=5)
    waited["status"]["conditions"][0]["lastTransitionTime"] = at(65)

    assert ready(raycluster(workers=1, ready=1), (came_back, waited), 1) == ""


def test_a_lost_node_makes_the_cluster_unready_although_its_containers_still_look_ready() -> None:
    story = missing("node-loss")

    assert story[0][1] == ""
    after = [what for t, what in story if t > 51]
    assert "" not in after
    assert "head demo-head-kwdz9 runs but is not ready" in after


def test_ready_says_what_a_recorded_ready_cluster_lacks_for_another_number_of_workers() -> None:
    assert ready(sample("raycluster-ready.json"), (), 3) == "the RayCluster asks for 2 workers, not for 3"
    assert ready(sample("raycluster-ready.json"), (), 2) == "0 heads of 1"


def changed(**status: Any) -> Any:
    """A ready RayCluster whose status says something else."""
    made = raycluster()
    made["status"] |= status
    return made


def unvouched() -> Any:
    """A worker whose node no longer vouches for it, although its container is ready."""
    lost: Any = running("e2e-workers-worker-b", since=5)
    lost["status"]["conditions"][0]["status"] = "False"
    return lost


def of_another_cluster() -> Any:
    other: Any = running("other-workers-worker-a")
    other["metadata"]["labels"]["ray.io/cluster"] = "other"
    return other


def asks_for_another_image() -> Any:
    wanted = raycluster()
    wanted["spec"]["workerGroupSpecs"][0]["template"] = {"spec": {"containers": [{"image": "docker.io/e2e:2"}]}}
    return wanted


def with_all_cores(ready: int) -> Any:
    """A RayCluster with a group behind the workers', and so many ready pods by KubeRay's count."""
    wanted = raycluster()
    wanted["spec"]["workerGroupSpecs"].append({**wanted["spec"]["workerGroupSpecs"][0], "replicas": 1})
    wanted["status"] |= {"desiredWorkerReplicas": 3, "readyWorkerReplicas": ready}
    return wanted


ALL_CORES = running("e2e-all-cores-2-worker-a", since=5)
STARTING = pod("e2e-workers-worker-c", container("ray-worker", running={"startedAt": at(5)}), phase="Running")
HEAD_FAILED = [{"type": "HeadPodReady", "status": "False", "reason": "PodFailed"}]


@pytest.mark.parametrize(
    ("cluster", "pods", "lacks"),
    [
        pytest.param(raycluster(), TWO, "", id="ready"),
        pytest.param(with_all_cores(ready=3), (*TWO, ALL_CORES), "", id="ready with a pod for one process"),
        pytest.param(
            with_all_cores(ready=2), TWO, "2 of 3 workers ready (2 pods of 3)", id="the pod for one process is missing"
        ),
        pytest.param(raycluster(), (*TWO, of_another_cluster()), "", id="pods of another Ray cluster do not count"),
        pytest.param(
            raycluster(generation=2), TWO, "KubeRay has seen generation 1, 2 is asked for", id="an unseen generation"
        ),
        pytest.param(raycluster(observed=None), (), "KubeRay has not begun yet", id="no status"),
        pytest.param(
            changed(desiredWorkerReplicas=1),
            TWO,
            "KubeRay wants 1 workers, not 2: replicas are outside minReplicas and maxReplicas",
            id="clamped replicas",
        ),
        pytest.param(
            changed(conditions=HEAD_FAILED),
            TWO,
            "HeadPodReady is not True (PodFailed)",
            id="a head condition that is false, although the state says ready",
        ),
        pytest.param(
            changed(conditions=[]), TWO, "HeadPodReady is not True (no such condition yet)", id="no head condition"
        ),
        pytest.param(raycluster(), (*TWO, running("e2e-head-b", role="head")), "2 heads of 1", id="two heads"),
        pytest.param(
            raycluster(),
            (*TWO, running("e2e-workers-worker-c", since=5)),
            "3 of 2 workers ready (3 pods of 2)",
            id="a worker too many",
        ),
        pytest.param(
            raycluster(),
            (*TWO[:2], STARTING),
            "1 of 2 workers ready (worker e2e-workers-worker-c runs but is not ready)",
            id="a container that is not ready",
        ),
        pytest.param(
            raycluster(),
            (*TWO[:2], unvouched()),
            "1 of 2 workers ready (worker e2e-workers-worker-b runs but is not ready)",
            id="a pod that its node no longer vouches for",
        ),
        pytest.param(
            asks_for_another_image(),
            TWO,
            "e2e-workers-worker-a still runs image docker.io/e2e:1, docker.io/e2e:2 is asked for",
            id="pods of an earlier image",
        ),
        pytest.param(raycluster(ready=0), TWO, "KubeRay counts 0 of 2 workers ready", id="workers not counted yet"),
    ],
)
def test_what_a_cluster_lacks_is_named(cluster: Any, pods: Sequence[Any], lacks: str) -> None:
    assert ready(cluster, pods, 2) == lacks
