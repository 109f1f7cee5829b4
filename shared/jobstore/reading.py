"""To look at jobs without changing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from shared.errors import UnknownJob
from shared.job import TERMINAL_STATES, JobSpec, JobState, Json
from shared.jobstore import layout
from shared.jobstore.connection import to_ms
from shared.jobstore.fleet import Fleet
from shared.jobstore.rules import Rules
from shared.jobstore.values import JobStatus, WorkerInfo

_STEP_BYTES: Final = 64 * 1024
_PARTS: Final = ("errors", "verdicts", "rate")


class Reading(Fleet):
    """What anybody may know about jobs."""

    def status(self, job_id: str) -> JobStatus:
        """Return where the job stands.

        Raises:
            UnknownJob: If there is no such job (any more).
        """
        found = self._statuses([job_id])
        if not found:
            raise UnknownJob(f"no job {job_id} is known to {self._where()}")
        return found[0]

    def jobs(self) -> list[JobStatus]:
        """Return all jobs that Redis knows, the newest first."""
        return self._statuses([job_id.decode() for job_id in self._run("jobs")])

    def spec(self, job_id: str) -> JobSpec:
        """Return what the job says.

        Raises:
            UnknownJob: If there is no such job (any more).
        """
        with self._translated():
            document = self._client.hget(layout.job(job_id), "spec")
        if document is None:
            raise UnknownJob(f"no job {job_id} is known to {self._where()}")
        return JobSpec.from_json(document)

    def manifest_chunk(self, job_id: str, chunk: int) -> bytes | None:
        """Return a packed chunk of the job's keys; None: it is not in Redis but in the bucket."""
        with self._translated():
            found: bytes | None = self._client.hget(layout.part(job_id, "manifest"), str(chunk))
        return found

    def accepted_shards(self, job_id: str) -> list[tuple[str, int]]:
        """Return unit and epoch of each accepted shard, in order of acceptance.

        Of two records of an item, the one in the later shard counts.
        """
        with self._translated():
            shards = self._client.lrange(layout.part(job_id, "shards"), 0, -1)
        split = (shard.decode().split(":") for shard in shards)
        return [(unit, int(epoch)) for unit, epoch in split]

    def open_records(self, job_id: str) -> list[str]:
        """Return the records (JSON) that lie in no accepted shard yet, in no order.

        Ask for these first and then for the shards: a range that is closed in between is in both,
        never in neither.
        """
        with self._translated():
            units = self._client.smembers(layout.part(job_id, "tickets"))
            with self._client.pipeline(transaction=False) as pipe:
                for unit in units:
                    pipe.hvals(layout.records(job_id, unit.decode()))
                return [record.decode() for records in pipe.execute() for record in records]

    def failed_indexes(self, job_id: str) -> Iterator[int]:
        """Yield the indexes of the failed items in order, reading half a million bits at a time."""
        key = layout.part(job_id, "failed")
        for start in range(0, 2**29, _STEP_BYTES):  # Redis's longest bitmap, in bytes
            with self._translated():
                bits: bytes = self._client.getrange(key, start, start + _STEP_BYTES - 1)
            if not bits:
                return
            for n, byte in enumerate(bits, start):
                yield from (n * 8 + bit for bit in range(8) if byte and byte >> (7 - bit) & 1)

    def _statuses(self, job_ids: list[str]) -> list[JobStatus]:
        """Return the status of each job that is known, all as of one moment."""
        with self._translated(), self._client.pipeline() as pipe:
            pipe.time()
            for job_id in job_ids:
                pipe.hgetall(layout.job(job_id))
                for name in _PARTS:
                    pipe.hgetall(layout.part(job_id, name))
            (seconds, micros), *hashes = pipe.execute()
        now_ms = seconds * 1000 + micros // 1000
        texts = [{key.decode(): value for key, value in each.items()} for each in hashes]
        found = zip(job_ids, *(texts[n::4] for n in range(4)), strict=True)
        workers = self.workers()
        return [_status(*each, now_ms, workers, self._rules) for each in found if each[1]]


def _status(
    job_id: str,
    job: dict[str, Json],
    errors: dict[str, Json],
    verdicts: dict[str, Json],
    rate: dict[str, Json],
    now_ms: int,
    workers: list[WorkerInfo],
    rules: Rules,
) -> JobStatus:
    state = JobState(job["state"].decode())
    total, done, failed = (int(job[name]) for name in ("total", "done", "failed"))
    runs = state is JobState.RUNNING
    images_per_s = _rate(rate, now_ms, int(job.get("started_ms", now_ms)), rules) if runs else None
    return JobStatus(
        job_id=job_id,
        state=state,
        waiting_for=_waiting_for(job, now_ms, workers) if runs else None,
        total=total,
        done=done,
        failed=failed,
        created_at=_moment(job["created_ms"]),
        finished_at=_moment(job["finished_ms"]) if state in TERMINAL_STATES else None,
        images_per_s=images_per_s,
        eta_s=(total - done - failed) / images_per_s if images_per_s else None,
        generation=int(job["generation"]),
        error_classes={name: int(count) for name, count in errors.items()},
        verdicts={name: int(count) for name, count in verdicts.items()},
    )


def _rate(buckets: Mapping[str, Json], now_ms: int, started_ms: int, rules: Rules) -> float | None:
    """Return items a second over the window, or since the start where that is later."""
    if not buckets:
        return None
    window_ms = to_ms(rules.rate_window_s)
    bucket_ms = to_ms(rules.rate_bucket_s)
    ended = sum(
        int(count)
        for bucket, count in buckets.items()
        if (int(bucket) + 1) * bucket_ms > now_ms - window_ms
    )
    return ended * 1000 / max(min(window_ms, now_ms - started_ms), 1)


def _waiting_for(job: Mapping[str, Json], now_ms: int, workers: list[WorkerInfo]) -> str | None:
    if not workers:
        return "no worker"
    model = JobSpec.from_json(job["spec"]).rem_mode
    if not any(worker.serves(model) for worker in workers):
        return f"no worker serves {model}: {workers[0].refused[model]}"
    if "waiting_for" in job and int(job["waiting_until_ms"]) > now_ms:
        reason: str = job["waiting_for"].decode()
        return reason
    return None


def _moment(ms: bytes) -> datetime:
    return datetime.fromtimestamp(int(ms) / 1000, UTC)
