"""Detect the CPU cores and memory that this process may use, with container limits."""

import math
import os
from pathlib import Path
from typing import Final

import psutil

CGROUP: Final = Path("/sys/fs/cgroup")
"""Folder with a container's own limits (cgroup version 2)."""


def allowed_cores(cgroup: Path = CGROUP) -> int:
    """Return how many cores this process may use, at least 1; a fraction counts as one core.

    More threads would slow each other down: with a quota of 2 cores on a machine of 64, 64 threads
    use up the quota of a 100 ms period in a moment and are suspended for the rest of it.
    """
    machine = os.cpu_count() or 1
    pinned = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if not (quota.isdecimal() and period.isdecimal()):
        return pinned
    return max(1, min(pinned, math.ceil(int(quota) / int(period))))


def allowed_memory_bytes(cgroup: Path = CGROUP) -> int:
    """Return how much memory this process may use, in bytes."""
    machine: int = psutil.virtual_memory().total
    limit = _read(cgroup / "memory.max")
    return min(machine, int(limit)) if limit.isdecimal() else machine


def _read(path: Path) -> str:
    """Return the text of a cgroup file; empty if it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
