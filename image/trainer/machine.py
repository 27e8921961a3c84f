"""What a rank runs on, and how fast that is right now."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from statistics import median

import numpy as np

from trainer.cgroup import memory_limit
from trainer.result import Hardware

GIB = 1 << 30
REPEATS = 7
PASSES = 150
NUMBERS = 1 << 16


def hardware(root: Path = Path("/")) -> Hardware:
    """Return the machine of this process, as its own system shows it."""
    memory = min(_memory(root), memory_limit(root) or _memory(root))
    return Hardware(_cpu(root), platform.machine(), os.cpu_count() or 1, round(memory / GIB))


def calibrate() -> float:
    """Return the seconds of a fixed computation on one thread; the median of a few goes, 0.1 to 0.2 s in all.

    It multiplies, adds and takes square roots over numbers that fit into a core's cache, without BLAS, which
    would start threads, and without TensorFlow, whose next version is one of the things that may change the
    training's time and so must not change the yardstick's.
    """
    start = np.linspace(0.5, 1.5, NUMBERS, dtype=np.float32)
    took = []
    for _ in range(REPEATS):
        numbers = start.copy()
        began = time.perf_counter()
        for _ in range(PASSES):
            np.multiply(numbers, np.float32(0.75), out=numbers)
            np.add(numbers, start, out=numbers)
            np.sqrt(numbers, out=numbers)
        took.append(time.perf_counter() - began)
    return median(took)


def _cpu(root: Path) -> str:
    lines = _text(root / "proc/cpuinfo").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory(root: Path) -> int:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
