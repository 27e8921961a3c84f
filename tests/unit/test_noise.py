"""What else a machine did during a trial, from the files that a kernel shows."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import psutil
import pytest

from fixtures.system import noise
from fixtures.system.noise import Noise, Watch
from tests.unit.trials import QUIET
from trainer.reading import from_dict


class Times(NamedTuple):
    user: float
    idle: float
    steal: float


class Machine:
    """A machine whose clock, counters and processes a test moves by hand."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.now, self.times = 100.0, Times(1000.0, 1000.0, 50.0)
        self.seconds: dict[int, float] = {}
        self.ours: set[int] = set()
        self.day = 1_000_000.0
        clocks = SimpleNamespace(monotonic=lambda: self.now, time=lambda: self.now + self.day)
        patch.setattr(noise, "time", clocks)
        patch.setattr(psutil, "cpu_times", lambda: self.times)
        patch.setattr(psutil, "process_iter", self._processes)
        patch.setattr(psutil, "Process", lambda: SimpleNamespace(pid=1, children=lambda recursive: []))

    def _processes(self) -> list[SimpleNamespace]:
        return [self._process(pid) for pid in self.seconds]

    def _process(self, pid: int) -> SimpleNamespace:
        def cpu_times() -> SimpleNamespace:
            if self.seconds[pid] < 0:
                raise psutil.NoSuchProcess(pid)
            return SimpleNamespace(user=self.seconds[pid], system=0.0)

        return SimpleNamespace(pid=pid, cpu_times=cpu_times, create_time=lambda: 5.0)

    def write(self, file: str, text: str) -> None:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def watch(self) -> Watch:
        return Watch(lambda: frozenset(self.ours), self.root)

    def noise(self, watch: Watch) -> Noise:
        """What the watch has seen when ten seconds have passed."""
        self.now += 10
        return watch.end()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_a_quiet_machine_makes_no_noise_and_what_it_does_not_tell_is_none(machine: Machine) -> None:
    noise = machine.noise(machine.watch())

    assert noise == Noise(steal=None, throttled=None, foreign_cores=0.0, pressure=None, clock_step=0.0)
    assert noise.why == ""


def test_a_time_of_day_that_is_set_during_a_trial_disturbs_it_on_whatever_machine_the_cluster_runs(
    machine: Machine,
) -> None:
    watch = machine.watch()
    machine.day += 3600.0

    assert "the time of day was set by 3600.0 s" in machine.noise(watch).why


def test_stolen_time_is_a_share_of_all_cpu_time(machine: Machine) -> None:
    watch = machine.watch()
    machine.now, machine.times = machine.now + 10, Times(1008.0, 1010.0, 52.0)

    assert watch.end().steal == pytest.approx(2 / 20)


@pytest.mark.parametrize(
    ("file", "group"),
    [
        ("sys/fs/cgroup/cpu.stat", "0::/\n"),
        ("sys/fs/cgroup/cpu/cpu.stat", "1:cpu:/\n"),
        ("sys/fs/cgroup/outer/cpu.stat", "0::/outer/inner\n"),
    ],
    ids=["version 2", "version 1", "a group above ours"],
)
def test_throttling_is_a_share_of_the_periods_of_a_quota(machine: Machine, file: str, group: str) -> None:
    machine.write("proc/self/cgroup", group)
    machine.write("sys/fs/cgroup/outer/inner/cpu.stat", "usage_usec 5\n")
    assert machine.noise(machine.watch()).throttled is None, "there is no quota"
    machine.write(file, "usage_usec 5\nnr_periods 100\nnr_throttled 10\n")
    watch = machine.watch()
    machine.write(file, "usage_usec 9\nnr_periods 200\nnr_throttled 35\n")

    assert machine.noise(watch).throttled == pytest.approx(0.25)


def test_memory_pressure_is_a_share_of_the_time(machine: Machine) -> None:
    machine.write("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\nfull total=0\n")
    watch = machine.watch()
    machine.write("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull total=0\n")

    assert machine.noise(watch).pressure == pytest.approx(0.15)


def test_the_load_is_the_average_at_the_end_and_is_judged_by_no_limit(machine: Machine) -> None:
    watch = machine.watch()
    machine.write("proc/loadavg", "37.52 1.00 0.50 3/400 12345\n")

    noise = watch.end()

    assert (noise.load, noise.why) == (37.52, "")
    before_it_was_read = {"steal": 0.0, "throttled": None, "foreign_cores": 0.1, "pressure": 0.0}
    assert from_dict(Noise, before_it_was_read).load is None


