"""What every cluster provider owes the harness, and what the embedded one owes this machine."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fixtures.clusters.contract import Cluster, ManagedProvider
from fixtures.clusters.local.provider import LocalProvider
from fixtures.errors import InfraError
from fixtures.measure.jobs import JobsClient
from fixtures.measure.packages import Package
from fixtures.system import leases, processes
from fixtures.system.paths import IMAGE
from tests.contract.fake import FakeProvider
from tests.contract.seen import alive, listening, wait_until
from trainer.datasets import check, read, save
from trainer.result import decode

WORKERS = 2
REPOSITORY = IMAGE.parent

FOREIGN = {
    "RAY_ADDRESS": "10.255.255.1:6379",
    "RAY_API_SERVER_ADDRESS": "http://10.255.255.1:8265",
    "RAY_AUTH_MODE": "disabled",
    "TF_CONFIG": "{not json",
    "OMP_NUM_THREADS": "7",
    "PYTHONPATH": "/nowhere",
    "PYTHONSAFEPATH": "1",
    "http_proxy": "http://10.255.255.1:3128",
    "HTTP_PROXY": "http://10.255.255.1:3128",
}

HARNESS = """
import os, signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits SIGINT ignored
sys.path.insert(0, {repository!r})
from fixtures.clusters.local.provider import LocalProvider
provider = LocalProvider({workers}, 1, dict(os.environ), places=[Path({place!r})])
cluster = provider.up(print)
if {keep}:
    provider.keep_running()
