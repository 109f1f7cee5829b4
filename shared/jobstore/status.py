"""Compute the status of a job from its hashes in Redis."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from shared.job.spec import TERMINAL_STATES, JobState
from shared.jobstore.rules import Rules
from shared.jobstore.values import JobStatus, WorkerInfo

Hash = Mapping[bytes, bytes]
"""A hash as `layout` describes it."""


def status_of(
    job_id: str,
    hashes: Sequence[Sequence[bytes]],
    *,
    now_ms: int,
    workers: Sequence[WorkerInfo],
    rules: Rules,
) -> JobStatus:
    """Return the status of a job.

    Args:
        job_id: The job.
        hashes: As the script `status` returns them: the job, its errors, verdicts and rate, each
            as name, value, ...
        now_ms: The server's time.
        workers: The registered workers.
        rules: For the window of the rate.
    """
    job, errors, verdicts, rate = (dict(zip(flat[::2], flat[1::2], strict=True)) for flat in hashes)
    state = JobState(job[b"state"].decode())
    total, done, failed = int(job[b"total"]), int(job[b"done"]), int(job[b"failed"])
    images_per_s = None
    if state is JobState.RUNNING and rate:
        images_per_s = _images_per_s(rate, int(job[b"started_ms"]), now_ms, rules)
    return JobStatus(
        job_id=job_id,
        state=state,
        waiting_for=_waiting_for(job, state, now_ms, workers),
        total=total,
        done=done,
        failed=failed,
        created_at=_moment(job[b"created_ms"]),
        finished_at=_moment(job[b"finished_ms"]) if state in TERMINAL_STATES else None,
        images_per_s=images_per_s,
        eta_s=(total - done - failed) / images_per_s if images_per_s else None,
        generation=int(job[b"generation"]),
        error_classes=_counts(errors),
        verdicts=_counts(verdicts),
        ended_without=job[b"ended_without"].decode() if b"ended_without" in job else None,
    )


def _images_per_s(rate: Hash, started_ms: int, now_ms: int, rules: Rules) -> float:
    """Return items per second over the buckets of the window, or since a later start."""
    step_ms = rules.rate_bucket_s * 1000
    first = int(now_ms // step_ms) - rules.rate_buckets + 1
    ended = sum(int(count) for bucket, count in rate.items() if int(bucket) >= first)
    return ended * 1000 / max(now_ms - max(first * step_ms, started_ms), 1)


def _waiting_for(
    job: Hash, state: JobState, now_ms: int, workers: Sequence[WorkerInfo]
) -> str | None:
    if state in TERMINAL_STATES:
        return None
    if not workers:
        return "no worker"
    model = job[b"model"].decode()
    if state is JobState.RUNNING and not any(worker.serves(model) for worker in workers):
        return f"no worker serves {model}: {workers[0].refused[model]}"
    if not any(worker.slots for worker in workers):
        return "no worker"
    if int(job.get(b"waiting_until_ms", 0)) > now_ms:
        return job[b"waiting_for"].decode()
    return None


def _counts(hash_: Hash) -> dict[str, int]:
    return {name.decode(): int(count) for name, count in hash_.items()}


def _moment(ms: bytes) -> datetime:
    return datetime.fromtimestamp(int(ms) / 1000, UTC)
