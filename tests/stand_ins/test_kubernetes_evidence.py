"""Evidence from a cluster that may be in any state: what comes is kept, what does not is named, nothing is raised."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

from fixtures.clusters.evidence import FILE_BYTES, SUMMARY, TOTAL_BYTES
from fixtures.clusters.kubernetes.access.api import Api
from fixtures.clusters.kubernetes.evidence import evidence
from fixtures.clusters.kubernetes.evidence.evidence import collect
from fixtures.errors import InfraError
from fixtures.system.programs import Completed, Tool
from tests.stand_ins.fake_helm import crd, deployment
from tests.stand_ins.fake_kubernetes import FakeKubernetes
from tests.stand_ins.http_server import answering
from tests.stand_ins.kubernetes_store import FakeClock
from tests.unit.recordings import sample

NS = "ray"
TOKEN = "4f1c9a77d0e2"
DATA = Path(__file__).parents[1] / "data"


def an_engine(says: Callable[[], Mapping[str, str]] = dict) -> Any:
    """An engine that says what it is told to."""
    return SimpleNamespace(kubeconfig=Path("/c"), context="ours", evidence=says, lost_nodes=dict)


class FakeTool(Tool):
    """A program that answers, fails or hangs."""

    def __init__(
        self, name: str, says: Callable[[tuple[str, ...]], str] = lambda _: "v1.0", found: bool = True
    ) -> None:
        super().__init__(name, {})
        self._says, self._found = says, found
        self.asked: list[tuple[str, ...]] = []

    def found(self) -> Path | None:
        return Path(f"/usr/bin/{self.name}") if self._found else None

    def run(self, *arguments: str, timeout: float, stdin: IO[bytes] | None = None, check: bool = True) -> Completed:
        self.asked.append(arguments)
        return Completed(0, self._says(arguments), "")


@dataclass
class Dashboard:
    """Ray's dashboard as it was recorded."""

    address: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    jobs = json.loads((DATA / "ray-api-jobs.json").read_text())
    state = Dashboard(
        answers={
            "/api/version": {"ray_version": "2.60.0"},
            "/nodes?view=summary": {"data": {"summary": [{"raylet": {"state": "ALIVE", "nodeName": "head"}}]}},
            "/api/cluster_status": {"result": True},
            "/api/jobs/": jobs,
            f"/api/jobs/{jobs[-1]['submission_id']}/logs": {"logs": f"started with {TOKEN}\nfailed with 3\n"},
        }
    )

    def answer(call: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        state.tokens.add(call.headers["Authorization"])
        known = call.path in state.answers
        return 200 if known else 500, json.dumps(state.answers.get(call.path)).encode()

    with answering(answer) as state.address:
        yield state


@pytest.fixture
def fake() -> Iterator[FakeKubernetes]:
    """The recorded RayCluster with its pods, one of which was restarted."""
    with FakeKubernetes(FakeClock()) as fake:
        fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}})
        head, cluster, events = (sample(f"{name}.json") for name in ("pods-auth", "raycluster-ready", "events-ray"))
        for stored in (*head["items"], cluster, *events["items"]):
            stored["metadata"]["namespace"] = NS
        fake.put(head, cluster, events, sample("nodes-2.json"), deployment("kuberay-system"))
        for pod in head["items"]:
            for status in (*pod["status"].get("initContainerStatuses", ()), *pod["status"]["containerStatuses"]):
                status["restartCount"] = 0
                fake.logs[NS, pod["metadata"]["name"], status["name"], False] = f"log of {status['name']} {TOKEN}\n"
        first = head["items"][0]
        first["status"]["containerStatuses"][0]["restartCount"] = 1
        fake.logs[NS, first["metadata"]["name"], first["status"]["containerStatuses"][0]["name"], True] = "Killed\n"
        fake.put(*head["items"])
        yield fake


@pytest.fixture
def api(fake: FakeKubernetes, tmp_path: Path) -> Api:
    return Api(fake.kubeconfig(tmp_path), None, clock=fake.clock)


def collected(
    api: Api | None,
    says: Callable[[], Mapping[str, str]] = dict,
    dashboard: str | None = None,
    deadline: float = 60,
    **tools: Tool,
) -> Mapping[str, str]:
    """What is collected from a cluster whose kubectl works and whose engine says this."""
    given = {"kubectl": FakeTool("kubectl", lambda _: f"==> gcs_server.out <==\n{TOKEN}"), **tools}
    return collect(api, given, NS, an_engine(says), dashboard, TOKEN, deadline=deadline)