else:
    print("UP", cluster.dashboard, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Short enough for sockets, and with a space in it, unless Python's own path has one (see preflight)."""
    folder = Path(tempfile.mkdtemp(prefix="e-2" if " " in sys.executable else "e 2", dir="/tmp"))
    yield folder
    for run in folder.glob(f"{processes.PREFIX}*"):  # a test has failed: the next ones must not find it
        processes.end(run)
    shutil.rmtree(folder)


@pytest.fixture
def harness(place: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a harness in a process of its own, so that it can be killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*, keep: bool = False, workers: int = 1) -> subprocess.Popen[str]:
        code = HARNESS.format(repository=str(REPOSITORY), workers=workers, place=str(place), keep=keep)
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(timeout=10)
        assert process.stdout is not None
        process.stdout.close()


def here(provider: ManagedProvider) -> frozenset[int]:
    """The processes of a cluster on this machine."""
    found = provider.processes()
    assert found is not None
    return found


def runs_of(process: subprocess.Popen[str], place: Path) -> list[Path]:
    found = ((run, leases.read_lease(run)) for run in processes.runs([place]))
    return [run for run, lease in found if lease is not None and lease.pid == process.pid]


def run_being_started(process: subprocess.Popen[str], place: Path) -> Path:
    """The run of a harness in the middle of `up`: Ray's daemons are being born."""
    wait_until("a run directory", lambda: runs_of(process, place), 10)
    (run,) = runs_of(process, place)
    wait_until("some daemons", lambda: len(processes.tagged(run)) >= 6, 20)
    return run


def watchdog_of(process: subprocess.Popen[str]) -> psutil.Process:
    (watchdog,) = (
        child for child in psutil.Process(process.pid).children() if "fixtures.system.processes" in child.cmdline()
    )
    return watchdog


@pytest.mark.parametrize("kind", ["fake", pytest.param("local", marks=pytest.mark.ray)], scope="class")
class TestProvider:
    """One cluster of each kind; the tests run in this order, the last one takes it down."""

    @pytest.fixture(scope="class")
    @classmethod
    def provider(cls, kind: str, place: Path) -> Iterator[ManagedProvider]:
        if kind == "fake":
            yield FakeProvider(WORKERS, 1)
            return
        too_long = place / ("x" * 60)
        too_long.mkdir()
        with socket.socket() as taken, pytest.MonkeyPatch.context() as patch:
            with contextlib.suppress(OSError):  # taken already: as good
                taken.bind(("127.0.0.1", 8265))
                taken.listen()
            for name, value in FOREIGN.items():
                patch.setenv(name, value)
            image = place / "im age"
            shutil.copytree(IMAGE / "trainer", image / "trainer")
            (image / "data").symlink_to(IMAGE / "data")
            provider = LocalProvider(WORKERS, 1, dict(os.environ), image=image, places=[too_long, place])
            yield provider
            provider.down()

    @pytest.fixture(scope="class")
    @classmethod
    def cluster(cls, provider: ManagedProvider) -> Cluster:
        return provider.up(lambda line: None)

    def test_before_it_is_up_nothing_runs_and_preflight_finds_nothing_missing(self, provider: ManagedProvider) -> None:
        assert provider.preflight() == ()
        assert provider.trouble()
        assert here(provider) == frozenset()

    def test_the_handle_has_one_node_for_each_worker(self, cluster: Cluster) -> None:
        assert [node.cpus for node in cluster.nodes] == [1] * WORKERS
        assert len({node.name for node in cluster.nodes}) == WORKERS
        assert cluster.usable_cores >= 1
        assert cluster.reserve >= 0

    def test_a_place_for_one_process_on_all_cores_has_the_cores_that_it_stands_for(self, cluster: Cluster) -> None:
        for cpus, place in cluster.all_cores.items():
            assert 1 < cpus <= cluster.usable_cores
            assert place.resource or len(set(place.cores)) in (0, cpus)

    def test_the_token_is_not_in_what_is_printed_of_the_handle(self, cluster: Cluster) -> None:
        assert cluster.token
        assert cluster.token not in repr(cluster)

    def test_a_cluster_that_is_up_is_healthy(self, provider: ManagedProvider, cluster: Cluster) -> None:
        assert not provider.trouble()

    def test_every_node_has_the_same_trainer(self, cluster: Cluster) -> None:
        digests = cluster.image

        assert set(digests) == {node.name for node in cluster.nodes}
        assert len(set(digests.values())) == 1

    def test_a_job_runs_on_the_node_that_has_cpus_in_an_environment_of_ours(
        self, kind: str, provider: ManagedProvider, cluster: Cluster
    ) -> None:
        if kind == "fake":
            return
        code = (
            "import os, trainer, tempfile\n"
            "for name in sorted(os.environ): print(name, '=', os.environ[name], sep='')\n"
            "print('CORES', len(os.sched_getaffinity(0)))\n"
            "print('TEMPORARY', tempfile.gettempdir())\n"
            "print('TRAINER', trainer.__file__)"
        )
        lines: list[str] = []
        with JobsClient(cluster.dashboard, cluster.token) as jobs:
            job = jobs.submit([cluster.python, "-c", code], cpus=1, env={"EXTRA": "a b"})
            finished = jobs.follow(job, lines.append, deadline_seconds=60)

        assert finished.status == "SUCCEEDED", finished.log
        assert (finished.driver_exit_code, finished.error_type) == (0, None)
        assert finished.submitted_at <= finished.ended_at
        assert "\n".join(lines) == finished.log.rstrip("\n")
        assert "CORES 1" in lines
        assert "EXTRA=a b" in lines
        assert any(line.startswith("TRAINER") and "im age/trainer" in line for line in lines)
        assert any(line.startswith("TEMPORARY") and processes.PREFIX in line for line in lines)
        for name in ("TF_CONFIG", "http_proxy", "HTTP_PROXY", "RAY_API_SERVER_ADDRESS", "PYTHONSAFEPATH"):
            assert not any(line.startswith(f"{name}=") for line in lines)
        assert "RAY_ADDRESS=10.255.255.1:6379" not in lines
        assert "OMP_NUM_THREADS=7" not in lines

    def test_the_files_of_a_job_are_found_by_the_baseline_and_by_the_workers_of_ray_train(
        self, kind: str, provider: ManagedProvider, cluster: Cluster, tmp_path: Path
    ) -> None:
        if kind == "fake":
            return
        data = tmp_path / "data.npz"
        save(check(read("digits")), data)
        package = Package.of({"data.npz": data, "training/net.py": IMAGE / "trainer/workloads/mlp_digits.py"})
        command = [cluster.python, "-m", "trainer", "--workload", "training/net.py", "--data", "data.npz"]
        with JobsClient(cluster.dashboard, cluster.token) as jobs:
            ended = [
                jobs.follow(
                    jobs.submit([*command, "--workers", str(workers), "--epochs", "1"], cpus=cpus, package=package),
                    print,
                    180,
                )
                for workers, cpus in ((0, 1), (1, 0))
            ]

        first, other = (decode(job.log).ranks[0] for job in ended)
        assert first.epochs[0].weights == other.epochs[0].weights

    def test_everything_listens_on_loopback_only(self, kind: str, provider: ManagedProvider, cluster: Cluster) -> None:
        addresses = {address.removeprefix("::ffff:") for address, _ in listening(here(provider))}

        assert addresses == (set() if kind == "fake" else {"127.0.0.1"})

    def test_what_trains_goes_before_what_only_coordinates(
        self, kind: str, provider: ManagedProvider, cluster: Cluster
    ) -> None:
        if kind == "fake":
            return
        code = "import os; print('NICE', os.nice(0))"
        with JobsClient(cluster.dashboard, cluster.token) as jobs:
            logs = [jobs.follow(jobs.submit([cluster.python, "-c", code], cpus=each), print, 60).log for each in (0, 1)]
        assert ["NICE 10" in logs[0].splitlines(), "NICE 0" in logs[1].splitlines()] == [True, True]

        members = [psutil.Process(pid) for pid in here(provider)]
        head = next(each for each in members if each.name() == "gcs_server")
        group = Path(f"/proc/{head.pid}/autogroup")
        assert head.nice() == 10
        assert not group.exists() or group.read_text().split()[-1] == "10"

    def test_a_second_cluster_beside_it_is_another_one_and_ends_when_its_harness_is_killed(
        self, kind: str, provider: ManagedProvider, place: Path, harness: Callable[..., subprocess.Popen[str]]
    ) -> None:
        if kind == "fake":
            return
        second = harness()
        assert second.stdout is not None
        line = next(line for line in second.stdout if line.startswith("UP"))
        (run,) = runs_of(second, place)
        members = {process.pid for process in processes.tagged(run)}

        assert not provider.trouble(), "the second cluster's nodes must not join the first"
        assert not members & here(provider)
        assert len({port for _, port in listening(frozenset(members))}) >= 5

        second.kill()
        wait_until("the watchdog ends the run", lambda: not run.exists(), 15)
        assert not any(alive(pid) for pid in members), line
        assert not provider.trouble()

    def test_evidence_is_written_without_the_token(
        self, provider: ManagedProvider, cluster: Cluster, tmp_path: Path
    ) -> None:
        provider.collect_evidence(tmp_path / "evidence")

        files = list((tmp_path / "evidence").iterdir())
        assert files
        assert not any(cluster.token in file.read_text(encoding="utf-8") for file in files)
        assert sum(file.stat().st_size for file in files) < 6_000_000

    def test_while_it_is_up_its_status_lacks_nothing_and_tells_no_token(
        self, provider: ManagedProvider, cluster: Cluster
    ) -> None:
        status = provider.status()

        assert status.missing == ""
        assert status.dashboard == cluster.dashboard
        assert cluster.token not in repr(status)

    def test_what_it_runs_on_is_stopped_or_the_reason_is_known(self, kind: str, provider: ManagedProvider) -> None:
        assert bool(provider.unstoppable) == (kind == "local")

    def test_down_leaves_nothing_and_can_be_repeated(
        self, kind: str, provider: ManagedProvider, cluster: Cluster, place: Path
    ) -> None:
        pids = here(provider)
        ports = listening(pids)
        assert bool(ports) == (kind != "fake")

        provider.down()
        provider.down()

        assert provider.trouble()
        assert provider.status().missing
        assert not provider.claim(lambda line: None)
        assert here(provider) == frozenset()
        assert not any(alive(pid) for pid in pids)
        assert list(processes.runs([place])) == []
        for address, port in ports:
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
                assert probe.connect_ex((address, port)) != 0, f"{address}:{port} still listens"


@pytest.mark.ray
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_up_leaves_nothing(
    number: signal.Signals, place: Path, harness: Callable[..., subprocess.Popen[str]]
) -> None:
    process = harness()
    run = run_being_started(process, place)
    members = [each.pid for each in processes.tagged(run)]

    process.send_signal(number)

    process.wait(timeout=15)
    wait_until("the run is gone", lambda: not run.exists(), 15)
    assert not any(alive(pid) for pid in members)


@pytest.mark.ray
def test_when_harness_and_watchdog_are_killed_the_next_run_cleans_up(
    place: Path, harness: Callable[..., subprocess.Popen[str]]
) -> None:
    process = harness()
    run = run_being_started(process, place)
    watchdog_of(process).kill()
    process.kill()
    process.wait(timeout=5)
    assert processes.tagged(run)

    assert processes.reap_abandoned([place]) == (run,)

    assert processes.tagged(run) == ()
    assert not run.exists()


@pytest.mark.ray
def test_a_kept_cluster_outlives_its_harness_and_is_adopted_by_a_run_that_it_fits(
    place: Path, harness: Callable[..., subprocess.Popen[str]]
) -> None:
    first = harness(keep=True)
    assert first.wait(timeout=60) == 0
    (run,) = processes.runs([place])
    environ = dict(os.environ)
    said: list[str] = []
    provider = LocalProvider(1, 1, environ, places=[place])

    time.sleep(1)  # the watchdog has seen the end of its harness by now
    assert processes.reap_abandoned([place]) == ()
    cluster = provider.up(said.append)
    try:
        assert any("adopted" in line for line in said), said
        assert len(cluster.nodes) == 1
        assert not provider.trouble()
        lease = leases.read_lease(run)
        assert lease is not None
        assert not lease.kept, "an adopted cluster ends with the run that adopted it"
    finally:
        provider.down()
    assert not run.exists()


@pytest.mark.ray
def test_a_start_that_fails_says_why_leaves_nothing_and_keeps_the_logs_as_evidence(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixtures.clusters.local.provider.OBJECT_STORE", 1)  # Ray refuses so small a store
    provider = LocalProvider(1, 1, dict(os.environ), places=[place])

    with pytest.raises(InfraError, match=r"`ray start` of \S+ ended with 1: (.|\n)*object"):
        provider.up(lambda line: None)

    assert list(processes.runs([place])) == []
    provider.collect_evidence(tmp_path / "evidence")
    assert "head.out" in {file.name for file in (tmp_path / "evidence").iterdir()}
