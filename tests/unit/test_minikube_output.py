"""What Minikube prints: progress, causes and remedies, profiles and states; all from recorded sessions."""

import json
import re

import pytest

from fixtures.clusters.kubernetes.engines.minikube_events import REMEDIES, Event, Progress, failure, parse_event
from fixtures.clusters.kubernetes.engines.minikube_state import Shape, not_running, parse_names, parse_profile
from fixtures.errors import InfraError
from fixtures.system.programs import Completed
from tests.stand_ins.stand_in import DATA, recorded

ASKED = Shape(2, 2, 6144, "docker", "containerd", "v1.34.4")
PROFILES = recorded("minikube-profile-list-2.json")


def heard(name: str, nodes: int = 2) -> tuple[Progress, list[str]]:
    said: list[str] = []
    progress = Progress(nodes, said.append)
    for line in recorded(name).splitlines():
        progress.hear(line)
    return progress, said


def cause_and_remedy(name: str, code: int) -> InfraError:
    progress, _ = heard(f"{name}.jsonl") if (DATA / f"{name}.jsonl").exists() else (Progress(2, print), [])
    stderr = recorded(f"{name}.stderr") if (DATA / f"{name}.stderr").exists() else ""
    return failure("minikube start", Completed(code, progress.text, stderr), progress.events)


@pytest.mark.parametrize(
    ("name", "code", "cause", "remedy"),
    [
        ("minikube-start-err-driver", 56, "DRV_UNSUPPORTED_OS.*'nosuch' is not supported on linux", "such as docker"),
        ("minikube-start-err-root", 57, "DRV_AS_ROOT.*should not be used with root", "group docker"),
        ("minikube-start-err-memory", 23, "RSRC_INSUFFICIENT_REQ_MEMORY.*500MiB.*minimum of 1800MB", "1800 MiB"),
        (
            "minikube-start-err-nodocker",
            14,
            "PROVIDER_DOCKER_NOT_RUNNING.*Cannot connect to the Docker",
            "Start Docker",
        ),
        ("minikube-start-err-nobinaries", 48, "INET_LOOKUP_HOST.*dl.k8s.io/release/v1.34.3", "Minikube's cache"),
        ("minikube-start-err-noimage", 48, "INET_LOOKUP_HOST.*no such host", "MINIKUBE_BASE_IMAGE"),
        ("minikube-start-err-retry", 80, "GUEST_PROVISION.*create kic node.*exited unexpectedly", "did not come up"),
        ("minikube-start-err-flag", 14, "exit code 14: Error: unknown flag: --no-such-flag", "--node-memory"),
    ],
)
def test_every_recorded_failure_has_its_cause_and_what_to_do(name: str, code: int, cause: str, remedy: str) -> None:
    error = cause_and_remedy(name, code)

    assert re.search(cause, error.cause)
    assert remedy in error.remedy
    assert len(error.cause) < 800


def test_minikubes_own_advice_and_page_are_part_of_the_remedy() -> None:
    error = cause_and_remedy("minikube-start-err-noimage", 48)

    assert error.remedy.startswith("Verify that your HTTP_PROXY and HTTPS_PROXY environment variables are set")
    assert "See https://minikube.sigs.k8s.io/docs/handbook/vpn_and_proxy/" in error.remedy
    podman = Event("error", 'exec: "sudo": not found', exit_code=63, reason="PROVIDER_PODMAN_NOT_RUNNING")
    assert "`sudo -n podman version`" in failure("minikube start", Completed(63, "", ""), [podman]).remedy


def test_the_first_fatal_event_is_the_cause_and_the_second_its_echo() -> None:
    """With Docker down the stream says 63, then 14, and the process ends with 14."""
    progress, _ = heard("minikube-start-err-nodocker.jsonl")

    assert [event.exit_code for event in progress.events if event.exit_code] == [63, 14]
    assert "exit code 63" in cause_and_remedy("minikube-start-err-nodocker", 14).cause


def test_a_node_that_was_tried_twice_failed_with_what_the_first_attempt_said() -> None:
    """Under Podman: the second attempt failed at the volume that the first had left."""
    progress, said = heard("minikube-start-err-retry.jsonl")

    assert "volume already exists" in said[-1]
    assert "volume" not in cause_and_remedy("minikube-start-err-retry", 80).cause
    assert not any("\x1b" in event.message for event in progress.events)
    assert 'minikube: node 1 of 2: Stopping node "ray-train-e2e" ...' in said


def test_a_first_attempt_at_a_node_that_came_up_after_all_is_not_the_cause_of_another_nodes_failure() -> None:
    steps = [Event("step", f'Starting "{node}" node', step="3 of 19") for node in ("one", "two")]
    retried = Event("error", "StartHost failed, but will try again: the first node was slow")
    fatal = Event("error", "the second node is broken", exit_code=80, reason="GUEST_NODE_ADD")

    error = failure("minikube start", Completed(80, "", ""), [steps[0], retried, steps[1], fatal])

    assert error.cause == "minikube start failed with GUEST_NODE_ADD (exit code 80): the second node is broken."


