"""Cancel, retry and repair jobs of their own with the command `rmbg`, while other faults happen."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from itertools import count, cycle
from pathlib import Path
from typing import Final, TypeAlias

from expected import is_wrongly_blamed
from jobs import Jobs, PlannedJob, keys_of, submit
from s3_proxy import Refusal
from schedule import Kind
from spawn import environment
from system import System

from shared.job.output_keys import BUILT_IN, CUTOUT, MASK
from shared.job.spec import TERMINAL_STATES, JobState
from shared.jobstore.values import JobStatus

RMBG: Final = Path(sys.executable).with_name("rmbg")
CANCELLED_ITEMS: Final = 400
"""Enough that the job still runs when the command arrives."""
ITEMS: Final = 30
DENIED: Final = Refusal("denied until retried", is_write=False, status=403, code="AccessDenied")
DENIED_ITEMS: Final = 5
"""Items of a job that fail until it is retried; the last of them then fails again."""
DELETED: Final = ((MASK,), (CUTOUT,), (MASK, CUTOUT))
"""Outputs of an item that are deleted, in turn."""
DELETED_ITEMS: Final = 6
QUIET_S: Final = 12.0
"""Time after the end of a job in which a worker that was frozen, or a request that was stalled,
may still write."""
EXIT_CODES: Final = frozenset({0, 1, 2, 3})
"""Those of a command that succeeded, found faults, came at the wrong time or had no service."""

REOPENED: Final = 2
"""Generation of a job that was opened again once."""

Steps: TypeAlias = Generator[None, None, None]
"""What an operation does, one step at a time."""


class Operations:
    """Operations in progress, each on a job of its own."""

    def __init__(self, system: System, jobs: Jobs) -> None:
        self._system = system
        self._jobs = jobs
        self._expected = jobs.expected
        self._running: list[Steps] = []
        self._numbers = count(1)
        self._outages = 0
        self.hits: Counter[Kind] = Counter()
        """Operations that had their effect, as Redis and the proxy of S3 show."""

    @property
    def is_idle(self) -> bool:
        """Whether every operation has ended."""
        return not self._running

    def begin(self, kind: Kind, chance: random.Random) -> None:
        """Begin an operation; `tick` continues it."""
        steps = {Kind.CANCEL: self._cancel, Kind.RETRY: self._retry, Kind.REPAIR: self._repair}
        self._running.append(steps[kind](chance))

    def tick(self) -> None:
        """Let every operation do its next step."""
        ended = object()
        self._running = [steps for steps in self._running if next(steps, ended) is not ended]

    def note_outage(self) -> None:
        """Note that Redis now loses writes, perhaps those of a command that has just ended."""
        self._outages += 1

    def _cancel(self, chance: random.Random) -> Steps:
        """Cancel a job in mid-run; if it ends before that, take another one."""
        while not (yield from self._cancel_one(chance)):
            pass

    def _cancel_one(self, chance: random.Random) -> Generator[None, None, bool]:
        """Cancel a job; return False if all of its items had ended before that."""
        job_id = self._submit(self._plan("cancel", CANCELLED_ITEMS))
        least = chance.uniform(0.0, 0.1) * CANCELLED_ITEMS
        while self._status(job_id).done <= least:
            yield

        def has_effect() -> bool:
            status = self._status(job_id)
            return status.state is not JobState.RUNNING or _have_items_ended(status)

        yield from self._command(("cancel", job_id), has_effect)
        yield from self._end_of(job_id)
        status = self._status(job_id)
        is_in_time = not _have_items_ended(status)
        is_cancelled = status.state is JobState.CANCELLED
        # Workers may hold all items that are left, and end them after the cancellation.
        if is_in_time or is_cancelled:
            self._expected.cancelled[job_id] = time.monotonic()
            self.hits[Kind.CANCEL] += is_cancelled
        return is_in_time

    def _retry(self, _chance: random.Random) -> Steps:
        """Retry a job with denied sources, after all of them but one are admitted."""
        job = self._plan("retry", ITEMS)
        *admitted, denied = job.keys[-DENIED_ITEMS:]
        refusals = self._system.s3_proxy.refusals
        failures = dict.fromkeys((*admitted, denied), "ObjectForbidden")
        refusals |= {self._system.source_path(key): DENIED for key in failures}
        job_id = self._submit(job)
        yield from self._end_of(job_id)
        self._expected.blamed_before += sum(
            is_wrongly_blamed(record, failures) for record in self._system.client.results(job_id)
        )
        for key in admitted:
            del refusals[self._system.source_path(key)]
        self._expected.failures[denied] = failures[denied]
        yield from self._reopen(job_id, "retry", job_id)
        paths = [self._path(job, name, key) for key in admitted for name in BUILT_IN]
        self.hits[Kind.RETRY] += all(path in self._system.s3_proxy.writes for path in paths)

    def _repair(self, chance: random.Random) -> Steps:
        """Delete outputs of a job that has ended, and repair it."""
        job = self._plan("repair", ITEMS)
        job_id = self._submit(job)
        yield from self._end_of(job_id)
        ended_s = time.monotonic()
        while time.monotonic() < ended_s + QUIET_S:
            yield
        deleted = []
        for source, names in zip(chance.sample(job.keys, DELETED_ITEMS), cycle(DELETED)):
            deleted += [self._path(job, name, source) for name in names]
            self._expected.replaced |= {self._path(job, name, source) for name in BUILT_IN}
        self._expected.deleted |= set(deleted)
        bucket = self._system.output_bucket
        self._system.objects.delete(bucket, [path.removeprefix(f"/{bucket}/") for path in deleted])
        yield from self._reopen(job_id, "verify", "--repair", job_id)
        writes = self._system.s3_proxy.writes
        self.hits[Kind.REPAIR] += all(len(writes[path]) == 2 for path in deleted)

    def _reopen(self, job_id: str, *command: str) -> Steps:
        """Run a command that opens a job again, and wait until the job has ended again."""
        self._expected.generations[job_id] = REOPENED
        yield from self._command(command, lambda: self._status(job_id).generation == REOPENED)
        yield from self._end_of(job_id)

    def _command(self, args: Sequence[str], has_effect: Callable[[], bool]) -> Steps:
        """Run `rmbg` through the proxies, again and again until it has its effect."""
        while not has_effect():
            outages = self._outages
            process = subprocess.Popen(
                [RMBG, *args],
                env={**environment(self._system.folder), **self._system.worker_env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            while process.poll() is None:
                yield
            self._expected.command_errors += process.returncode not in EXIT_CODES
            if process.returncode == 0 and outages == self._outages and not has_effect():
                self._expected.commands_lost += 1
            yield
        self._system.append_only.keep()

    def _end_of(self, job_id: str) -> Steps:
        while self._status(job_id).state not in TERMINAL_STATES:
            yield

    def _status(self, job_id: str) -> JobStatus:
        return self._system.client.status(job_id)

    def _plan(self, name: str, items: int) -> PlannedJob:
        name = f"{name}-{next(self._numbers)}"
        return PlannedJob(name, keys_of(name, items), name, "bulk", 0.0)

    def _submit(self, job: PlannedJob) -> str:
        self._system.upload({key: f"image {key}".encode() for key in job.keys})
        job_id = submit(self._system, job)
        self._jobs.submitted[job_id] = job
        return job_id

    def _path(self, job: PlannedJob, name: str, source: str) -> str:
        return self._system.output_path(f"{job.prefix}/{name}/{source}.png")


def _have_items_ended(status: JobStatus) -> bool:
    return status.done + status.failed == status.total
