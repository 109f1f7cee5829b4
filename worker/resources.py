"""What this process may use: the machine's, or less where a container says so."""

import math
import os
from pathlib import Path
from typing import Final

import psutil

CGROUP: Final = Path("/sys/fs/cgroup")
"""As a container sees it: its own limits, in the files of control groups version 2."""


def allowed_cores(cgroup: Path = CGROUP) -> int:
    """Return how many cores this process may keep busy, at least 1; part of one counts as one.

    More threads than that wait for each other: with a quota of 2 on a machine of 64 cores, 64
    threads use up in a moment what they may have in a tenth of a second, and stand still for the
    rest of it.
    """
    machine = os.cpu_count() or 1
    pinned = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if not (quota.isdecimal() and period.isdecimal()):
        return pinned
    return max(1, min(pinned, math.ceil(int(quota) / int(period))))


def allowed_memory_bytes(cgroup: Path = CGROUP) -> int:
    """Return the memory that this process may hold."""
    machine: int = psutil.virtual_memory().total
    limit = _read(cgroup / "memory.max")
    return min(machine, int(limit)) if limit.isdecimal() else machine


def _read(path: Path) -> str:
    """Return the text of a control group's file; nothing where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