def test_the_summary_comes_first_and_everything_else_is_there(api: Api, dashboard: Dashboard) -> None:
    found = collected(api, lambda: {"minikube.txt": "Running"}, dashboard.address)

    assert next(iter(found)) == SUMMARY
    assert {
        "crds.txt", "events-kuberay-system.txt", "events-ray.txt", "minikube.txt", "nodes.json", "operator.json",
        "pods-all.txt", "pods.json", "ray-jobs.json", "ray-nodes.json", "ray-status.json", "raycluster.json",
    } <= set(found)  # fmt: skip
    assert "job-raysubmit_bex7QJQ2GirTzAHC.log" in found
    assert "Not collected" not in found[SUMMARY]


def test_every_container_s_log_is_there_and_that_of_the_one_before_a_restart(api: Api, fake: FakeKubernetes) -> None:
    found = collected(api)

    logs = {each for each in found if each.startswith("log-")}
    assert len([each for each in logs if not each.endswith("-previous.txt")]) == len(
        [key for key in fake.logs if not key[3]]
    )
    (previous,) = [each for each in logs if each.endswith("-previous.txt")]
    assert found[previous] == "Killed\n"


def test_ray_s_own_logs_are_read_inside_the_pods_of_the_right_cluster(api: Api) -> None:
    kubectl = FakeTool("kubectl", lambda asked: "head" if "gcs_server.out" in asked[-1] else "worker")

    found = collected(api, kubectl=kubectl)

    texts = {text for name, text in found.items() if name.startswith("ray-logs-")}
    assert texts == {"head", "worker"}
    asked = next(each for each in kubectl.asked if "exec" in each)
    assert asked[:7] == ("--kubeconfig", "/c", "--context", "ours", "--namespace", NS, "exec")


def test_logs_by_hand_are_those_of_pods_of_ray_and_of_the_operator(api: Api, fake: FakeKubernetes) -> None:
    kubectl = FakeTool("kubectl", lambda asked: f"==> raylet.out <==\n{TOKEN}\n")

    found = evidence.logs(api, kubectl, NS, an_engine(says=lambda: {"minikube.txt": "Running"}), TOKEN)

    assert {name.split("-")[0] for name in found} <= {"log", "ray", "events"}, "no engine, no job, no summary"
    for pod in sample("pods-auth.json")["items"]:
        name = pod["metadata"]["name"]
        assert any(each.startswith(f"log-{name}-") for each in found)
        assert found[f"ray-logs-{name}.txt"] == "==> raylet.out <==\n[redacted]\n"
    assert not [name for name, text in found.items() if TOKEN in text]


def test_the_token_is_in_none_of_the_texts_and_sent_to_the_dashboard_only(
    api: Api, fake: FakeKubernetes, dashboard: Dashboard
) -> None:
    found = collected(api, lambda: {"e.txt": f"env RAY_AUTH_TOKEN={TOKEN}"}, dashboard.address)

    assert dashboard.tokens == {f"Bearer {TOKEN}"}
    assert not [name for name, text in found.items() if TOKEN in text]
    assert any("[redacted]" in text for text in found.values())
    assert fake.asked("GET", "/secrets") == [], "no secret is ever asked for"


def test_the_summary_names_the_first_bad_thing_and_the_versions(api: Api, dashboard: Dashboard) -> None:
    found = collected(api, dashboard=dashboard.address)

    assert "**First bad thing (CRDs and operator):** There is no CRD rayclusters.ray.io." in found[SUMMARY]
    assert "Kubernetes v1.34.4" in found[SUMMARY]
    assert "Ray 2.60.0" in found[SUMMARY]
    assert "Python 3." in found[SUMMARY]


def test_an_operator_that_does_not_look_after_the_namespace_is_not_in_the_summary(
    api: Api, fake: FakeKubernetes
) -> None:
    fake.put(crd("rayclusters.ray.io"), deployment("elsewhere", arguments=("--watch-namespace", "elsewhere")))

    summary = collected(api)[SUMMARY]

    assert "kuberay-system/" in summary
    assert "elsewhere" not in summary


