"""Pods that do not reach each other are named with their nodes, by a real script in real processes."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import pytest

from fixtures.clusters.kubernetes.network.connectivity import ASK_SECONDS, EXEC_SECONDS, SCRIPT, prove
from fixtures.errors import InfraError
from fixtures.system.programs import Completed, ProgramTimeoutError, Tool

SERVICE = "e2e-head-svc.ns.svc"


def pod(name: str, node: str, address: str, container: str = "ray-worker") -> Any:
    spec = {"nodeName": node, "containers": [{"name": container}, {"name": "sidecar"}]}
    return {"metadata": {"name": name}, "spec": spec, "status": {"podIP": address}}


PODS = (pod("e2e-head", "a", "10.0.0.1", "ray-head"), pod("e2e-w1", "a", "10.0.0.12"), pod("e2e-w2", "b", "10.0.0.2"))


class Kubectl(Tool):
    """Says for each pod what a test lays out, that all is well otherwise."""

    def __init__(self, **answers: Callable[[], Completed]) -> None:
        super().__init__("kubectl", {})
        self.answers = answers
        self.asked: dict[str, tuple[str, ...]] = {}

    def run(self, *arguments: str, timeout: float, stdin: IO[bytes] | None = None, check: bool = True) -> Completed:
        assert 0 < timeout <= EXEC_SECONDS
        target = arguments[arguments.index("exec") + 1]
        self.asked[target] = arguments
        done = self.answers.get(target.removeprefix("e2e-"), lambda: Completed(0, "{}\n", ""))()
        if check and done.code:
            raise self.failure(arguments, done)
        return done


def unreachable(**targets: str) -> Callable[[], Completed]:
    found = {{"dns": SERVICE}.get(key, key.replace("_", ".").lstrip(".")): why for key, why in targets.items()}
    return lambda: Completed(0, f"a warning of the image\n{json.dumps(found)}\n", "")


def test_every_pod_asks_for_the_service_and_for_every_other_pod() -> None:
    kubectl = Kubectl()

    prove(kubectl, ("--kubeconfig", "/c", "--context", "ours"), "ns", PODS, SERVICE)

    assert set(kubectl.asked) == {"e2e-head", "e2e-w1", "e2e-w2"}
    called = kubectl.asked["e2e-w1"]
    assert called[:8] == ("--kubeconfig", "/c", "--context", "ours", "--namespace", "ns", "exec", "e2e-w1")
    assert called[8:10] == ("--container", "ray-worker")
    assert called[-4:] == (SERVICE, "52365", "10.0.0.1", "10.0.0.2")
    assert kubectl.asked["e2e-head"][9] == "ray-head"


def test_who_does_not_reach_whom_is_said_with_pods_and_nodes() -> None:
    kubectl = Kubectl(head=unreachable(_10_0_0_2="timed out"), w2=unreachable(_10_0_0_1="timed out", dns="no answer"))

    with pytest.raises(InfraError) as caught:
        prove(kubectl, (), "ns", PODS, SERVICE)

    assert caught.value.cause == (
        "Pods do not reach each other: "
        "e2e-head on node a cannot connect to e2e-w2 on node b, 10.0.0.2 (timed out); "
        "e2e-w2 on node b cannot connect to e2e-head on node a, 10.0.0.1 (timed out); "
        "e2e-w2 on node b cannot resolve e2e-head-svc.ns.svc (no answer)."
    )
    assert "kube-system" in caught.value.remedy


def raises(error: Exception) -> Callable[[], Completed]:
    def answer() -> Completed:
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda: Completed(1, "", "error: unable to upgrade connection: container not found\n"), "container not found"),
        (raises(ProgramTimeoutError("`kubectl exec` did not end within 60 s.")), "did not end within 60 s"),
        (lambda: Completed(0, "", ""), "it said nothing that is JSON"),
        (lambda: Completed(0, "Traceback\n", ""), "it said nothing that is JSON"),
    ],
)
def test_a_pod_that_cannot_be_asked_is_named_and_the_script_is_not_repeated(
    answer: Callable[[], Completed], why: str
) -> None:
    with pytest.raises(InfraError, match=r"e2e-w2 on node b could not be asked \(") as caught:
        prove(Kubectl(w2=answer), (), "ns", PODS, SERVICE)

    assert why in caught.value.cause
    assert "import" not in caught.value.cause


def ask(
    *peers: str, service: str = "localhost", port: int, seconds: float = ASK_SECONDS, before: str = ""
) -> Mapping[str, str]:
    """What the script really says of this machine."""
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", before + SCRIPT, str(seconds), service, str(port), *peers],
        capture_output=True, check=True, timeout=60, text=True, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    found: Mapping[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture
def port(tmp_path: Path) -> Any:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_the_script_says_what_it_does_not_reach_and_why(port: int) -> None:
    assert ask("127.0.0.1", port=port) == {}
    found = ask("127.0.0.1", "127.0.0.2", service="no.such.name.invalid.", port=port)

    assert set(found) == {"127.0.0.2", "no.such.name.invalid."}
    assert "refused" in found["127.0.0.2"]
    assert found["no.such.name.invalid."]


def test_the_script_ends_in_time_though_a_resolver_never_answers(port: int) -> None:
    hanging = "import socket, time\nsocket.getaddrinfo = lambda *_: time.sleep(60)\n"

    assert ask(service="head", port=port, seconds=0.2, before=hanging) == {"head": "no answer within 0.2 s"}
