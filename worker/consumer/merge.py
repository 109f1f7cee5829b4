"""End a job: join its shards into `results.jsonl`, write the report, commit in the job store."""

import json
import logging
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import IO, Final

from shared.errors import ObjectMissing
from shared.job import keys
from shared.job.doubts import Doubts, doubts_key
from shared.job.notes import ended_key, merged_key
from shared.job.outputs import assets_of
from shared.job.shards import Shard, sweep
from shared.jobstore.store import JobStore
from shared.jobstore.values import Granted, JobStatus
from shared.objects import ObjectStore
from shared.objects.object_metadata import GENERATION, MERGED
from shared.webhooks import announce
from worker.consumer.leases import HeldTicket, Leases
from worker.consumer.merge_attempts import (
    INDEX,
    OUTAGES,
    REPORT,
    RESULTS,
    MergeAttempts,
    MergeStopped,
)
from worker.consumer.report.contents import Contents
from worker.consumer.report.page import Report, render
from worker.consumer.report.previews import PreviewReader

logger = logging.getLogger(__name__)

MAX_MERGED_ITEMS: Final = 1_000_000
"""Larger jobs get an index of their shards instead of one file of hundreds of MB."""
SPOOL_BYTES: Final = 32 * 2**20
"""Results above this are written through a temporary file, so that memory stays flat."""


