"""Read jobs without changing them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import InvalidOption
from shared.job.spec import JobSpec
from shared.job.ticket import MERGE
from shared.jobstore import layout
from shared.jobstore.connection import StorePart, to_bytes
from shared.jobstore.status import status_of
from shared.jobstore.values import JobStatus, MergeHistory, WorkerInfo


@dataclass(frozen=True)
class Queries(StorePart):
    """What every process may read about jobs."""

    workers: Callable[[], Sequence[WorkerInfo]]
    """Returns the registered workers."""

    def status(self, job_id: str) -> JobStatus:
        """Return the status of the job.

        Raises:
            UnknownJob: If the job is not in Redis, or no longer.
        """
        found = self.statuses([job_id])
        if not found:
            raise self.connection.unknown_job(job_id)
        return found[0]

    def jobs(self) -> list[JobStatus]:
        """Return the status of all jobs in Redis, newest first."""
        return self.statuses([job_id.decode() for job_id in self.connection.run("jobs")])

    def jobs_of(self, tenant: str, *, before: int = 0, count: int) -> tuple[list[JobStatus], int]:
        """Return a page of a tenant's jobs, newest first, and where the next page begins.

        Args:
            tenant: The tenant.
            before: What the previous page returned as its end; 0 for the first page.
            count: Most jobs of a page.

        Returns:
            The jobs, and the *before* of the next page; 0 if this one is the last.
        """
        flat = self.connection.run("tenant_jobs", tenant=tenant, before=before, count=count + 1)
        names, sequences = [job.decode() for job in flat[::2]], [int(each) for each in flat[1::2]]
        following = sequences[count - 1] if len(names) > count else 0
        return self.statuses(names[:count]), following

    def is_known(self, job_id: str) -> bool:
        """Return whether the job is in Redis, which forgets it some days after its end."""
        return self._fields(job_id, "state") != [None]

    def is_cancelled(self, job_id: str) -> bool:
        """Return whether the job has been cancelled, before or after its last items ended.

        Raises:
            UnknownJob: If the job is not in Redis, or no longer.
        """
        state, cancelled = self._fields(job_id, "state", "cancelled")
        self._known(job_id, state)
        return cancelled == b"1"

    def spec(self, job_id: str) -> JobSpec:
        """Return the job document.

        Raises:
            UnknownJob: If the job is not in Redis, or no longer.
        """
        spec, added = self._fields(job_id, "spec", "added")
        return JobSpec.from_json(self._known(job_id, spec), added or b"{}")

    def readable_specs(self, job_ids: Sequence[str]) -> Iterator[tuple[str, JobSpec]]:
        """Yield jobs and their documents, read in one round trip.

        Jobs that are not in Redis any more, or whose document is of another version, are left out.
        """
        with self.connection.commands() as client, client.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hmget(layout.job(job_id), "spec", "added")
            found = pipe.execute()
        for job_id, (spec, added) in zip(job_ids, found, strict=True):
            if spec is not None:
                with suppress(InvalidOption):
                    yield job_id, JobSpec.from_json(to_bytes(spec), added or b"{}")

    def sequence(self, job_id: str) -> int:
        """Return the job's position among all jobs; see `Granted.sequence`.

        Raises:
            UnknownJob: If the job is not in Redis, or no longer.
        """
        [sequence] = self._fields(job_id, "sequence")
        return int(self._known(job_id, sequence))

    def manifest_chunk(self, job_id: str, chunk: int) -> bytes | None:
        """Return a packed chunk of the job's keys, or None if it is in the bucket, not in Redis."""
        with self.connection.commands() as client:
            found = client.hget(layout.job(job_id, "manifest"), str(chunk))
        return None if found is None else to_bytes(found)

    def accepted_shards(self, job_id: str) -> list[tuple[str, int]]:
        """Return unit and epoch of each accepted shard, in order of acceptance.

        If two shards hold a record of the same item, the later one counts.
        """
        with self.connection.commands() as client:
            shards = client.lrange(layout.job(job_id, "shards"), 0, -1)
        split = (to_bytes(shard).decode().split(":") for shard in shards)
        return [(unit, int(epoch)) for unit, epoch in split]

    def open_records(self, job_id: str) -> list[str]:
        """Return the records (JSON) of ranges without an accepted shard, in no particular order.

        Read these before the shards: a range that is closed in between then appears in both,
        never in neither.
        """
        with self.connection.commands() as client, client.pipeline(transaction=False) as pipe:
            for unit in client.smembers(layout.job(job_id, "tickets")):
                pipe.hvals(layout.job(job_id, "records", to_bytes(unit).decode()))
            return [record.decode() for records in pipe.execute() for record in records]

    def merge_history(self, job_id: str) -> MergeHistory:
        """Return the deaths and failures of the job's open merge ticket."""
        with self.connection.commands() as client:
            ticket = client.hgetall(layout.job(job_id, "ticket", MERGE))
        failures: dict[str, dict[str, int]] = {}
        for field, count in ticket.items():
            kind, _, failure = to_bytes(field).decode().partition(":")
            if kind == "failures":
                document, _, error = failure.partition(":")
                failures.setdefault(document, {})[error] = int(count)
        return MergeHistory(int(ticket.get(b"deaths", 0)), failures)

    def _fields(self, job_id: str, *names: str) -> list[bytes | None]:
        with self.connection.commands() as client:
            found = client.hmget(layout.job(job_id), names)
        return [None if value is None else to_bytes(value) for value in found]

    def _known(self, job_id: str, value: bytes | None) -> bytes:
        """Return *value*, which every job has."""
        if value is None:
            raise self.connection.unknown_job(job_id)
        return value

    def statuses(self, job_ids: Sequence[str]) -> list[JobStatus]:
        """Return the status of each job found, all as of one moment."""
        now_ms, *answers = self.connection.run("status", [(job_id,) for job_id in job_ids])
        workers = self.workers()
        return [
            status_of(job_id, hashes, now_ms=now_ms, workers=workers, rules=self.rules)
            for job_id, hashes in zip(job_ids, answers, strict=True)
            if hashes[0]
        ]
