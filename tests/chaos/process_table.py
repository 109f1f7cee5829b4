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


def children(parent: int, program: str) -> list[Entry]:
    """Return the children of a process that run *program*, a Python file."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        fields = _fields(int(path.name))
        is_child = fields and fields[1] == str(parent) and fields[0] not in _DEAD
        if is_child and program.encode() in _read(path / "cmdline"):
            found.append(Entry(int(path.name), fields[19]))
    return found


def _fields(pid: int) -> list[str]:
    """Return the fields of `/proc/PID/stat` after the name, or nothing if there is no process."""
    return _read(Path(f"/proc/{pid}/stat")).decode().rpartition(")")[2].split()


def _read(path: Path) -> bytes:
    with suppress(OSError):
        return path.read_bytes()
    return b""
