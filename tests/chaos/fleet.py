"""A fleet of worker processes that are restarted when they end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from stages import CLOSING_STAGES, ENDING_STAGES, ITEM_STAGES
from support.until import poll

from shared.jobstore.store import JobStore

MAIN: Final = Path(__file__).with_name("worker_main.py")
ROOT: Final = Path(__file__).parents[2]
CRASH_SHARE: Final = 0.75
"""Share of the processes that crash by themselves; the others run until a fault ends them."""
READY_S: Final = 30.0
LEAVING_S: Final = 25.0
"""Longest time from SIGTERM to the exit of a worker."""


@dataclass(frozen=True)
class Build:
    """What the processes of a fleet run: a source tree, and what their main program is told."""

    name: str
    root: Path
    main: Path = MAIN
    order: Mapping[str, str] = field(default_factory=dict)


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
        build: Build = CURRENT,
    ) -> None:
        self._size = size
        self._env = dict(env)
        self._folder = folder
        self._chance = chance
        self._sabotage = sabotage
        self._crash_share = crash_share
        self._build = build
        self._stop_crashes = folder / "stop-crashes"
        self._causes = folder / "causes"
        self._causes.touch()
        self._members: list[_Member] = []
        self._started = 0
        self.deaths = 0
        """Number of processes that ended without SIGTERM."""
        self.slowest_leave_s = 0.0
        """Longest time from SIGTERM to the exit of a process."""

    def __enter__(self) -> Self:
        self._members = [self._start() for _ in range(self._size)]
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            member.process.kill()  # also ends frozen ones
        for member in self._members:
            member.process.wait()

    def wait_ready(self, jobs: JobStore) -> None:
        """Wait until half of the workers are ready, for `READY_S` at most."""
        for _ in poll(within_s=READY_S, every_s=0.1):
            self.tick()
            if len(jobs.fleet.workers()) >= self._size / 2:
                return

    def tick(self) -> None:
        """Restart processes that ended, and resume those that were frozen long enough."""
        now_s = time.monotonic()
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

    def terminate(self, chance: random.Random) -> None:
        """Send SIGTERM to a worker; do nothing if it is frozen or already leaving."""
        member = chance.choice(self._members)
        if not member.resume_at_s and not member.terminated_at_s:
            member.process.terminate()
            member.terminated_at_s = time.monotonic()

    def freeze(self, chance: random.Random, seconds: float) -> None:
        """Send SIGSTOP to a worker, and SIGCONT after *seconds*."""
        member = chance.choice(self._members)
        if not member.resume_at_s and not member.terminated_at_s:
            member.process.send_signal(signal.SIGSTOP)
            member.resume_at_s = time.monotonic() + seconds

    def stop_crashes(self) -> None:
        """Stop crashes, and resume all frozen workers."""
        self._stop_crashes.touch()
        for member in self._members:
            member.resume_at_s = min(member.resume_at_s, time.monotonic())

    def causes(self) -> dict[str, int]:
        """Return the number of crashes by stage."""
        counts: dict[str, int] = {}
        for line in self._causes.read_text().splitlines():
            counts[line] = counts.get(line, 0) + 1
        return counts

    def _count(self, member: _Member, now_s: float) -> None:
        if member.terminated_at_s and member.process.returncode >= 0:
            leave_s = now_s - member.terminated_at_s
            self.slowest_leave_s = max(self.slowest_leave_s, leave_s)
        else:
            self.deaths += 1

    def _start(self) -> _Member:
        self._started += 1
        with (self._folder / f"worker-{self._started:03}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(self._build.main)],
                cwd=self._build.root,
                env={
                    "PATH": os.defpath,
                    "HOME": str(self._folder),
                    "TMPDIR": str(self._folder),
                    "PYTHONPATH": str(self._build.root),
                },
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        if process.stdin is None:
            raise RuntimeError("the worker has no standard input")
        with process.stdin as stdin:
            stdin.write(json.dumps(self._order()).encode())
        return _Member(process)

    def _order(self) -> dict[str, Any]:
        stage, passages = self._choose_crash()
        return {
            "parent": os.getpid(),
            "env": self._env,
            "sabotage": self._sabotage,
            "stage": stage,
            "passages": passages,
            "stop": str(self._stop_crashes),
            "causes": str(self._causes),
            **self._build.order,
        }

    def _choose_crash(self) -> tuple[str, int]:
        """Choose the stage at which the next process crashes, and after how many passages.

        A process never crashes at its first few items: a range resumes at its first open item, and
        three deaths there would make that item fail with `WorkerCrash`, as they should.
        """
        if self._chance.random() >= self._crash_share:
            return "", 1
        stage = self._chance.choice(ITEM_STAGES + CLOSING_STAGES + ENDING_STAGES)
        if stage in ITEM_STAGES:
            return stage, self._chance.randint(5, 50)
        return stage, self._chance.randint(1, 2) if stage in CLOSING_STAGES else 1
