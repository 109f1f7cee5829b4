"""The part of a fleet that runs under the product's supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import process_table
from orders import Orders
from spawn import spawn
from support.until import poll

MAIN: Final = Path(__file__).with_name("supervisor_main.py")
WORKER: Final = "worker_main.py"
DIE_S: Final = 5.0
"""Longest time from the death of a supervisor to that of its workers."""
CHILD_S: Final = 10.0
"""Longest wait for a supervisor that has a worker."""


@dataclass
class Supervised:
    """A supervisor that is started again when it ends, with *count* workers."""

    count: int
    env: Mapping[str, str]
    orders: Orders
    """Makes what its workers are told."""
    orphans: int = 0
    """Workers that were still running `DIE_S` after their supervisor had died."""
    killed: int = 0
    """Workers that died with their supervisor."""
    _starts: int = 0
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """The current supervisor, once it has been started; nothing with no worker to supervise."""

    def start(self) -> None:
        """Start a supervisor, if it has anything to supervise."""
        if self.count:
            self._processes = [self._spawn()]

    def tick(self) -> None:
        """Start the supervisor again if it has ended."""
        if any(process.poll() is not None for process in self._processes):
            self.start()

    def kill(self) -> int:
        """Send SIGKILL to the supervisor while it has workers, and start a new one.

        Returns 1 if the process table showed that its workers died with it, otherwise 0.
        """
        for process in self._processes:
            children = self._children_of(process)
            process.kill()
            process.wait()
            alive = self._end(children)
            self.killed += len(children) - len(alive)
            self.start()
            return int(bool(children) and not alive)
        return 0

    def stop(self) -> None:
        """Kill the supervisor; the kernel kills its workers."""
        for process in self._processes:
            children = process_table.children(process.pid, WORKER)
            process.kill()
            process.wait()
            self._end(children)
        self._processes = []

    @property
    def deaths(self) -> int:
        """Number of workers that ended, alone or together with their supervisor."""
        logs = self.orders.folder.glob("supervisor-*.log")
        return self.killed + sum(log.read_text().count('"worker ended"') for log in logs)

    def _children_of(self, process: subprocess.Popen[bytes]) -> list[process_table.Entry]:
        """Return the workers of a supervisor once it has one, or nothing after `CHILD_S`."""
        for _ in poll(within_s=CHILD_S, every_s=0.05):
            if found := process_table.children(process.pid, WORKER):
                return found
        return []

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._starts += 1
        order = {
            "parent": os.getpid(),
            "env": dict(self.env),
            "sabotage": self.orders.sabotage,
            "crash_share": self.orders.crash_share,
            "folder": str(self.orders.folder),
            "seed": self.orders.chance.getrandbits(32),
            "count": self.count,
        }
        return spawn(MAIN, order, self.orders.folder / f"supervisor-{self._starts:03}.log")

    def _end(self, workers: list[process_table.Entry]) -> list[process_table.Entry]:
        """Wait until *workers* have died with their supervisor; kill and return those that live."""
        alive = workers
        for _ in poll(within_s=DIE_S, every_s=0.01):
            if not (alive := [each for each in alive if each.is_running]):
                break
        for each in alive:
            os.kill(each.pid, signal.SIGKILL)
        self.orphans += len(alive)
        return alive
