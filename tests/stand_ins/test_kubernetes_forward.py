"""The way to the dashboard: a NodePort where one answers, else a port-forward that outlives its pod."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import psutil
import pytest
import requests

from fixtures.clusters.kubernetes.access.kubectl import cluster_options
from fixtures.clusters.kubernetes.network.forward import PortForward, Target, Timeouts, forward_service
from fixtures.clusters.kubernetes.network.routes import NodePort, reach
from fixtures.errors import InfraError
from fixtures.measure.jobs import JobsClient
from fixtures.measure.jobs import Timeouts as JobsPatience
from fixtures.system import watchdog
from fixtures.system.waiting import wait_while
from tests.stand_ins.http_server import answering
from tests.stand_ins.kubernetes_store import ignore
from tests.stand_ins.stand_in import forwarding_kubectl

ROOT = Path(__file__).parents[2]
TOKEN = "t0ken"
LIMIT = 30.0
"""Seconds until a test counts as hanging."""

HASTE = Timeouts(
    connect=5, read=20, node_port=0, probe=0.02, look=0.01, backoff=0.02, longest=0.1, hang=20, outage=20, start=20
)
"""Looks often and gives up late: no test is to fail because the machine is busy."""


@dataclass
class Ray:
    """A dashboard that knows its version and one job."""

    port: int = 0
    version: str = '{"ray_version": "2.60.0"}'
    code: int = 200
    requests: int = 0


@pytest.fixture
def ray() -> Iterator[Ray]:
    state = Ray()

    def answer(call: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        state.requests += 1
        return state.code, (state.version if call.path == "/api/version" else '{"status": "RUNNING"}').encode()

    with answering(answer) as address:
        state.port = int(address.rpartition(":")[2])
        yield state


@dataclass
class StandIn:
    """Tells the stand-in what to do, and knows what it was asked."""

    home: Path
    program: Path
    target: Target

    def mode(self, mode: str) -> None:
        beside = self.home / "mode.new"
        beside.write_text(mode)
        beside.replace(self.home / "mode")

    def lines(self) -> list[str]:
        file = self.home / "calls"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def calls(self) -> list[str]:
        return [line.split(" ", 1)[1] for line in self.lines()]

    @property
    def pids(self) -> list[int]:
        return [int(line.split()[0]) for line in self.lines()]


@pytest.fixture
def kubectl(tmp_path: Path, ray: Ray) -> Iterator[StandIn]:
    program = forwarding_kubectl(tmp_path, ray.port)
    environ = {"PATH": os.environ["PATH"], "STAND_IN": str(tmp_path)}
    cluster = ("--kubeconfig", "/c/config", "--context", "ours")
    stand_in = StandIn(tmp_path, program, forward_service(program, cluster, environ, "ns", "e2e-head-svc"))
    yield stand_in
    left = [pid for pid in stand_in.pids if psutil.pid_exists(pid)]
    assert not left, "kubectl was left behind"


@contextmanager
def started(kubectl: StandIn, **timeouts: float) -> Iterator[PortForward]:
    """A port-forward that has answered."""
    forward = PortForward(kubectl.target, TOKEN, replace(HASTE, **timeouts))
    forward.start()
    try:
        yield forward
    finally:
        forward.stop()


@pytest.fixture
def forward(kubectl: StandIn) -> Iterator[PortForward]:
    with started(kubectl) as forward:
        yield forward


def wait_until(true: Callable[[], bool], what: str) -> None:
    assert not wait_while(lambda: "" if true() else what, LIMIT, every=0.01)


def answers(address: str, code: int = 200) -> bool:
    try:
        return requests.get(f"{address}/api/version", timeout=5).status_code == code
    except requests.RequestException:
        return False


def test_a_node_port_that_answers_is_taken_and_no_kubectl_is_started(ray: Ray, kubectl: StandIn) -> None:
    lines: list[str] = []

    route = reach("127.0.0.1", ray.port, kubectl.target, TOKEN, lines.append)

    assert route == NodePort(f"http://127.0.0.1:{ray.port}")
    assert kubectl.calls == []
    assert lines == [f"dashboard at http://127.0.0.1:{ray.port}, a NodePort"]


@pytest.mark.parametrize("host", [None, "127.0.0.1"])
def test_without_a_node_port_that_answers_a_port_is_forwarded(host: str | None, kubectl: StandIn) -> None:
    route = reach(host, 1, kubectl.target, TOKEN, ignore, HASTE)  # nobody listens on port 1
    try:
        assert answers(route.address)
    finally:
        route.stop()


@pytest.mark.parametrize("answer", ["<html>a proxy's page</html>", "[]", '{"version": 1}'])
def test_something_else_that_answers_on_the_node_port_is_not_taken_for_ray(
    answer: str, ray: Ray, kubectl: StandIn
) -> None:
    ray.version = answer
    kubectl.mode("notfound")
    lines: list[str] = []

    with pytest.raises(InfraError):
        reach("127.0.0.1", ray.port, kubectl.target, TOKEN, lines.append, HASTE)

    assert "not Ray's answer" in lines[0]


def test_a_refused_token_is_said_at_once_and_not_taken_for_a_way_that_is_closed(ray: Ray, kubectl: StandIn) -> None:
    ray.code, ray.version = 403, "Forbidden: Invalid authentication token"

    with pytest.raises(InfraError, match="HTTP 403: Forbidden: Invalid authentication token"):
        reach("127.0.0.1", ray.port, kubectl.target, TOKEN, ignore, HASTE)

    assert kubectl.calls == []


def test_kubectl_is_told_which_cluster_namespace_and_service_and_to_listen_on_loopback_only(
    kubectl: StandIn, forward: PortForward
) -> None:
    port = forward.address.rsplit(":", 1)[1]
    assert kubectl.calls == [
        f"--kubeconfig /c/config --context ours --namespace ns port-forward --address 127.0.0.1 "
        f"--pod-running-timeout 10s svc/e2e-head-svc {port}:8265"
    ]


def test_the_users_own_config_and_context_are_not_replaced_by_empty_flags() -> None:
    assert cluster_options(None, None) == ()


def test_a_forward_whose_pod_is_gone_comes_back_on_the_same_port(kubectl: StandIn, forward: PortForward) -> None:
    address = forward.address
    kubectl.mode("lost")
    wait_until(lambda: len(kubectl.calls) > 1, "a restart")
    kubectl.mode("forward")
    wait_until(lambda: answers(address), "an answer on the old port")

    assert forward.address == address
    assert set(kubectl.calls) == {kubectl.calls[0]}
    wait_until(lambda: "error: lost connection to pod" in forward.trouble, "the outage in the evidence")


def test_the_next_pod_may_take_its_time(kubectl: StandIn, forward: PortForward) -> None:
    kubectl.mode("pending")
    os.kill(kubectl.pids[0], 9)
    wait_until(lambda: len(kubectl.calls) > 3, "several restarts")
    kubectl.mode("forward")

    wait_until(lambda: answers(forward.address), "an answer")
    assert not forward.broken


def test_a_forward_that_hangs_with_its_port_open_is_started_anew(kubectl: StandIn) -> None:
    with started(kubectl, read=1.0, hang=1.0) as forward:
        kubectl.mode("hang")
        wait_until(lambda: len(kubectl.calls) > 1, "a restart")
        kubectl.mode("forward")
        wait_until(lambda: "no answer for 1 s" in forward.trouble, "the outage in the evidence")
        assert not psutil.pid_exists(kubectl.pids[0])


def test_after_an_outage_that_is_too_long_a_client_is_told_the_first_and_the_last_cause(kubectl: StandIn) -> None:
    with (
        started(kubectl, outage=1.5) as forward,
        JobsClient(forward.address, TOKEN, JobsPatience(outage=0.0, poll=0.01)) as jobs,
    ):
        assert jobs.status("job-1")["status"] == "RUNNING"
        kubectl.mode("dying")
        wait_until(lambda: forward.broken, "the forward given up")
        wait_until(lambda: answers(forward.address, 503), "an excuse")

        with pytest.raises(InfraError) as caught:
            jobs.status("job-1")

    assert "HTTP 503" in caught.value.cause
    assert "given up after" in caught.value.cause
    assert "lost connection to pod (then: error: unable to forward port because pod is not run" in str(caught.value)
    assert "given up" in forward.trouble


def test_a_service_that_does_not_exist_is_said_at_once_in_kubectls_words(kubectl: StandIn) -> None:
    kubectl.mode("notfound")
    began = time.monotonic()

    with pytest.raises(
        InfraError, match=r'in ns brings no dashboard: Error from server \(NotFound\): services "e2e-head'
    ):
        PortForward(kubectl.target, TOKEN, HASTE).start()

    assert time.monotonic() - began < HASTE.start


@pytest.mark.parametrize(
    ("mode", "said"),
    [("pending", "pod is not running. Current status=Pending"), ("nopod", "(no pod of the service runs)")],
)
def test_a_pod_that_never_runs_is_said_after_the_time_given_for_a_start(mode: str, said: str, kubectl: StandIn) -> None:
    kubectl.mode(mode)

    with pytest.raises(InfraError, match=re.escape(said)):
        PortForward(kubectl.target, TOKEN, replace(HASTE, start=1.5)).start()


def test_a_local_port_that_somebody_took_meanwhile_is_replaced_by_another(kubectl: StandIn) -> None:
    kubectl.mode("taken")

    def set_free() -> None:
        wait_until(lambda: len(kubectl.calls) > 0, "a try")
        kubectl.mode("forward")

    thread = threading.Thread(target=set_free)
    thread.start()
    with started(kubectl) as forward:
        thread.join()
        assert answers(forward.address)
        assert kubectl.calls[0] != kubectl.calls[-1]


def test_a_kubectl_that_cannot_be_started_and_something_else_behind_the_service_are_said(
    tmp_path: Path, kubectl: StandIn, ray: Ray
) -> None:
    ray.version = "[]"
    missing = replace(kubectl.target, words=(str(tmp_path / "absent"),))

    for target, why in ((missing, "absent cannot be started"), (kubectl.target, "HTTP 200, which is not Ray's answer")):
        with pytest.raises(InfraError, match=why):
            PortForward(target, TOKEN, HASTE).start()


def test_stopping_leaves_neither_process_nor_thread_and_may_be_repeated(kubectl: StandIn, forward: PortForward) -> None:
    forward.stop()
    forward.stop()

    assert not answers(forward.address)
    assert not any(psutil.pid_exists(pid) for pid in kubectl.pids)
    assert "port-forward" not in {thread.name for thread in threading.enumerate()}


def test_a_kubectl_that_ignores_the_request_to_end_is_ended_by_force(kubectl: StandIn) -> None:
    kubectl.mode("stubborn")
    forward = PortForward(kubectl.target, TOKEN, replace(HASTE, start=0.5, grace=0.05))

    with pytest.raises(InfraError):
        forward.start()  # the fixture asserts that nothing is left


def test_ctrl_c_while_it_starts_leaves_nothing(kubectl: StandIn) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PortForward(kubectl.target, TOKEN, HASTE, interrupt).start()

    assert len(kubectl.pids) == 1  # the fixture asserts that it is gone


def harness(kubectl: StandIn, then: str) -> list[str]:
    """The command of a process that forwards a port and then does this."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from fixtures.clusters.kubernetes.network.forward import PortForward, forward_service\n"
        "program, home = Path(sys.argv[1]), sys.argv[2]\n"
        "target = forward_service(program, (), {'STAND_IN': home}, 'ns', 'e2e-head-svc')\n"
        f"PortForward(target, 't0ken').start()\n{then}\n"
    )
    return [sys.executable, "-c", script, str(kubectl.program), str(kubectl.home)]


