"""Compute the status of a job from its hashes in Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.job.spec import TERMINAL_STATES, JobState
from shared.jobstore.rules import Rules
from shared.jobstore.values import JobStatus, WorkerInfo

Hash = Mapping[bytes, bytes]


@dataclass(frozen=True, kw_only=True)
class Found:
    """The hashes of a job, all as of one moment; see `layout` for their fields."""

    job_id: str
    job: Hash
    errors: Hash
    verdicts: Hash
    rate: Hash
    now_ms: int

    @classmethod
    def read(cls, job_id: str, hashes: Sequence[Sequence[bytes]], *, now_ms: int) -> Found:
        """Read the reply of the script `status`: four hashes, each flat: name, value, ..."""
        job, errors, verdicts, rate = (
            dict(zip(flat[::2], flat[1::2], strict=True)) for flat in hashes
        )
        return cls(
            job_id=job_id, job=job, errors=errors, verdicts=verdicts, rate=rate, now_ms=now_ms
        )


def status_of(found: Found, workers: Sequence[WorkerInfo], rules: Rules) -> JobStatus:
    """Return the status of the job, given the registered *workers*."""
    job = found.job
    state = JobState(job[b"state"].decode())
    total, done, failed = int(job[b"total"]), int(job[b"done"]), int(job[b"failed"])
    runs = state is JobState.RUNNING
    images_per_s = _images_per_s(found, rules) if runs else None
    return JobStatus(
        job_id=found.job_id,
        state=state,
        waiting_for=_waiting_for(found, state, workers),
        total=total,
        done=done,
        failed=failed,
        created_at=_moment(job[b"created_ms"]),
        finished_at=_moment(job[b"finished_ms"]) if state in TERMINAL_STATES else None,
        images_per_s=images_per_s,
        eta_s=(total - done - failed) / images_per_s if images_per_s else None,
        generation=int(job[b"generation"]),
        error_classes=_counts(found.errors),
        verdicts=_counts(found.verdicts),
    )


def _images_per_s(found: Found, rules: Rules) -> float | None:
    """Return items per second over the buckets of the window, or since a later start."""
    if not found.rate:
        return None
    step_ms = rules.rate_bucket_s * 1000
    first = int(found.now_ms // step_ms) - rules.rate_buckets + 1
    ended = sum(int(count) for bucket, count in found.rate.items() if int(bucket) >= first)
    since_ms = max(first * step_ms, int(found.job[b"started_ms"]))
    return ended * 1000 / max(found.now_ms - since_ms, 1)


def _waiting_for(found: Found, state: JobState, workers: Sequence[WorkerInfo]) -> str | None:
    if state in TERMINAL_STATES:
        return None
    if not workers:
        return "no worker"
    model = found.job[b"model"].decode()
    if state is JobState.RUNNING and not any(worker.serves(model) for worker in workers):
        return f"no worker serves {model}: {workers[0].refused[model]}"
    if int(found.job.get(b"waiting_until_ms", 0)) > found.now_ms:
        return found.job[b"waiting_for"].decode()
    return None


def _counts(hash_: Hash) -> dict[str, int]:
    return {name.decode(): int(count) for name, count in hash_.items()}


def _moment(ms: bytes) -> datetime:
    return datetime.fromtimestamp(int(ms) / 1000, UTC)