@dataclass(frozen=True)
class Merge:
    """Processes one merge ticket. A repetition writes the same documents again."""

    store: JobStore
    objects: ObjectStore
    leases: Leases
    held: HeldTicket
    granted: Granted

    def run(self) -> None:
        """Write the job's documents, then mark the job as ended.

        Only shards that the job store accepted count: the shard of a worker that lost its lease
        stays in the bucket unread. Such a worker must not replace the documents of the worker that
        took over from it, perhaps for a later generation: a document only replaces the one that
        was there at the start.

        A document that fails again and again does not keep the job from ending (see
        `MergeAttempts`): the job then has no report, or an index of its shards in place of the
        results, or neither, and its status says so.

        Raises:
            StoreUnavailable: If the bucket cannot be asked now.
            BucketUnavailable: If it is missing or forbidden.
            RedisUnavailable: If the job store cannot be asked.
            MergeStopped: If the process leaves or the lease is lost.
            PreconditionFailed: If a document was written meanwhile: by another worker, or by us
                without an answer. The next merge finds out.
        """
        job_id = self.held.lease.ticket.job_id
        results = keys.results_key(job_id)
        # Before the job is read: a worker that writes them later has read at least as much of it.
        documents = (results, keys.report_key(job_id), doubts_key(job_id))
        found = {key: self._etag(key) for key in documents}
        status = self.store.queries.status(job_id)
        shards = self.store.queries.accepted_shards(job_id)
        history = self.store.queries.merge_history(job_id)
        attempts = MergeAttempts(self.store, self.held, history)
        with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as file:
            has_records = status.total <= MAX_MERGED_ITEMS and attempts.write(
                RESULTS, partial(self._put_results, results, found[results], shards, file)
            )
            if not has_records:
                file.truncate(0)
                index = partial(self._put_index, results, found[results], shards)
                if not attempts.write(INDEX, index) and found[results] is not None:
                    self._delete_outdated(results)
            file.seek(0)
            lines = file if has_records else None
            attempts.write(REPORT, partial(self._put_report, found, status, lines))
        self._note(status, has_records=has_records)
        self._announce(status)
        with self.leases.giving_up(self.held):
            self.store.leases.merge_commit(
                self.held.lease, ended_without=", ".join(attempts.ended_without)
            )

    def _check(self) -> None:
        """Raise `MergeStopped` if the merge may not go on; called before each document."""
        if self.held.is_stopped:
            raise MergeStopped(f"the merge of {self.held.lease.ticket.job_id} was stopped")

    def _note(self, status: JobStatus, *, has_records: bool) -> None:
        """Note for housekeeping what the job leaves; a repetition on the same day does the same."""
        self._check()
        job_id, spec, today = status.job_id, self.granted.spec, datetime.now(UTC).date()
        notes = [merged_key(job_id, today)] if has_records else []
        if spec.preview_stride(status.total) or assets_of(spec.outputs):
            notes.append(ended_key(job_id, today))
        for note in notes:
            self.objects.put(spec.output_bucket, note, b"", content_type="text/plain")

    def _announce(self, status: JobStatus) -> None:
        """Write that somebody is to be told of the end."""
        self._check()
        spec = self.granted.spec
        if spec.webhook is not None:
            is_cancelled = self.store.queries.is_cancelled(status.job_id)
            announce(self.objects, spec, status, datetime.now(UTC), is_cancelled=is_cancelled)

    def _etag(self, key: str) -> str | None:
        found = self.objects.head(self.granted.spec.output_bucket, key)
        return None if found is None else found.etag

    def _put(
        self,
        key: str,
        body: bytes | IO[bytes],
        content_type: str,
        *,
        over: str | None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self._check()
        self.objects.put(
            self.granted.spec.output_bucket,
            key,
            body,
            content_type=content_type,
            metadata=metadata,
            if_absent=over is None,
            if_match=over,
        )

    def _put_results(
        self, key: str, over: str | None, shards: list[Shard], file: IO[bytes]
    ) -> None:
        """Write the records of all *shards* to *file*, and that to the bucket."""
        for line in sweep(shards, self._shard):
            file.write(f"{line}\n".encode())
        file.seek(0)
        self._put(key, file, "application/jsonl", over=over, metadata={MERGED: "1"})

    def _put_index(self, key: str, over: str | None, shards: list[Shard]) -> None:
        index = _index(self.held.lease.ticket.job_id, shards)
        self._put(key, index, "application/jsonl", over=over)

    def _delete_outdated(self, key: str) -> None:
        """Delete the results of an earlier generation, which would pass for those of this one.

        Without results and index, `rmbg results` reads the list of shards in Redis.
        """
        self._check()
        try:
            self.objects.delete(self.granted.spec.output_bucket, [key])
        except OUTAGES:
            raise
        except Exception:
            logger.exception("outdated results not deleted", extra=self.held.named(document=key))

    def _put_report(
        self, found: Mapping[str, str | None], status: JobStatus, lines: Iterable[bytes] | None
    ) -> None:
        """Write the report of the records in *lines*, and the list of doubtful images.

        Without records there is no such list: who wants it reads the shards.
        """
        spec = self.granted.spec
        every = spec.preview_stride(status.total)
        contents = Contents.of(lines or (), total=status.total, every=every, check=self._check)
        if lines is not None:
            self._put_doubts(found, status, contents.doubts)
        reader = PreviewReader(self.objects, spec, status.job_id, self._check)
        previews = reader.read(contents.choice.indices())
        now = datetime.now(UTC)
        report = Report(status=status, spec=spec, contents=contents, previews=previews, now=now)
        key = keys.report_key(status.job_id)
        self._put(key, render(report), "text/html; charset=utf-8", over=found[key])

    def _put_doubts(
        self, found: Mapping[str, str | None], status: JobStatus, doubts: Doubts
    ) -> None:
        key, body = doubts_key(status.job_id), "".join(doubts.lines()).encode()
        generation = {GENERATION: str(status.generation)}
        self._put(key, body, "application/jsonl", over=found[key], metadata=generation)

    def _shard(self, shard: Shard) -> bytes:
        """Return a shard; empty for one that was deleted, as it will not come back."""
        self._check()
        key = keys.shard_key(self.held.lease.ticket.job_id, *shard)
        try:
            return self.objects.get(self.granted.spec.output_bucket, key).data
        except ObjectMissing:
            logger.exception("shard missing: its records are lost", extra={"shard": key})
            return b""


def _index(job_id: str, shards: list[Shard]) -> bytes:
    """Return the index of a job's shards; about 100 bytes for each."""
    lines = (
        json.dumps({"shard": keys.shard_key(job_id, unit, epoch), "items": unit})
        for unit, epoch in shards
    )
    return "".join(f"{line}\n" for line in lines).encode()
