"""To look at jobs without changing them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from shared.errors import UnknownJob
from shared.job.spec import JobSpec
from shared.jobstore import layout
from shared.jobstore.connection import to_bytes
from shared.jobstore.fleet import Fleet
from shared.jobstore.progress import Found, status_of
from shared.jobstore.values import JobStatus

_STEP_BYTES: Final = 64 * 1024
_LONGEST_BITMAP_BYTES: Final = 2**29
"""Redis's own limit."""


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
        return JobSpec.from_json(self._field(job_id, "spec"))

    def sequence(self, job_id: str) -> int:
        """Return the job's place among all jobs; see `Granted.sequence`.

        Raises:
            UnknownJob: If there is no such job (any more).
        """
        return int(self._field(job_id, "sequence"))

    def manifest_chunk(self, job_id: str, chunk: int) -> bytes | None:
        """Return a packed chunk of the job's keys; None: it is not in Redis but in the bucket."""
        with self._translated():
            found = self._client.hget(layout.part(job_id, "manifest"), str(chunk))
        return None if found is None else to_bytes(found)

    def accepted_shards(self, job_id: str) -> list[tuple[str, int]]:
        """Return unit and epoch of each accepted shard, in order of acceptance.

        Of two records of an item, the one in the later shard counts.
        """
        with self._translated():
            shards = self._client.lrange(layout.part(job_id, "shards"), 0, -1)
        split = (to_bytes(shard).decode().split(":") for shard in shards)
        return [(unit, int(epoch)) for unit, epoch in split]

    def open_records(self, job_id: str) -> list[str]:
        """Return the records (JSON) that lie in no accepted shard yet, in no order.

        Ask for these first and then for the shards: a range that is closed in between is in both,
        never in neither.
        """
        with self._translated(), self._client.pipeline(transaction=False) as pipe:
            for unit in self._client.smembers(layout.part(job_id, "tickets")):
                pipe.hvals(layout.records(job_id, to_bytes(unit).decode()))
            return [record.decode() for records in pipe.execute() for record in records]

    def failed_indexes(self, job_id: str) -> Iterator[int]:
        """Yield the indexes of the failed items in order, reading half a million bits at a time."""
        key = layout.part(job_id, "failed")
        for start in range(0, _LONGEST_BITMAP_BYTES, _STEP_BYTES):
            with self._translated():
                bits = to_bytes(self._client.getrange(key, start, start + _STEP_BYTES - 1))
            if not bits:
                return
            for number, byte in enumerate(bits, start):
                if byte:
                    yield from (number * 8 + n for n in range(8) if byte >> (7 - n) & 1)

    def _field(self, job_id: str, name: str) -> bytes:
        with self._translated():
            value = self._client.hget(layout.job(job_id), name)
        if value is None:
            raise UnknownJob(f"no job {job_id} is known to {self._where()}")
        return to_bytes(value)

    def _statuses(self, job_ids: Sequence[str]) -> list[JobStatus]:
        """Return the status of each job that is known, all as of one moment."""
        now_ms, *answers = self._run("status", [(job_id,) for job_id in job_ids])
        found = [
            Found.read(job_id, hashes, now_ms=now_ms)
            for job_id, hashes in zip(job_ids, answers, strict=True)
        ]
        workers = self.workers()
        return [status_of(each, workers, self._rules) for each in found if each.job]
