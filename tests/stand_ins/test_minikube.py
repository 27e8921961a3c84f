"""The Minikube engine against programs that replay recorded sessions: what it starts, adopts, refuses and removes."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.clusters.kubernetes.access.docker import IMPORTS
from fixtures.clusters.kubernetes.engines.minikube import MinikubeEngine
from fixtures.errors import InfraError
from fixtures.system import leases
from fixtures.system.leases import Ownership
from fixtures.system.programs import ProgramTimeoutError
from tests.stand_ins.stand_in import docker_ps, recorded
from tests.stand_ins.test_tools import child, ended
from tests.unit.minikube_world import NO_PROCESS, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.check()


def test_a_new_cluster_is_started_with_everything_that_decides_its_shape(world: World) -> None:
    world.up(cpus=2, memory=6144)

    (start,) = world.calls("minikube start")
    assert set(start.split()[2:]) == {
        "--profile=rig2",
        "--nodes=2",
        "--cpus=2",
        "--memory=6144",
        "--driver=docker",
        "--container-runtime=containerd",
        "--kubernetes-version=v1.34.4",
        "--output=json",
        "--wait=all",
        "--wait-timeout=6m0s",
        "--interactive=false",
        "--embed-certs",
        "--keep-context",
    }
    assert world.said[0] == "minikube: making cluster rig2 of 2 nodes"
    assert any(line.startswith("minikube: node 2 of 2, step 17") for line in world.said)


def test_a_cluster_for_gpus_is_started_with_all_of_them(world: World) -> None:
    world.up(gpus=True)

    assert "--gpus=all" in world.calls("minikube start")[0].split()


def test_minikube_sees_its_own_home_and_kubeconfig_and_the_users_variables(world: World, tmp_path: Path) -> None:
    world.environ |= {"MINIKUBE_BASE_IMAGE": "node:1", "NO_PROXY": "10.0.0.0/8", "KUBECONFIG": "/user/config"}
    wanted = '"$MINIKUBE_HOME $KUBECONFIG $MINIKUBE_BASE_IMAGE $NO_PROXY $TMPDIR"'
    world.answer("minikube start", then=f"echo {wanted} >'{tmp_path}/seen'\n{world.made()}")

    engine = world.up(root=True)

    assert "--force" in world.calls("minikube start")[0].split(), "as root alone"
    seen = (tmp_path / "seen").read_text().split()
    logs = world.home / ".minikube" / "logs"
    assert seen == [str(world.home), str(engine.kubeconfig), "node:1", "10.0.0.0/8", str(logs)]
    assert engine.kubeconfig is not None
    assert engine.kubeconfig.is_relative_to(world.home)
    assert engine.context == "rig2"


def test_without_a_home_of_the_users_one_below_the_cache_directory_is_used(tmp_path: Path) -> None:
    for environ, home in (
        ({"HOME": "/home/u"}, Path("/home/u/.cache")),
        ({"HOME": "/home/u", "XDG_CACHE_HOME": "/big/cache"}, Path("/big/cache")),
        ({"HOME": "/home/u", "XDG_CACHE_HOME": "relative"}, Path("/home/u/.cache")),
    ):
        engine = MinikubeEngine("p1", 1, environ)
        assert engine.folder == home / "ray-train-e2e/minikube/.minikube/ray-train-e2e/p1"
    inside = MinikubeEngine("p1", 1, {}, home=tmp_path / ".minikube")
    assert inside.folder == tmp_path / ".minikube/ray-train-e2e/p1", "as Minikube itself reads MINIKUBE_HOME"


@pytest.mark.parametrize(
    ("name", "code", "cause"),
    [
        ("minikube-start-err-nodocker.jsonl", 14, "PROVIDER_DOCKER_NOT_RUNNING"),
        ("minikube-start-err-noimage.jsonl", 48, "INET_LOOKUP_HOST"),
        ("minikube-start-err-root.jsonl", 57, "DRV_AS_ROOT"),
    ],
)
def test_a_failed_start_is_infra_with_its_first_cause_and_leaves_its_events_as_evidence(
    world: World, name: str, code: int, cause: str
) -> None:
    world.answer("minikube start", recorded(name), code=code, then=f"mkdir -p '{world.profile}'\n")
    world.answer("minikube logs", "the log")
    world.answer("minikube status", recorded("minikube-status-nosuch.json"), code=85)
    engine = world.engine()

    with pytest.raises(InfraError, match=cause):
        engine.up(world.said.append)

    assert cause in engine.evidence()["minikube-start.jsonl"]
    engine.down()
    assert len(world.calls("minikube delete")) == 1
    assert not engine.folder.exists()


def test_errors_with_an_exit_code_in_a_start_that_goes_on_are_not_its_failure(world: World) -> None:
    """--force lets Minikube report RSRC_INSUFFICIENT_REQ_MEMORY and go on."""
    world.answer("minikube start", recorded("minikube-start-err-memory.jsonl"), then=world.made())

    world.up()

    assert any("RSRC_INSUFFICIENT_REQ_MEMORY" in line for line in world.said)


def test_a_start_that_ends_well_but_made_something_else_is_infra(world: World) -> None:
    worker_dead = world.later("minikube status", recorded("minikube-status-worker-dead.json"))
    world.answer("minikube start", then=world.made() + worker_dead)

    with pytest.raises(InfraError, match="rig-m02: Host Stopped"):
        world.up()


def test_a_start_that_hangs_is_ended_with_its_children_and_says_its_last_step(world: World, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    step = recorded("minikube-start-2nodes.jsonl").splitlines()[11]
    world.answer("minikube start", f"{step}\n", then=f"sleep 60 & echo $! >'{pid}'; wait")

    with pytest.raises(ProgramTimeoutError, match=r'last step was: Starting "rig2" primary'):
        world.up(start_seconds=0.4)

    assert ended(child(pid))


def test_ctrl_c_half_way_through_a_start_ends_minikube_and_down_removes_what_there_is(
    world: World, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    half = f"mkdir -p '{world.profile}'\n" + world.later("docker ps", docker_ps("rig2"))
    step = recorded("minikube-start-2nodes.jsonl").splitlines()[11]
    world.answer("minikube start", f"{step}\n", then=f"{half}sleep 60 & echo $! >'{pid}'; wait")
    engine = world.engine()

    def interrupt(line: str) -> None:
        if "node 1 of 2" in line:
            child(pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.up(interrupt)
    assert ended(child(pid))
    engine.down()

    assert len(world.calls("minikube delete")) == 1
    assert not engine.folder.exists()


def refuse(world: World, cause: str) -> InfraError:
    """Assert that `up` refuses, and that neither it nor `down` touches anything."""
    engine = world.engine()

    with pytest.raises(InfraError, match=cause) as refused:
        engine.up(world.said.append)
    engine.down()

    assert world.calls("minikube") == world.calls("docker rm") == []
    return refused.value


@pytest.mark.parametrize("lease", [None, "{"], ids=["no marker", "a marker that cannot be read"])
def test_a_profile_in_the_home_without_our_marker_is_never_touched(world: World, lease: str | None) -> None:
    if lease:
        world.left_by_another_run()
        (world.engine().folder / leases.LEASE).write_text(lease)
    else:
        world.profile.mkdir(parents=True)

    assert "--cluster=context" in refuse(world, "rig2 exists already .* not made by ray-train-e2e").remedy


@pytest.mark.parametrize("name", ["rig2", "rig2-m02"])
def test_containers_of_our_name_from_another_home_are_never_touched(world: World, name: str) -> None:
    """`minikube delete` removes them by label, whatever home made them; `profile list` calls them invalid."""
    world.answer("docker ps", docker_ps(name))
    world.answer("minikube profile list", json.dumps({"valid": [], "invalid": [{"Name": name}]}))

    refuse(world, f"container {name}")


def test_containers_of_other_profiles_are_nobodys_business(world: World) -> None:
    world.answer("docker ps", docker_ps("rig", "rig-m02", "rig2x", "rig2-other", "registry"))

    world.up()

    assert len(world.calls("minikube start")) == 1


def test_containers_that_somebody_made_after_ours_were_removed_are_never_touched(world: World) -> None:
    world.left_by_another_run()
    world.answer("docker ps", docker_ps("rig2", "rig2-m02").replace('"xrig2"', '"other"'))

    refuse(world, "The containers rig2 have the names of Minikube's profile rig2 but were not made by it")


def test_a_profile_that_another_run_uses_now_is_refused(world: World) -> None:
    world.left_by_another_run()
    ownership = Ownership.take(world.engine().folder)

    refuse(world, f"in use by another run \\(process {NO_PROCESS}\\)")
    assert ownership is not None
    ownership.release()


@pytest.mark.parametrize("kept", [True, False])
def test_a_cluster_of_ours_that_fits_and_runs_is_adopted(world: World, kept: bool) -> None:
    world.left_by_another_run(kept=kept)

    engine = world.up()

    assert world.said == ["minikube: adopted our cluster rig2, all 2 nodes run"]
    assert world.calls("minikube start") == []
    engine.down()
    assert len(world.calls("minikube delete")) == 1


@pytest.mark.parametrize("state", ["Host Stopped", "Kubelet Stopped"], ids=["stopped", "nodes started by hand"])
def test_a_cluster_of_ours_that_is_stopped_is_started_again(world: World, state: str) -> None:
    world.left_by_another_run()
    status = recorded("minikube-status-stopped.json")
    if state != "Host Stopped":
        status = status.replace('"Host": "Stopped"', '"Host": "Running"')
    world.answer("minikube status", status, code=7)
    world.answer("minikube start", then=world.made() + f"rm -f '{world.place}/answers/minikube status/code'\n")

    world.up()

    assert world.said[0].startswith(f"minikube: starting our cluster rig2 again (rig: {state}")
    assert world.calls("minikube delete") == []


def test_a_kept_cluster_of_another_shape_stays_and_its_differences_and_removal_are_told(world: World) -> None:
    world.left_by_another_run()
    engine = world.engine(nodes=3, memory=8192)

    with pytest.raises(InfraError, match="2 nodes instead of 3, 6144 MiB of memory a node instead of 8192") as error:
        engine.up(world.said.append)
    engine.down()

    assert "python -m fixtures down --cluster=minikube --profile=rig2" in error.value.remedy
    assert world.calls("minikube delete") == []
    lease = leases.read_lease(engine.folder)
    assert lease is not None
    assert lease.kept, "it is still a kept cluster"


def test_what_a_killed_run_left_in_another_shape_is_removed_and_made_anew(world: World) -> None:
    world.left_by_another_run(kept=False)

    with pytest.raises(InfraError, match=r"After its start, rig2 has 2 nodes instead of 3"):  # the recording has 2
        world.up(nodes=3)

    assert [call.split()[1] for call in world.calls("minikube") if call.split()[1] in ("start", "delete")] == [
        "delete",
        "start",
    ]


@pytest.mark.parametrize("broken", ["invalid", "empty status", "no containers"])
def test_a_broken_leftover_of_ours_is_removed_and_made_anew(world: World, broken: str) -> None:
    world.left_by_another_run()
    listed = json.loads(recorded("minikube-profile-list-2.json"))
    if broken == "invalid":
        listed["invalid"] = [each for each in listed["valid"] if each["Name"] == "rig2"]
        listed["valid"] = []
    elif broken == "empty status":
        for each in listed["valid"]:
            each["Status"] = ""
    else:
        world.answer("docker ps", "")
    world.answer("minikube profile list", json.dumps(listed))

    world.up()

    assert world.said[0].startswith("minikube: an earlier run's cluster rig2")
    assert len(world.calls("minikube delete")) == len(world.calls("minikube start")) == 1


def test_a_start_and_an_import_that_outlived_their_killed_run_are_ended_before_anything_else(world: World) -> None:
    world.left_by_another_run(kept=False)
    for program in ("minikube", "docker"):
        world.answer(f"{program} orphan", then="sleep 60")
    importing = ("docker", "orphan", "exec", "--interactive", "rig2", *IMPORTS["containerd"])
    commands = (*(("minikube", "orphan", "start", f"--profile={name}") for name in ("rig2", "rig3")), importing)
    orphan, other, import_ = (
        subprocess.Popen([f"{world.place}/bin/{program}", *words], env=world.environ, start_new_session=True)
        for program, *words in commands
    )
    try:
        while len([*world.calls("minikube orphan"), *world.calls("docker orphan")]) < 3:
            time.sleep(0.01)

        world.up()

        assert orphan.poll() is not None
        assert import_.poll() is not None
        assert other.poll() is None
        assert world.said[0] == f"ended minikube start ({orphan.pid}), which an earlier run had left"
    finally:
        other.kill()
        other.wait()
