"""What goes into the job store and what comes out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from shared.job.spec import JobSpec, JobState
from shared.job.ticket import Ticket


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A job as it is asked for; its keys lie staged."""

    spec: JobSpec
    total: int
    """Items, at least 1."""
    keys_sha256: str
    """Hash over all keys in order; with the parameters it makes out what is the same job."""
    job_id: str | None
    """An id of the user's choice, or None: then one is derived."""
    manifest: str
    """The nonce under which the keys were staged."""


@dataclass(frozen=True)
class Submitted:
    """The job that a submission made or joined."""

    job_id: str
    created: bool


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """Where a job stands, at one moment."""

    job_id: str
    state: JobState
    """`FINISHING` also from a cancellation until what was in flight is recorded."""
    waiting_for: str | None
    """Why a job that has not ended does not go on, or None."""
    total: int
    done: int
    failed: int
    created_at: datetime
    finished_at: datetime | None
    images_per_s: float | None
    """Items ended a second over the last minute; None unless running, and before any ended."""
    eta_s: float | None
    """Seconds to the end at that rate; None where there is no rate, or none is left."""
    generation: int
    """1, and one more with each retry."""
    error_classes: dict[str, int]
    """Failed items by class; the values add up to `failed`."""
    verdicts: dict[str, int]
    """Done items by quality verdict."""


@dataclass(frozen=True)
class Lease:
    """The right to work a ticket off, until it runs out or is given back."""

    ticket: Ticket
    owner: str
    """Worker id and a nonce of the claim: a process's older claim has no say over its newer."""


@dataclass(frozen=True)
class Issued:
    """A ticket that somebody must now publish to a queue."""

    ticket: Ticket
    queue: str


class RefusalReason(StrEnum):
    """Why a claim was refused. In every case: drop the message."""

    STALE = "STALE"
    """The ticket has been issued again since this message was sent."""
    GONE = "GONE"
    """The ticket or its job does not exist, or no longer does."""
    BUSY = "BUSY"
    """Another worker holds the ticket."""
    DUP = "DUP"
    """This worker holds the ticket: the broker delivered the message twice."""


@dataclass(frozen=True)
class Refused:
    """A claim that was not granted."""

    reason: RefusalReason


@dataclass(frozen=True, kw_only=True)
class Granted:
    """A claim that was granted, with everything a worker needs to process the ticket."""

    lease: Lease
    spec: JobSpec
    sequence: int
    """The job's position among all jobs; outputs of a later job are never overwritten."""
    generation: int
    """1, and one more with each retry."""
    ended: frozenset[int]
    """Items of the range that have ended. If all have, write the shard right away."""
    queue: str
    """Queue the ticket was issued to."""
    attempts: Mapping[int, int]
    """Attempts made in earlier generations, for the items where that is not `generation - 1`."""
    manifest: str
    """Nonce of the manifest chunks that are not in Redis."""
    is_cancelled: bool
    """The job is cancelled: write a shard of the recorded items and start no new one."""

    def attempts_before(self, index: int) -> int:
        """Return how often earlier generations tried item *index*.

        A generation that left the item as it was counts as one attempt: only `reopen` does that
        to items that are tried again later.
        """
        return self.attempts.get(index, self.generation - 1)


Claim: TypeAlias = Granted | Refused


class MarkAnswer(StrEnum):
    """Whether a group of ends was recorded, and what to do next."""

    OK = "OK"
    LOST = "LOST"
    """Not recorded: the lease does not stand any more."""
    CANCELLED = "CANCELLED"
    """Recorded; start nothing new."""


@dataclass(frozen=True)
class RangeRecords:
    """The records of a range, for its shard."""

    is_complete: bool
    """Whether the range may be closed: all its items have ended, or its job is cancelled.
    Release the ticket otherwise."""
    records: tuple[str, ...]
    """JSON documents in item order."""


@dataclass(frozen=True, kw_only=True)
class WorkerInfo:
    """What a worker says of itself."""

    worker_id: str
    slots: int
    """Tickets it works off at once."""
    models: tuple[str, ...]
    """Models it serves."""
    refused: Mapping[str, str]
    """Models it cannot serve, with the reason."""
    device: str
    images_per_s: float | None
    """Measured over the whole worker, all slots together; None before that."""
    version: str
    host: str
    pid: int

    def serves(self, model: str) -> bool:
        """Tell whether it may serve *model*: it does, or has not tried yet."""
        return model in self.models or model not in self.refused

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> WorkerInfo:
        """Read what `to_json` wrote; fields of a later version are left out."""
        body = json.loads(text)
        known = {name: body[name] for name in cls.__dataclass_fields__ if name in body}
        return cls(**known | {"models": tuple(known["models"])})


@dataclass(frozen=True, kw_only=True)
class Totals:
    """All open jobs and all workers, summed up."""

    open_jobs: int
    open_images: int
    """Not yet ended; those of cancelled jobs are not counted."""
    oldest_s: float
    """Since the oldest open job was submitted; 0 without any."""
    workers: int
    slots: int
    images_per_s: float
    """What the workers have measured, together; 0 while none has."""
    tickets: Mapping[str, int]
    """Open tickets by place: the queues' names, `leased` and `parked`."""

    @property
    def backlog_s(self) -> float | None:
        """How long the fleet needs for all open images; None while its rate is unknown."""
        if not self.open_images:
            return 0.0
        return self.open_images / self.images_per_s if self.images_per_s else None

    @classmethod
    def from_json(cls, text: str | bytes) -> Totals:
        """Read what the script `totals` answers."""
        body = json.loads(text)
        return cls(oldest_s=body.pop("oldest_ms") / 1000, **body)
