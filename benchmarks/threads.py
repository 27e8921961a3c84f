"""What every thread of this machine did while ranks trained, by the kernel's own counters (Linux only)."""

import contextlib
import os
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

RANK = "rank"
ROLES = {
    "RayTrainWorker": RANK,
    "-m trainer --workers 0": RANK,
    "-m trainer": "driver",
    "SynchronizationActor": "SynchronizationActor",
    "TrainController": "TrainController",
    "JobSupervisor": "JobSupervisor",
    "ray::": "Ray's other actors and idle workers",
    "gcs_server": "GCS",
    "raylet/raylet": "raylets",
    "DashboardAgent": "dashboard agents",
    "RuntimeEnvAgent": "runtime environment agents",
    "ray-dashboard-JobHead": "dashboard, Jobs API",
    "ray-dashboard-": "dashboard, other modules",
    "dashboard.py": "dashboard, main process",
    "log_monitor": "log monitor",
    "benchmarks.overhead": "this program",
}
"""What is found in a command line, the first that fits, and who that is."""


@dataclass(frozen=True)
class Thread:
    """What the kernel has counted of a thread since it began.

    Attributes:
        command: of its process.
        ran: seconds on a core; `waited`, seconds that it could have run and no core was free.
        slices: how often it was put on a core.
        cores: that it may run on.
    """

    command: str
    ran: float
    waited: float
    slices: int
    cores: frozenset[int] = frozenset()


Threads = Mapping[tuple[int, int], Thread]
"""By process id and thread id."""


@dataclass(frozen=True)
class Sample:
    """Every thread at a unix time."""

    at: float
    threads: Threads


@dataclass(frozen=True)
class Share:
    """What threads did each second.

    Attributes:
        ran: seconds on a core; `waited`, seconds that they could have run.
        slices: how often they were put on a core.
        cost: seconds that the compute thread of a rank waited for them. A rank's waiting is divided among all that
            may run on its core, by how long they ran; what may run on K cores counts 1/K on each.
    """

    who: str
    ran: float
    waited: float
    slices: float
    cost: float


def read(ours: Collection[int], proc: Path = Path("/proc")) -> Threads:
    """Return every thread that lives, in nanoseconds' precision; without a command where its process is not ours."""
    threads = {}
    for folder in proc.iterdir():
        if not folder.name.isdecimal():
            continue
        with contextlib.suppress(OSError):  # it ended meanwhile
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            command = command if int(folder.name) in ours else ""
            for task in (folder / "task").iterdir():
                ran, waited, slices = map(int, (task / "schedstat").read_text().split())
                cores = frozenset(os.sched_getaffinity(int(task.name))) if proc == Path("/proc") else frozenset({0})
                threads[int(folder.name), int(task.name)] = Thread(command, ran / 1e9, waited / 1e9, slices, cores)
    return threads


def role(command: str) -> str:
    """Who a process is, by its command line.

    >>> role("ray::TrainController.run"), role("vim")
    ('TrainController', 'other programs')
    """
    return next((name for part, name in ROLES.items() if part in command), "other programs")


def shares(before: Sample, after: Sample) -> list[Share]:
    """Return what each role's threads did between two samples, and a rank's on average, the largest first."""
    seconds = after.at - before.at
    spent: dict[tuple[int, int], Thread] = {}
    nothing = Thread("", 0.0, 0.0, 0)
    for key, now in after.threads.items():
        then = before.threads.get(key, nothing)
        numbers = now.ran - then.ran, now.waited - then.waited, now.slices - then.slices
        spent[key] = Thread(now.command, *numbers, now.cores)
    names = _names(spent)
    computing = [thread for key, thread in spent.items() if names[key] == "rank: compute thread"]
    costs: defaultdict[str, float] = defaultdict(float)
    for rank in computing:
        weights = {
            key: thread.ran * len(thread.cores & rank.cores) / max(1, len(thread.cores))
            for key, thread in spent.items()
            if thread is not rank
        }
        if total := sum(weights.values()):
            for key, weight in weights.items():
                costs[names[key]] += rank.waited * weight / total / len(computing) / seconds
    groups: defaultdict[str, list[Thread]] = defaultdict(list)
    for key, thread in spent.items():
        groups[names[key]].append(thread)
    made = []
    for who, threads in groups.items():
        per = seconds * (len(computing) if who.startswith(RANK) else 1)
        ran, waited = sum(thread.ran for thread in threads), sum(thread.waited for thread in threads)
        slices = sum(thread.slices for thread in threads)
        made.append(Share(who, ran / per, waited / per, slices / per, costs[who]))
    return sorted(made, key=lambda share: -share.ran)


def _names(threads: Threads) -> dict[tuple[int, int], str]:
    """Name each thread by its role; of a rank, the thread that ran longest is the one that computes."""
    names = {}
    for (process, number), thread in threads.items():
        who = role(thread.command)
        if who == RANK:
            longest = max((other.ran, key) for key, other in threads.items() if key[0] == process)[1]
            which = "main thread" if number == process else "other threads"
            who = f"{RANK}: {'compute thread' if longest == (process, number) else which}"
        names[process, number] = who
    return names
