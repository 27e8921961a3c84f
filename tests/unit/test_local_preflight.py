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
from fixtures.clusters.local.provider import FILES, LocalProvider
from fixtures.clusters.local.start import cluster_environment, python_at
from fixtures.clusters.ray_state import parse_nodes
from fixtures.clusters.training_environment import UNWATCHED, trainer_digest
from fixtures.errors import InfraError
from fixtures.system import leases, processes
from fixtures.system.paths import IMAGE
from fixtures.system.resources import GIB, Machine, physical_first
from trainer.cgroup import cpu_quota, memory_left, tasks_left

DATA = Path(__file__).parents[1] / "data"
ROOMY = Machine(cores=(0, 1, 2, 3), quota=None, memory=8 * GIB, disk=50 * GIB)


def provider(machine: Machine, workers: int = 2, places: tuple[Path, ...] = (Path("/tmp"),)) -> LocalProvider:
    return LocalProvider(workers, 1, {}, places=places, read=lambda place: machine)


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_memory_that_grows_with_the_workers_is_needed_and_few_cores_are_no_problem() -> None:
    machine = replace(ROOMY, memory=4 * GIB)
    few = replace(ROOMY, cores=(3,))

    assert provider(ROOMY).preflight() == provider(machine, workers=3).preflight() == ()
    assert "4 workers need 4.7 GiB" in provider(machine, workers=4).preflight()[0].what
    assert provider(few, workers=4).preflight() == ()
    quotas = {0.5: 1, 2.9: 2, 16.0: 4}
    assert {quota: replace(ROOMY, quota=quota).usable_cores for quota in quotas} == quotas
    assert few.usable_cores == 1


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


def test_without_ray_the_remedy_is_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    (problem,) = provider(ROOMY).preflight()

    assert "has no Ray" in problem.what
    assert problem.remedy.startswith("Run `make install`.")


