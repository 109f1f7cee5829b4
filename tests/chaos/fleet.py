"""A fleet of worker processes that are restarted when they end."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import process_table
from orders import CRASH_SHARE, Orders
from spawn import ROOT, spawn
from supervised import Supervised
from support.until import poll

from shared.jobstore.store import JobStore

MAIN: Final = Path(__file__).with_name("worker_main.py")
READY_S: Final = 30.0
LEAVING_S: Final = 25.0
"""Longest time from SIGTERM to the exit of a worker."""
STOP_S: Final = 1.0
"""Longest time until the process table shows a signal."""


@dataclass(frozen=True)
class Build:
    """What the processes of a fleet run: a source tree, and what their main program is told."""

    name: str
    root: Path
    main: Path = MAIN
    order: dict[str, str] = field(default_factory=dict)


CURRENT: Final = Build("current", ROOT)


@dataclass
class _Member:
    """One worker process."""

    process: subprocess.Popen[bytes]
    resume_at_s: float = 0.0
    terminated_at_s: float = 0.0


class Fleet:
    """A number of worker processes that run while the context is open.

    The thread that entered the context starts all processes, because they end with it.
    """

    def __init__(
        self,
        size: int,
        env: Mapping[str, str],
        folder: Path,
        chance: random.Random,
        *,
        sabotage: str | None,
        crash_share: float = CRASH_SHARE,
        supervised: int = 0,
        build: Build = CURRENT,
    ) -> None:
        """Prepare a fleet of *size* workers, of which *supervised* run under a supervisor."""
        self._size = size
        self._env = dict(env)
        self._folder = folder
        self._build = build
        self._orders = Orders(folder, sabotage, crash_share, chance)
        self._orders.causes.touch()
        self._members: list[_Member] = []
        self.supervised = Supervised(supervised, env, self._orders)
        self._started = 0
        self._deaths = 0
        self.slowest_leave_s = 0.0
        """Longest time from SIGTERM to the exit of a process."""

    def __enter__(self) -> Self:
        self._members = [self._start() for _ in range(self._size - self.supervised.count)]
        self.supervised.start()
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            member.process.kill()  # also ends frozen ones
        for member in self._members:
            member.process.wait()
        self.supervised.stop()

    @property
    def deaths(self) -> int:
        """Number of processes that ended without SIGTERM."""
        return self._deaths + self.supervised.deaths

    def wait_ready(self, jobs: JobStore) -> None:
        """Wait until half of the workers are ready, for `READY_S` at most."""
        for _ in poll(within_s=READY_S, every_s=0.1):
            self.tick()
            if len(jobs.fleet.workers()) >= self._size / 2:
                return

    def tick(self) -> None:
        """Restart processes that ended, and resume those that were frozen long enough."""
        now_s = time.monotonic()
        self.supervised.tick()
        for n, member in enumerate(self._members):
            if member.resume_at_s and now_s >= member.resume_at_s:
                member.process.send_signal(signal.SIGCONT)
                member.resume_at_s = 0.0
            if member.process.poll() is not None:
                self._count(member, now_s)
                self._members[n] = self._start()
            elif member.terminated_at_s and now_s - member.terminated_at_s > LEAVING_S:
                member.process.kill()

    def kill(self, chance: random.Random) -> int:
        """Send SIGKILL to a worker, and return its process id."""
        member = chance.choice(self._members)
        member.process.kill()
        return member.process.pid

    def terminate(self, chance: random.Random) -> int:
        """Send SIGTERM to a worker that is not frozen and not leaving; return 1 if there is one."""
        able = [each for each in self._members if not each.resume_at_s and not each.terminated_at_s]
        for member in able and [chance.choice(able)]:
            member.process.terminate()
            member.terminated_at_s = time.monotonic()
        return int(bool(able))

    def freeze(self, chance: random.Random, seconds: float) -> int:
        """Send SIGSTOP to such a worker, and SIGCONT after *seconds*.

        Returns 1 if the process table shows that it has stopped, otherwise 0.
        """
        able = [each for each in self._members if not each.resume_at_s and not each.terminated_at_s]
        for member in able and [chance.choice(able)]:
            member.process.send_signal(signal.SIGSTOP)
            member.resume_at_s = time.monotonic() + seconds
            return int(_has_state(member.process.pid, "T"))
        return 0

    def lose_device(self) -> int:
        """Have the next process that runs a batch lose its device; `causes` counts the hits."""
        self._orders.lose_device.touch()
        return 0

    def stop_crashes(self) -> None:
        """Stop crashes, and resume all frozen workers."""
        self._orders.stop_crashes.touch()
        self._orders.lose_device.unlink(missing_ok=True)
        for member in self._members:
            member.resume_at_s = min(member.resume_at_s, time.monotonic())

    def causes(self) -> dict[str, int]:
        """Return the number of crashes by stage."""
        return dict(Counter(self._orders.causes.read_text().splitlines()))

    def _count(self, member: _Member, now_s: float) -> None:
        if member.terminated_at_s and member.process.returncode >= 0:
            leave_s = now_s - member.terminated_at_s
            self.slowest_leave_s = max(self.slowest_leave_s, leave_s)
        else:
            self._deaths += 1

    def _start(self) -> _Member:
        self._started += 1
        order = self._orders.make(self._env) | self._build.order
        log = self._folder / f"worker-{self._started:03}.log"
        return _Member(spawn(self._build.main, order, log, root=self._build.root))


def _has_state(pid: int, letter: str) -> bool:
    """Return whether a process has a state within `STOP_S`."""
    return any(process_table.state(pid) == letter for _ in poll(within_s=STOP_S, every_s=0.01))