def test_an_end_of_the_harness_without_a_stop_leaves_no_kubectl(kubectl: StandIn) -> None:
    subprocess.run(harness(kubectl, "pass"), check=True, timeout=LIMIT, cwd=ROOT)

    assert len(kubectl.pids) == 1  # the fixture asserts that it is gone


def test_a_harness_that_is_killed_outright_leaves_no_kubectl(kubectl: StandIn) -> None:
    command = harness(kubectl, "print('up', flush=True)\ntime.sleep(600)")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.kill()

    wait_until(lambda: not any(map(psutil.pid_exists, kubectl.pids)), "no kubectl")


def test_also_one_that_ignores_the_request_to_end(kubectl: StandIn) -> None:
    kubectl.mode("stubborn")
    command = watchdog.arguments(0.1, [str(kubectl.program), "0:8265"])
    child = watchdog.Watchdog(command, kubectl.target.environ)
    wait_until(lambda: kubectl.pids != [], "a kubectl")

    child.dismiss(20)  # closes its input, as the kernel does for a starter that was killed

    assert child.code == -signal.SIGKILL
    wait_until(lambda: not any(map(psutil.pid_exists, kubectl.pids)), "no kubectl")


def test_while_all_is_well_there_is_nothing_to_tell(forward: PortForward, ray: Ray) -> None:
    seen = ray.requests
    wait_until(lambda: ray.requests > seen + 2, "probes")

    assert forward.trouble == ""
    assert not forward.broken
