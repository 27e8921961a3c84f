"""What the control groups of this process allow it, versions 1 and 2, and how often they held it back.

A limit may stand in any group above the process, so every reader walks up the hierarchy. Standard library only:
the harness reads the machine with it as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ROOT = Path("/")
_UNLIMITED = 1 << 60
"""Version 1 says "no limit" with a number near 2^63."""

Throttled = Mapping[Path, tuple[int, int]]
"""Control group -> (periods of its quota so far, those in which it was used up)."""


def cpu_quota(root: Path = ROOT) -> float | None:
    """Return the CPUs that the tightest group allows; None without a limit."""
    quotas = []
    for group in _groups(root, "cpu"):
        words = _words(group / "cpu.max")  # version 2: "200000 100000" or "max 100000"
        if not words:
            words = [*_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us")]
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]) > 0:
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def memory_limit(root: Path = ROOT) -> int | None:
    """Return the bytes that the tightest group allows in all; None without a limit."""
    return min((limit for limit, _ in _memory(root)), default=None)


def memory_left(root: Path = ROOT) -> int | None:
    """Return the bytes that the groups still allow, caches counted as free; None without a limit."""
    return min((max(0, limit - used) for limit, used in _memory(root)), default=None)


def tasks_left(root: Path = ROOT) -> int | None:
    """Return how many more processes and threads the tightest group allows; None without a limit."""
    left = []
    for group in _groups(root, "pids"):
        allowed, used = _words(group / "pids.max"), _words(group / "pids.current")
        if allowed and allowed[0].isdigit():
            left.append(max(0, int(allowed[0]) - (int(used[0]) if used else 0)))
    return min(left, default=None)


def cpu_seconds(root: Path = ROOT) -> float | None:
    """Return the CPU time of the outermost group that can be seen: in a container, of all that ever ran in it."""
    for group in reversed(_groups(root, "cpuacct")):
        words = _words(group / "cpu.stat")
        if "usage_usec" in words:
            return _number(words, "usage_usec") / 1e6
        if nanoseconds := _words(group / "cpuacct.usage"):
            return int(nanoseconds[0]) / 1e9
    return None


def throttled(root: Path = ROOT) -> Throttled:
    """Return how often each group with a quota was throttled so far."""
    counts = {}
    for group in _groups(root, "cpu"):
        words = _words(group / "cpu.stat")
        if "nr_periods" in words:
            counts[group] = (_number(words, "nr_periods"), _number(words, "nr_throttled"))
    return counts


def throttled_share(before: Throttled, after: Throttled) -> float | None:
    """Return the largest share of a group's periods that were throttled in between; None where none has a quota."""
    shares = []
    for group, (periods, held) in after.items():
        old_periods, old_held = before.get(group, (periods, held))
        if periods > old_periods:
            shares.append((held - old_held) / (periods - old_periods))
    return max(shares, default=None)


def _memory(root: Path) -> list[tuple[int, int]]:
    """(limit, used without caches) of each group that has a limit, in bytes."""
    found = []
    for group in _groups(root, "memory"):
        for limit, usage, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            allowed, used = _words(group / limit), _words(group / usage)
            if allowed and allowed[0].isdigit() and int(allowed[0]) < _UNLIMITED:
                caches = _number(_words(group / "memory.stat"), cache)
                found.append((int(allowed[0]), int(used[0]) - caches if used else 0))
    return found


def _groups(root: Path, controller: str) -> list[Path]:
    """The folders of the groups that limit this process, inner ones first."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:  # hidden from us: then only the mounts' roots count
        lines = ["0::/", f"1:{controller}:/"]
    folders: list[Path] = []
    mount_root = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mounts = [mount_root / name for name in (controllers, controller)] if controllers else [mount_root]
        for mount in mounts:
            # In a container the path is the host's and absent here: then only the mount's root counts.
            inner = mount / path.strip("/")
            folders += [folder for folder in (inner, *inner.parents) if folder == mount or mount in folder.parents]
    return list(dict.fromkeys(folder for folder in folders if folder.is_dir()))


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").split()
    except OSError:
        return []


def _number(words: list[str], name: str) -> int:
    return int(words[words.index(name) + 1]) if name in words else 0