def test_nobody_waits_for_logs_from_a_node_that_does_not_run(api: Api, fake: FakeKubernetes) -> None:
    engine, kubectl = an_engine(), FakeTool("kubectl")
    engine.lost_nodes = lambda: {pod["spec"]["nodeName"]: "exited" for pod in sample("pods-auth.json")["items"]}

    found = collect(api, {"kubectl": kubectl}, NS, engine, None, TOKEN)

    assert "pods.json" in found
    assert fake.asked("GET", "/log") == []
    assert not [asked for asked in kubectl.asked if "exec" in asked]


def test_without_a_cluster_what_the_engine_says_is_still_there() -> None:
    found = collected(None, lambda: {"minikube-logs.txt": "exit code 48"}, helm=FakeTool("helm"))

    assert found["minikube-logs.txt"] == "exit code 48"
    assert "helm v1.0" in found[SUMMARY]
    assert "The Kubernetes API did not list its nodes" in found[SUMMARY]


def test_an_api_and_a_dashboard_that_are_gone_are_asked_once_and_named(
    fake: FakeKubernetes, api: Api, dashboard: Dashboard
) -> None:
    without_dashboard = collected(api, dashboard="http://127.0.0.1:1")
    fake.down, fake.requests = True, []
    fake.advance = lambda: None  # type: ignore[method-assign]
    without_api = collected(api, dashboard=dashboard.address)

    assert "- Ray's dashboard: " in without_dashboard[SUMMARY]
    assert "pods.json" in without_dashboard
    assert "- Kubernetes API: The Kubernetes API at" in without_api[SUMMARY]
    assert {request.path for request in fake.requests} == {"/version"}
    assert "ray-nodes.json" in without_api


def raises(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("error", [InfraError("first", "do"), ValueError(), KeyError("metadata"), OSError("disk")])
def test_whatever_fails_is_named_and_the_rest_is_there(error: Exception, api: Api, dashboard: Dashboard) -> None:
    kubectl, helm = (FakeTool(name, raises(error)) for name in ("kubectl", "helm"))

    found = collected(api, raises(error), dashboard.address, kubectl=kubectl, helm=helm)

    assert "- engine: " in found[SUMMARY]
    assert "- version of helm: " in found[SUMMARY]
    assert "- Ray's logs in " in found[SUMMARY]
    assert "pods.json" in found


def test_odd_objects_and_a_missing_right_cost_only_what_needs_them(api: Api, fake: FakeKubernetes) -> None:
    fake.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "odd", "namespace": NS}})
    fake.deny("list", "nodes")

    found = collected(api)

    assert "raycluster.json" in found
    assert "nodes.json" not in found
    assert "- nodes: This user may not list nodes" in found[SUMMARY]
    assert "pods.json" in found


def test_what_hangs_is_left_behind_at_the_deadline_and_named(api: Api) -> None:
    release = threading.Event()

    def hang(*_: Any) -> Any:
        release.wait(60)
        return {"late.txt": "late"}

    began = time.monotonic()
    found = collected(api, hang, deadline=0.5, helm=FakeTool("helm", hang))
    took = time.monotonic() - began
    release.set()

    assert took < 10
    assert "- engine: no answer within 0.5 s" in found[SUMMARY]
    assert "- version of helm: no answer within 0.5 s" in found[SUMMARY]
    assert "late.txt" not in found


def test_huge_outputs_are_cut_each_and_all_together(api: Api) -> None:
    huge = {f"{each:03}.txt": f"{each:03} " * 53_000 for each in range(26)}

    found = collected(api, lambda: huge)

    assert all(len(text.encode()) <= FILE_BYTES for text in found.values())
    assert sum(len(text.encode()) for text in found.values()) <= TOTAL_BYTES
    assert next(iter(found)) == SUMMARY


def test_a_summary_that_cannot_be_made_does_not_cost_the_rest(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "synopsis", raises(ZeroDivisionError("no")))

    found = collected(api)

    assert found[SUMMARY] == "The summary could not be made: ZeroDivisionError: no\n"
    assert "pods.json" in found


def test_a_program_that_is_not_installed_is_no_failure(api: Api) -> None:
    found = collected(api, kind=FakeTool("kind", found=False))

    assert "version of kind" not in found[SUMMARY]
