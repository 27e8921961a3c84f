"""What the embedded provider checks, reads and prepares before it starts anything."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.clusters.evidence import FILE_BYTES, TOTAL_BYTES, tails, write_evidence
from fixtures.clusters.local import provider as local
from fixtures.clusters.local.environment import cluster_environment, python_at
from fixtures.clusters.local.provider import LocalProvider
from fixtures.clusters.ray_state import parse_nodes
from fixtures.clusters.training_environment import UNWATCHED, trainer_digest
from fixtures.errors import InfraError
from fixtures.system import processes
from fixtures.system.paths import IMAGE
from fixtures.system.resources import GIB, Machine
from trainer.cgroup import cpu_quota, memory_left

ROOMY = Machine(cores=(0, 1, 2, 3), quota=None, memory=8 * GIB, disk=50 * GIB)


def provider(machine: Machine, workers: int = 2, places: tuple[Path, ...] = (Path("/tmp"),)) -> LocalProvider:
    return LocalProvider(workers, 1, {}, places=places, read=lambda place: machine)


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_roomy_machine_has_no_problems() -> None:
    assert provider(ROOMY).preflight() == ()


def test_everything_that_is_missing_is_said_at_once_with_its_remedy(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    poor = replace(ROOMY, memory=2 * GIB, disk=GIB // 2)

    problems = provider(poor, places=(long,)).preflight()

    assert [problem.what for problem in problems][1:] == [
        "2 workers need 3.1 GiB of memory, 2.0 GiB are free.",
        f"{long} has 0.5 GiB free, 1 GiB are needed.",
    ]
    assert str(long) in problems[0].what
    assert all(problem.remedy for problem in problems)
    assert list(long.iterdir()) == []


def test_the_memory_that_is_needed_grows_with_the_workers() -> None:
    machine = replace(ROOMY, memory=4 * GIB)

    assert provider(machine, workers=3).preflight() == ()
    assert "4 workers need 4.7 GiB" in provider(machine, workers=4).preflight()[0].what


def test_without_ray_the_remedy_is_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    (problem,) = provider(ROOMY).preflight()

    assert "has no Ray" in problem.what
    assert problem.remedy.startswith("Run `make install`.")


def test_few_cores_are_no_problem_and_never_less_than_one() -> None:
    few = replace(ROOMY, cores=(3,))

    assert provider(few, workers=4).preflight() == ()
    assert few.usable_cores == 1
    assert replace(ROOMY, quota=0.5).usable_cores == 1
    assert replace(ROOMY, quota=2.9).usable_cores == 2
    assert replace(ROOMY, quota=16.0).usable_cores == 4


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 1.5),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
                "sys/fs/cgroup/a/cpu.max": "200000 100000\n",
            },
            2.0,
        ),
        ({"proc/self/cgroup": "0::/host/only\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3.0),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/x\n0::/\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({}, None),
    ],
    ids=["v2", "v2-parent", "v2-container", "v1", "v1-unlimited", "none"],
)
def test_the_cpu_quota_is_the_tightest_of_all_cgroups_above(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    assert cpu_quota(put(tmp_path, files)) == quota


def test_memory_is_what_the_cgroup_still_allows_and_cache_counts_as_free(tmp_path: Path) -> None:
    two = put(
        tmp_path / "2",
        {
            "proc/self/cgroup": "0::/a\n",
            "sys/fs/cgroup/a/memory.max": "1000\n",
            "sys/fs/cgroup/a/memory.current": "700\n",
            "sys/fs/cgroup/a/memory.stat": "anon 500\ninactive_file 150\n",
        },
    )
    one = put(
        tmp_path / "1",
        {
            "proc/self/cgroup": "4:memory:/a\n",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1000\n",
            "sys/fs/cgroup/memory/a/memory.usage_in_bytes": "400\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "400\n",
        },
    )

    assert memory_left(two) == 450
    assert memory_left(one) == 600
    assert memory_left(tmp_path) is None


def test_the_digest_changes_with_any_file_of_trainer_or_data_and_a_missing_one_is_named(tmp_path: Path) -> None:
    image = put(tmp_path, {"trainer/__init__.py": "", "trainer/a.py": "1", "data/mnist.npz": "x"})
    digests = {trainer_digest(image)}
    for changed in ({"trainer/a.py": "2"}, {"data/mnist.npz": "y"}):
        digests.add(trainer_digest(put(image, changed)))

    assert len(digests) == 3
    (image / "data/mnist.npz").unlink()
    with pytest.raises(InfraError, match=r"mnist\.npz cannot be read"):
        trainer_digest(image)


@pytest.mark.parametrize(
    ("nodes", "cpus", "why"),
    [(["worker-1"], 1, "is too small (1 of 2 nodes)"), (["worker-1", "worker-2"], 4, "has another shape")],
)
def test_a_kept_cluster_that_does_not_fit_is_passed_over_with_a_reason_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nodes: list[str], cpus: int, why: str
) -> None:
    made = provider(ROOMY, workers=2, places=(tmp_path,))
    run = tmp_path / f"{processes.PREFIX}kept"
    run.mkdir()
    shape = made.shape() | {"nodes": nodes, "cpus_per_worker": cpus}
    kept = processes.Lease(pid=2**22 - 1, started=1.0, kept=True, extra=shape)  # of a process that does not exist
    processes.write_lease(run, kept)
    said: list[str] = []

    monkeypatch.setattr(processes, "make_run", lambda places: pytest.fail("starts a new one"))
    with pytest.raises(pytest.fail.Exception, match="starts a new one"):
        made.up(said.append)

    assert said[0] == f"the kept cluster in {run} {why}; it stays untouched"
    assert processes.read_lease(run) == kept


def test_the_clusters_environment_has_nothing_of_the_users_but_a_few_names(tmp_path: Path) -> None:
    theirs = {
        "PATH": "/usr/bin",
        "LANG": "de_DE.UTF-8",
        "LC_ALL": "C",
        "USER": "u",
        "HOME": "/home/u",
        "TMPDIR": "/elsewhere",
        "RAY_ADDRESS": "x",
        "RAY_AUTH_TOKEN": "x",
        "TF_CONFIG": "x",
        "OMP_NUM_THREADS": "9",
        "https_proxy": "x",
        "PYTHONPATH": "/x",
        "LD_PRELOAD": "/x",
    }
    run = tmp_path / "rte-1"
    run.mkdir()

    ours = cluster_environment(theirs, run, "token", IMAGE, monitored=False)

    assert set(ours) & set(theirs) == {
        "PATH", "LANG", "LC_ALL", "USER", "HOME", "TMPDIR", "RAY_AUTH_TOKEN", "PYTHONPATH",
    }  # fmt: skip
    assert ours["PATH"].endswith(":/usr/bin")
    assert (ours["HOME"], ours["TMPDIR"]) == (str(run / "home"), str(run / "tmp"))
    assert (ours["RAY_AUTH_MODE"], ours["RAY_AUTH_TOKEN"]) == ("token", "token")
    assert ours["PYTHONPATH"].endswith("image")
    assert ours[processes.TAG] == "rte-1"


@pytest.mark.parametrize("monitored", [False, True])
def test_rays_dashboard_measures_seldom_unless_somebody_draws_it(tmp_path: Path, monitored: bool) -> None:
    ours = cluster_environment({}, tmp_path, "token", IMAGE, monitored=monitored)

    assert all((name in ours) is not monitored for name in UNWATCHED)


def test_evidence_is_the_ends_of_logs_without_the_token_and_within_bounds(tmp_path: Path) -> None:
    logs = "head/session_2026-11-23/logs"
    run = put(
        tmp_path / "run",
        {
            "head.out": "Ray runtime started with s3cret",
            f"{logs}/raylet.out": "x" * FILE_BYTES + "the end",
            f"{logs}/job-driver-1.log": "driver",
            **{f"{logs}/worker-{index}.out": "y" * FILE_BYTES for index in range(40)},
        },
    )

    write_evidence(tails(run, secret="s3cret"), tmp_path / "into")

    copied = {file.name: file.read_text() for file in (tmp_path / "into").iterdir()}
    assert set(copied.pop("files.txt").splitlines()) == set(copied)
    assert copied["head.out"] == "Ray runtime started with [token]"
    assert copied["raylet.out"].endswith("the end")
    assert len(copied["raylet.out"]) == FILE_BYTES
    assert copied["job-driver-1.log"] == "driver"
    assert sum(map(len, copied.values())) <= TOTAL_BYTES + 100


def test_evidence_never_raises(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert tails(tmp_path / "gone", secret="s") == {}
    write_evidence({"a": "b"}, tmp_path / "file")


def test_the_dashboards_list_of_nodes_is_read_as_ray_writes_it() -> None:
    summary = json.loads((Path(__file__).parents[1] / "data" / "ray-nodes-summary.json").read_text())

    states = parse_nodes(summary)

    assert sorted((node.state, node.cpus) for node in states.values()) == [
        ("ALIVE", 0.0),
        ("ALIVE", 1.0),
        ("ALIVE", 1.0),
    ]


def test_python_at_a_path_with_spaces_is_reached_by_a_link_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = tmp_path / "my project" / ".venv"
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sys, "executable", str(prefix / "bin" / "python"))
    run = tmp_path / "run"
    run.mkdir()

    assert python_at(run) == run / "python" / "bin" / "python"
    assert (run / "python").readlink() == prefix


def test_python_and_temporary_directory_both_with_spaces_are_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/my project/.venv/bin/python")
    place = tmp_path / "a b"
    place.mkdir()
    monkeypatch.setattr(processes, "fitting_place", lambda places: place)

    (problem,) = provider(ROOMY, places=(place,)).preflight()

    assert "contain spaces" in problem.what
    assert "TMPDIR" in problem.remedy


@pytest.mark.parametrize("autogroups", [True, False])
def test_the_head_gives_way_by_its_niceness_and_by_its_sessions_where_the_kernel_has_one(
    tmp_path: Path, autogroups: bool
) -> None:
    put(tmp_path, {"self/autogroup": "/autogroup-7 nice 0"} if autogroups else {})
    code = "import os, sys, pathlib, ray_node; ray_node.give_way(pathlib.Path(sys.argv[1])); print(os.nice(0))"

    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=Path(local.__file__).parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout

    assert int(said) == min(os.nice(0) + 10, 19)
    assert [file.read_text() for file in tmp_path.glob("self/*")] == (["10"] if autogroups else [])