@pytest.mark.parametrize(
    ("before", "after", "ours", "cores"),
    [
        pytest.param(
            {7: 100.0, 8: 50.0}, {7: 104.0, 9: 1.0}, [set(), set()], 0.5, id="others, also those that came later"
        ),
        pytest.param({1: 0.0, 7: 0.0}, {1: 3.0, 7: 10.0, 8: 10.0}, [{7}, {7, 8}], 0.0, id="our own"),
        pytest.param({7: 500.0}, {7: 500.1}, [{7}, set()], 0.0, id="ours that is no longer known as ours"),
        pytest.param({7: 1.0}, {7: -1.0}, [set(), set()], 0.0, id="one that ends while it is looked at"),
    ],
)
def test_cores_that_others_kept_busy_are_counted(
    machine: Machine, before: dict[int, float], after: dict[int, float], ours: list[set[int]], cores: float
) -> None:
    machine.seconds, machine.ours = before, ours[0]
    watch = machine.watch()
    machine.seconds, machine.ours = after, ours[1]

    assert machine.noise(watch).foreign_cores == pytest.approx(cores)


@pytest.mark.parametrize(
    ("namespace", "cores"),
    [("pid:[4026532447]", 3.0), (noise.HOST_PROCESSES, 0.0), ("", 0.0)],
    ids=["in a container", "on the host", "on a system without namespaces"],
)
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("sys/fs/cgroup/cpu.stat", "usage_usec {0}000000\n"),
        ("sys/fs/cgroup/cpuacct/cpuacct.usage", "{0}000000000\n"),
    ],
    ids=["version 2", "version 1"],
)
def test_what_a_busy_host_does_beside_our_container_is_counted_without_seeing_its_processes(
    machine: Machine, namespace: str, cores: float, file: str, text: str
) -> None:
    machine.write(file, text.format(100))
    if namespace:
        (machine.root / "proc/self/ns").mkdir(parents=True)
        (machine.root / "proc/self/ns/pid").symlink_to(namespace)
    watch = machine.watch()
    machine.write(file, text.format(120))
    machine.times = machine.times._replace(user=machine.times.user + 50, idle=machine.times.idle + 100)

    assert machine.noise(watch).foreign_cores == pytest.approx(cores)


@pytest.mark.parametrize(
    ("over", "why"),
    [
        (replace(QUIET, steal=0.06), "6% of the CPU time stolen by other machines (limit 5%)"),
        (replace(QUIET, throttled=0.5), "CPU quota used up in 50% of its periods (limit 5%)"),
        (replace(QUIET, foreign_cores=0.3), "other programs kept 0.30 cores busy (limit 0.25)"),
        (replace(QUIET, clock_step=5.0), "the time of day was set by 5.0 s (limit 0.5)"),
        (replace(QUIET, pressure=0.1), "10% of the time some process waited for memory (limit 5%)"),
    ],
)
def test_what_is_over_its_limit_is_named_with_figure_and_limit(over: Noise, why: str) -> None:
    assert over.why == why
    assert replace(over, steal=0.9).why.startswith("90% of the CPU time stolen")


def test_what_is_at_its_limit_is_not_over_it() -> None:
    assert Noise(noise.STEAL, noise.THROTTLED, noise.FOREIGN_CORES, noise.PRESSURE, None, noise.CLOCK_STEP).why == ""


def test_the_real_machine_can_be_watched_and_nothing_is_made_up_about_another() -> None:
    real, other = Watch(frozenset[int]), Watch(lambda: None)
    other.look()

    cores = real.end().foreign_cores
    assert cores is not None
    assert cores >= 0
    assert replace(other.end(), clock_step=None) == Noise(None, None, None, None)


@pytest.mark.parametrize(("waited", "cores"), [(noise.LOOK_SECONDS, 0.3), (0.0, 0.0)])
def test_a_program_that_came_and_went_is_counted_by_looks_some_seconds_apart(
    machine: Machine, waited: float, cores: float
) -> None:
    watch = machine.watch()
    machine.now += waited
    machine.seconds[7] = 3.0
    watch.look()
    machine.now = 110.0
    del machine.seconds[7]

    assert watch.end().foreign_cores == pytest.approx(cores)