SELF, GROUPS = "proc/self/cgroup", "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({SELF: "0::/a/b\n", f"{GROUPS}/a/b/cpu.max": "150000 100000\n"}, 1.5),
        ({SELF: "0::/a/b\n", f"{GROUPS}/a/b/cpu.max": "max 100000\n", f"{GROUPS}/a/cpu.max": "200000 100000\n"}, 2.0),
        ({SELF: "0::/host/only\n", f"{GROUPS}/cpu.max": "300000 100000\n"}, 3.0),
        (
            {
                SELF: "4:cpu,cpuacct:/x\n0::/\n",
                f"{GROUPS}/cpu,cpuacct/x/cpu.cfs_quota_us": "250000\n",
                f"{GROUPS}/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            {
                SELF: "1:cpu:/\n",
                f"{GROUPS}/cpu/cpu.cfs_quota_us": "-1\n",
                f"{GROUPS}/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({}, None),
    ],
    ids=["v2", "v2-parent", "v2-container", "v1", "v1-unlimited", "none"],
)
def test_the_cpu_quota_is_the_tightest_of_all_above(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    assert cpu_quota(put(tmp_path, files)) == quota


def test_memory_is_what_the_cgroup_still_allows_and_cache_counts_as_free(tmp_path: Path) -> None:
    two = put(
        tmp_path / "2",
        {
            SELF: "0::/a\n",
            f"{GROUPS}/a/memory.max": "1000\n",
            f"{GROUPS}/a/memory.current": "700\n",
            f"{GROUPS}/a/memory.stat": "anon 500\ninactive_file 150\n",
        },
    )
    one = put(
        tmp_path / "1",
        {
            SELF: "4:memory:/a\n",
            f"{GROUPS}/memory/a/memory.limit_in_bytes": "1000\n",
            f"{GROUPS}/memory/a/memory.usage_in_bytes": "400\n",
            f"{GROUPS}/memory/memory.limit_in_bytes": "9223372036854771712\n",
            f"{GROUPS}/memory/memory.usage_in_bytes": "400\n",
        },
    )

    assert memory_left(two) == 450
    assert memory_left(one) == 600
    assert memory_left(tmp_path) is None


def test_processes_are_what_the_tightest_cgroup_still_allows(tmp_path: Path) -> None:
    two = {
        SELF: "0::/a/b\n",
        f"{GROUPS}/a/pids.max": "900\n",
        f"{GROUPS}/a/pids.current": "300\n",
        f"{GROUPS}/a/b/pids.max": "max\n",
    }
    one = {SELF: "8:pids:/\n", f"{GROUPS}/pids/pids.max": "500\n", f"{GROUPS}/pids/pids.current": "600\n"}

    assert tasks_left(put(tmp_path / "2", two)) == 600
    assert tasks_left(put(tmp_path / "1", one)) == 0
    assert tasks_left(tmp_path) is None


def test_a_limit_of_processes_that_the_workers_would_hit_is_named_with_both_numbers() -> None:
    assert provider(replace(ROOMY, tasks=600)).preflight() == ()

    (problem,) = provider(replace(ROOMY, tasks=599)).preflight()

    assert problem.what == "2 workers need 600 processes and threads, 599 more are allowed."
    assert "pids.max" in problem.remedy


def test_a_limit_of_open_files_that_ray_would_hit_is_named_with_both_numbers() -> None:
    assert provider(replace(ROOMY, files=FILES)).preflight() == ()

    (problem,) = provider(replace(ROOMY, files=64)).preflight()

    assert problem.what == f"A process of the cluster needs up to {FILES} open files, 64 are allowed."
    assert problem.remedy == f"Raise the limit: `ulimit -n {FILES}`. (see TROUBLESHOOTING: limit-hit)"


@pytest.mark.parametrize(
    ("siblings", "available", "order"),
    [
        (["0-1", "0-1", "2-3", "2-3"], (0, 1, 2, 3), (0, 2, 1, 3)),
        (["0,2", "1,3", "0,2", "1,3"], (0, 1, 2, 3), (0, 1, 2, 3)),
        (["0-1", "0-1", "2-3", "2-3"], (1, 2, 3), (1, 2, 3)),
        (["0", "1", "", "?"], (3, 2, 1, 0), (0, 1, 2, 3)),
    ],
    ids=["neighbours", "halves", "one thread is not ours", "hidden"],
)
def test_each_rank_has_a_physical_core_of_its_own_as_long_as_there_are_some(
    tmp_path: Path, siblings: list[str], available: tuple[int, ...], order: tuple[int, ...]
) -> None:
    for core, text in enumerate(siblings):
        put(tmp_path, {f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list": f"{text}\n"})

    assert physical_first(available, tmp_path) == order


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
def test_a_kept_cluster_that_does_not_fit_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nodes: list[str], cpus: int, why: str
) -> None:
    made = provider(ROOMY, workers=2, places=(tmp_path,))
    run = tmp_path / f"{processes.PREFIX}kept"
    run.mkdir()
    shape = made.shape() | {"nodes": nodes, "cpus_per_worker": cpus}
    kept = leases.Lease(pid=2**22 - 1, kept=True, extra=shape)  # of a process that does not exist
    leases.write_lease(run, kept)
    said: list[str] = []

    monkeypatch.setattr(processes, "make_run", lambda places: pytest.fail("starts a new one"))
    with pytest.raises(pytest.fail.Exception, match="starts a new one"):
        made.up(said.append)

    assert said[0] == f"the kept cluster in {run} {why}; it stays untouched"
    assert leases.read_lease(run) == kept


def test_the_clusters_environment_has_nothing_of_the_users_but_a_few_names(tmp_path: Path) -> None:
    locale = {"LANG": "de_DE.UTF-8", "LC_ALL": "C", "USER": "u"}
    changed = {"PATH": "/usr/bin", "HOME": "/home/u", "TMPDIR": "/elsewhere", "RAY_AUTH_TOKEN": "x", "PYTHONPATH": "/x"}
    dropped = ("RAY_ADDRESS", "TF_CONFIG", "OMP_NUM_THREADS", "https_proxy", "LD_PRELOAD")
    run = tmp_path / "rte-1"
    run.mkdir()

    theirs = {**locale, **changed, **dict.fromkeys(dropped, "x")}
    ours = cluster_environment(theirs, run, "token", IMAGE, monitored=False)

    assert set(ours) & set(theirs) == {*locale, *changed}
    assert {name: ours[name] for name in locale} == locale
    assert ours["PATH"].endswith(":/usr/bin")
    assert (ours["HOME"], ours["TMPDIR"]) == (str(run / "home"), str(run / "tmp"))
    assert (ours["RAY_AUTH_MODE"], ours["RAY_AUTH_TOKEN"]) == ("token", "token")
    assert ours["PYTHONPATH"].endswith("image")
    assert ours[processes.TAG] == "rte-1"
    assert set(UNWATCHED) <= set(ours), "Ray's dashboard measures seldom unless somebody draws it"
    assert not set(UNWATCHED) & set(cluster_environment({}, tmp_path, "token", IMAGE, monitored=True))


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
    states = parse_nodes(json.loads((DATA / "ray-nodes-summary.json").read_text()))

    assert sorted((node.state, node.cpus) for node in states.values()) == [("ALIVE", 0), ("ALIVE", 1), ("ALIVE", 1)]


def test_python_at_a_path_with_spaces_is_reached_by_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix, run = tmp_path / "my project" / ".venv", tmp_path / "run"
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sys, "executable", str(prefix / "bin" / "python"))
    run.mkdir()

    assert python_at(run) == run / "python" / "bin" / "python"
    assert (run / "python").readlink() == prefix
    (tmp_path / "a b").mkdir()
    monkeypatch.setattr(processes, "fitting_place", lambda places: tmp_path / "a b")
    (problem,) = provider(ROOMY, places=(tmp_path / "a b",)).preflight()
    assert "contain spaces" in problem.what
    assert "TMPDIR" in problem.remedy


@pytest.mark.parametrize("autogroups", [True, False])
def test_the_head_gives_way_by_its_niceness_and_its_session_if_there_is_one(tmp_path: Path, autogroups: bool) -> None:
    put(tmp_path, {"self/autogroup": "/autogroup-7 nice 0"} if autogroups else {})
    code = "import os, sys, pathlib, ray_node; ray_node.give_way(pathlib.Path(sys.argv[1])); print(os.nice(0))"
    command, folder = [sys.executable, "-c", code, str(tmp_path)], Path(local.__file__).parent

    printed = subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=30).stdout

    assert int(printed) == min(os.nice(0) + 10, 19)
    assert [file.read_text() for file in tmp_path.glob("self/*")] == (["10"] if autogroups else [])
