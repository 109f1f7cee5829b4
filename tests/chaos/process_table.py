"""Look up processes in the process table of Linux."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_DEAD = frozenset("ZX")
"""States of a process that has ended, and that nobody may have waited for yet."""


class Entry(NamedTuple):
    """One process; the start time tells it from a later process with the same id."""

    pid: int
    started: str

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        fields = _fields(self.pid)
        return bool(fields) and fields[19] == self.started and fields[0] not in _DEAD


def state(pid: int) -> str:
    """Return the state of a process as one letter, `T` if it is stopped, or `""`."""
    return (_fields(pid) or [""])[0]


def children(parent: int) -> list[Entry]:
    """Return the running children of a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        fields = _fields(int(path.name))
        if fields and fields[1] == str(parent) and fields[0] not in _DEAD:
            found.append(Entry(int(path.name), fields[19]))
    return found


def _fields(pid: int) -> list[str]:
    """Return the fields of `/proc/PID/stat` after the name, or nothing if there is no process."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []
