"""Recordings of a real cluster, and small builders for what was not recorded.

The recordings lie in tests/data/raycluster, compressed and otherwise unchanged: single answers of the API, and
timelines in which each line is the answer at one moment.
"""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from fixtures.clusters.kubernetes.access.objects import Object

RAYCLUSTER = Path(__file__).resolve().parents[1] / "data" / "raycluster"
T0 = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Moment:
    """What a cluster looked like; `t` counts seconds from the start of the recording."""

    t: float
    now: datetime
    raycluster: Object | None
    pods: tuple[Object, ...]
    events: tuple[Object, ...]
    nodes: tuple[Object, ...]


@cache
def text(name: str) -> str:
    return gzip.decompress((RAYCLUSTER / f"{name}.gz").read_bytes()).decode()


def sample(name: str) -> Any:
    return json.loads(text(name))


def items(name: str) -> tuple[Object, ...]:
    found = sample(name)
    return tuple(found["items"] if found["kind"].endswith("List") else (found,))


def timeline(name: str) -> list[tuple[float, Any]]:
    """(time, object) of each answer; moments at which the API did not answer are left out."""
    lines = [json.loads(line) for line in text(name).splitlines()]
    return [(line["t"], line["object"]) for line in lines if "object" in line]


def moments(
    raycluster: str = "", pods: str = "", nodes: str = "", events: str = "", *, kind: str = "Pod"
) -> Iterator[Moment]:
    """What was known at each second at which something changed, of recordings that were made side by side."""
    recorded = {
        part: timeline(f"{name}-timeline.jsonl")
        for part, name in (("raycluster", raycluster), ("pods", pods), ("nodes", nodes))
        if name
    }
    told = items(events) if events else ()
    times = sorted({t for each in recorded.values() for t, _ in each})
    begin = max(each[0][0] for each in recorded.values())  # from here on every part has an answer
    for t in (each for each in times if each >= begin):
        last = {part: [answer for when, answer in answers if when <= t][-1] for part, answers in recorded.items()}
        now = datetime.fromtimestamp(t, UTC)
        yield Moment(
            t=t - begin,
            now=now,
            raycluster=last.get("raycluster"),
            pods=_items(last.get("pods"), kind),
            events=tuple(each for each in told if _first_seen(each) <= now + timedelta(seconds=1)),
            nodes=_items(last.get("nodes"), "Node"),
        )


def _items(found: Any, kind: str) -> tuple[Object, ...]:
    return () if found is None else tuple(each for each in found["items"] if each["kind"] == kind)


def _first_seen(event: Object) -> datetime:
    return datetime.fromisoformat(event.get("firstTimestamp") or event["eventTime"])


def at(seconds: float) -> str:
    """A time as Kubernetes writes it, that many seconds after T0."""
    return (T0 + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def node(name: str = "a", *, cpu: str = "2", memory: str = "8Gi", ready: str = "True", **more: Any) -> Object:
    conditions = [
        {"type": "Ready", "status": ready, "lastTransitionTime": at(0), "message": "container runtime is down"},
        *more.pop("conditions", ()),
    ]
    return {
        "kind": "Node",
        "metadata": {"name": name},
        "spec": more,
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": "110"}, "conditions": conditions},
    }


def container(name: str = "ray-worker", *, init: bool = False, **state: Any) -> dict[str, Any]:
    """A container's status: `waiting=`, `running=` or `terminated=` with what Kubernetes puts there."""
    more: dict[str, Any] = {key: state.pop(key) for key in ("lastState", "restartCount", "ready") if key in state}
    found: dict[str, Any] = {
        "name": name,
        "image": "docker.io/e2e:1",
        "ready": False,
        "restartCount": 0,
        "state": state,
        **more,
    }
    return {**found, "init": True} if init else found


def pod(
    name: str = "e2e-workers-worker-x",
    *containers: Mapping[str, Any],
    role: str = "worker",
    node: str | None = "a",
    phase: str = "Pending",
    ready: bool = False,
    requests: Mapping[str, str] | None = None,
    limits: Mapping[str, str] | None = None,
    conditions: Sequence[Mapping[str, Any]] = (),
    **status: Any,
) -> Object:
    main = f"ray-{role}"
    resources = {"requests": requests or {"cpu": "1", "memory": "1Gi"}, "limits": limits or {"memory": "2560Mi"}}
    spec: dict[str, Any] = {"containers": [{"name": main, "image": "docker.io/e2e:1", "resources": resources}]}
    if node:
        spec["nodeName"] = node
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "ray-train-e2e",
            "uid": f"uid-{name}",
            "creationTimestamp": at(0),
            "labels": {"ray.io/cluster": "e2e", "ray.io/node-type": role},
        },
        "spec": spec,
        "status": {
            "phase": phase,
            "startTime": at(0),
            "conditions": [
                {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": at(0)},
                *conditions,
            ],
            "initContainerStatuses": [each for each in containers if each.get("init")],
            "containerStatuses": [each for each in containers if not each.get("init")],
            **status,
        },
    }


def running(name: str, *, role: str = "worker", since: float = 0, node: str = "a", restarts: int = 0) -> Object:
    """A pod that runs and is ready."""
    found = container(f"ray-{role}", running={"startedAt": at(since)}, ready=True, restartCount=restarts)
    return pod(name, found, role=role, node=node, phase="Running", ready=True)


def raycluster(*, workers: int = 2, ready: int = 2, generation: int = 1, observed: int | None = 1, **more: Any) -> Any:
    template = {"spec": {"containers": [{"name": "ray", "image": "docker.io/e2e:1"}]}}
    status: dict[str, Any] = {}
    if observed is not None:
        status = {
            "observedGeneration": observed,
            "state": "ready",
            "desiredWorkerReplicas": workers,
            "conditions": [{"type": "HeadPodReady", "status": "True", "reason": "HeadPodRunningAndReady"}],
        }
        if ready:
            status["readyWorkerReplicas"] = ready
    return {
        "kind": "RayCluster",
        "metadata": {
            "name": "e2e",
            "namespace": "ray-train-e2e",
            "uid": "uid-e2e",
            "generation": generation,
            "creationTimestamp": at(0),
            **more,
        },
        "spec": {
            "headGroupSpec": {"template": template},
            "workerGroupSpecs": [{"groupName": "workers", "replicas": workers, "template": template}],
        },
        "status": status,
    }


def event(reason: str, about: str, message: str, *, seen: float = 0, count: int = 1, kind: str = "Warning") -> Object:
    return {
        "kind": "Event",
        "type": kind,
        "reason": reason,
        "message": message,
        "count": count,
        "firstTimestamp": at(seen),
        "lastTimestamp": at(seen),
        "involvedObject": {"name": about, "uid": f"uid-{about}"},
    }
