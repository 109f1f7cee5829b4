"""Arguments and results of the job store."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self, TypeAlias

from pydantic import ConfigDict

from shared.document import Document
from shared.job.spec import JobSpec, JobState, Json
from shared.job.ticket import Ticket


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """The status of a job at one moment."""

    job_id: str
    state: JobState
    """Also `FINISHING` from a cancellation until the items in flight are recorded."""
    waiting_for: str | None
    """Why a job makes no progress, or None."""
    total: int
    done: int
    failed: int
    created_at: datetime
    finished_at: datetime | None
    images_per_s: float | None
    """Items ended per second over the last minute; None unless running, and before the first."""
    eta_s: float | None
    """Seconds to the end at that rate; None without a rate or with no item left."""
    generation: int
    """1, and one more with each retry."""
    error_classes: dict[str, int]
    """Failed items by class; the values add up to `failed`."""
    verdicts: dict[str, int]
    """Done items by quality verdict."""
    ended_without: str | None = None
    """Documents that an ended job does not have, with the reason, or None."""


@dataclass(frozen=True)
class Lease:
    """The right to process a ticket, until it expires or is released."""

    ticket: Ticket
    owner: str
    """Worker id and a nonce of the claim, so that an older claim of the same process is invalid."""

    @property
    def fence(self) -> dict[str, str | int]:
        """The arguments by which scripts check the lease."""
        return {
            "job": self.ticket.job_id,
            "unit": self.ticket.unit,
            "epoch": self.ticket.epoch,
            "owner": self.owner,
        }


@dataclass(frozen=True)
class Issued:
    """A ticket that the caller must publish to a queue."""

    ticket: Ticket
    queue: str

    @classmethod
    def read(cls, flat: Iterable[Json]) -> list[Self]:
        """Return the tickets in the reply of a script: job, unit, epoch, queue, ..."""
        walk = iter(flat)
        return [
            cls(Ticket(job.decode(), unit.decode(), int(epoch)), queue.decode())
            for job, unit, epoch, queue in zip(walk, walk, walk, walk, strict=True)
        ]


class RefusalReason(StrEnum):
    """Why a claim was refused; in every case, drop the message."""

    STALE = "STALE"
    """The ticket has been issued again since this message was sent."""
    GONE = "GONE"
    """The ticket or its job does not exist, or no longer does."""
    BUSY = "BUSY"
    """Another worker holds the ticket."""
    DUP = "DUP"
    """This worker holds the ticket: the broker delivered the message twice."""
    NEEDS = "NEEDS"
    """The job needs a feature that this worker does not know; the ticket waits for another."""


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
    """1, and one more with each retry or repair."""
    repaired: int
    """Generation of the last repair, or 1: outputs of earlier ones are written again."""
    total: int
    """Items of the whole job."""
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
    """Whether records were stored, and what to do next."""

    OK = "OK"
    DONE = "DONE"
    """Stored, and the job, a light one, has ended with it: its ticket is closed."""
    LOST = "LOST"
    """Not stored: the lease is lost."""
    CANCELLED = "CANCELLED"
    """Stored; start nothing new."""


@dataclass(frozen=True)
class RangeRecords:
    """The records of a range, for its shard."""

    is_complete: bool
    """Whether the range may be closed: all its items have ended, or its job is cancelled.
    Release the ticket otherwise."""
    records: tuple[str, ...]
    """JSON documents in item order."""


@dataclass(frozen=True)
class MergeHistory:
    """How earlier attempts to merge a job's shards ended."""

    deaths: int
    """Workers that died during the merge."""
    failures: Mapping[str, Mapping[str, int]]
    """Document -> error class -> failures."""

    def repeated(self, document: str, limit: int) -> str | None:
        """Return the class of an error that *document* failed with at least *limit* times."""
        of_document = self.failures.get(document, {})
        return next((error for error, count in of_document.items() if count >= limit), None)


class WorkerInfo(Document):
    """The description of a worker. Fields that a later version added are ignored."""

    model_config = ConfigDict(extra="ignore")

    worker_id: str
    slots: int
    """Tickets it processes at once; 0 while its device does not work."""
    models: tuple[str, ...]
    """Models it serves."""
    refused: Mapping[str, str]
    """Models it cannot serve, with the reason."""
    device: str
    images_per_s: float | None
    """Measured over all slots together; None before the first measurement."""
    version: str
    host: str
    pid: int
    features: tuple[str, ...] = ()
    """Features it knows; see `shared.job.features`. Version 0.1 registers none."""

    def serves(self, model: str) -> bool:
        """Return whether it may serve *model*: it does, or has not tried yet."""
        return model in self.models or model not in self.refused


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums over all open jobs and all workers."""

    open_jobs: int
    open_images: int
    """Images not yet ended, without those of cancelled jobs."""
    oldest_s: float
    """Seconds since the oldest open job was submitted; 0 without open jobs."""
    workers: int
    slots: int
    images_per_s: float
    """Sum of the rates that workers have measured; 0 while none has."""
    tickets: Mapping[str, int]
    """Open tickets by place: a queue name, `leased` or `parked`."""

    @property
    def backlog_s(self) -> float | None:
        """Seconds the fleet needs for all open images; None while its rate is unknown."""
        if not self.open_images:
            return 0.0
        return self.open_images / self.images_per_s if self.images_per_s else None

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read the reply of the script `totals`."""
        body = json.loads(text)
        return cls(oldest_s=body.pop("oldest_ms") / 1000, **body)