def test_log_lines_on_the_error_output_are_not_taken_for_the_cause_and_every_exit_code_has_a_remedy() -> None:
    error = failure("minikube start", Completed(80, "", recorded("minikube-start-err-nobinaries.stderr")), [])

    assert error.cause == "minikube start ended with exit code 80: it said nothing."
    assert "the node did not come up" in error.remedy.lower()
    for code in (*REMEDIES, 21, 32, 42, 59, 60, 77, 80, 83, 95, 100, 112, 1):
        assert len(failure("minikube start", Completed(code, "", ""), []).remedy) > 20, code


def test_progress_names_node_and_step_because_steps_begin_again_with_each_node() -> None:
    progress, said = heard("minikube-start-2nodes.jsonl")

    assert said[0].startswith("minikube: step 0 of 19: [rig2] minikube v1.38.1")
    assert 'minikube: node 1 of 2, step 3 of 19: Starting "rig2" primary control-plane node in "rig2" cluster' in said
    assert 'minikube: node 2 of 2, step 3 of 19: Starting "rig2-m02" worker node in "rig2" cluster' in said
    assert not any("root privileges" in line for line in said), "errors without an exit code are noise"
    assert progress.last.startswith("Done!")


def test_lines_that_are_no_events_do_no_harm() -> None:
    said: list[str] = []
    progress = Progress(1, said.append)

    for line in ("", "plain text", "[1, 2]", "{", '{"type": "other", "data": {}}', '{"type": 3, "data": {}}', "null"):
        progress.hear(line)

    assert (said, progress.events) == ([], [])


def test_of_a_download_each_quarter_is_said_once() -> None:
    said: list[str] = []
    progress = Progress(1, said.append)

    for percent in range(101):
        data = {"artifact": "preload.tar.lz4", "currentstep": "4", "totalsteps": "19", "progress": f"{percent / 100}"}
        progress.hear(json.dumps({"type": "io.k8s.sigs.minikube.download.progress", "data": data}))

    assert said == [f"minikube: downloading preload.tar.lz4, {quarter} %" for quarter in (0, 25, 50, 75, 100)]


def test_an_event_has_its_kind_and_its_step() -> None:
    event = parse_event(recorded("minikube-start-2nodes.jsonl").splitlines()[0])

    assert event is not None
    assert (event.kind, event.step, event.exit_code) == ("step", "0 of 19", None)


def test_the_profile_of_our_name_is_found_with_its_shape_its_state_and_what_differs() -> None:
    profile = parse_profile(PROFILES, "rig2")

    assert profile is not None
    assert parse_profile(PROFILES, "rig3") is None
    assert (profile.shape, profile.broken) == (ASKED, False)
    for less in (
        ASKED,
        Shape(2, 1, 2048, "docker", "containerd", "1.34.4"),
        Shape(2, None, None, None, None, "stable"),
    ):
        assert profile.shape.differences(less) == ()
    assert profile.shape.differences(Shape(3, 4, 8192, "kvm2", "docker", "v1.35.1")) == (
        "2 nodes instead of 3",
        "2 CPUs a node instead of 4",
        "6144 MiB of memory a node instead of 8192",
        "driver docker instead of kvm2",
        "container runtime containerd instead of docker",
        "Kubernetes v1.34.4 instead of v1.35.1",
    )


@pytest.mark.parametrize("change", [{"Status": ""}, {"Status": "Unknown"}, {"Config": {"Driver": "docker"}}])
def test_what_a_failed_start_leaves_is_broken(change: dict[str, object]) -> None:
    profiles = [{**profile, **change} for profile in json.loads(PROFILES)["valid"]]

    profile = parse_profile(json.dumps({"valid": profiles}), "rig2")
    assert profile is not None
    assert profile.broken


def test_names_are_those_of_valid_and_invalid_profiles_and_an_error_is_one() -> None:
    assert parse_names('{"valid": [{"Name": "a"}], "invalid": [{"Name": "b"}]}') == {"a", "b"}
    assert parse_names('{"valid": [], "invalid": null}') == frozenset()
    with pytest.raises(InfraError, match="home is not readable"):
        parse_profile('{"error": "home is not readable"}', "rig2")


def stopped(*nodes: str) -> tuple[str, ...]:
    return tuple(f"{node}: Host Stopped, Kubelet Stopped, APIServer Stopped, Kubeconfig Stopped" for node in nodes)


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("1node", ()),
        ("2node", ()),
        ("2nodes-fresh", ()),
        ("worker-dead", stopped("rig-m02")),
        ("stopped", stopped("rig", "rig-m02")),
    ],
)
def test_the_state_of_each_node_is_read_for_one_node_and_for_several(name: str, lost: tuple[str, ...]) -> None:
    assert not_running(recorded(f"minikube-status-{name}.json")) == lost


@pytest.mark.parametrize("text", ["", "plain text", "[]x", recorded("minikube-status-nosuch.json"), '{"error": "x"}'])
def test_a_status_that_tells_of_no_node_is_an_error(text: str) -> None:
    with pytest.raises(InfraError, match="minikube status"):
        not_running(text)
