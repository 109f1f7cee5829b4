"""End a job: join its shards into `results.jsonl`, write the report, commit in the job store."""

import json
import logging
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Final

from shared.broker.queues import SUSPECT
from shared.errors import BucketUnavailable, ItemError, ObjectMissing, StoreUnavailable
from shared.job import keys
from shared.job.record import ItemRecord
from shared.job.shards import Shard, sweep
from shared.job.spec import ImageOutput
from shared.jobstore.store import JobStore
from shared.jobstore.values import Granted
from shared.objects import ObjectStore
from worker.consumer.leases import HeldTicket
from worker.consumer.report import MAX_FAILURES, MAX_PAIRS, Pair, render
from worker.imaging.thumbnail import thumbnail

logger = logging.getLogger(__name__)

MAX_MERGED_ITEMS: Final = 1_000_000
"""Larger jobs get an index of their shards instead of one file of hundreds of MB."""
MAX_SHOWN_PX: Final = 25_000_000
"""Larger images are left out of the report: no permit counts what is decoded here."""
THUMBNAIL_THREADS: Final = 2
"""Images decoded at once for the report; by then nothing else of the job runs."""
SPOOL_BYTES: Final = 32 * 2**20
"""Results above this are written through a temporary file, so that memory stays flat."""


@dataclass
class _Sample:
    """The records that the report shows: some of the done ones, the first of the failed ones."""

    every: int
    done: list[ItemRecord] = field(default_factory=list)
    failed: list[ItemRecord] = field(default_factory=list)

    def add(self, line: str) -> None:
        """Keep the record if the report has room for it."""
        record = ItemRecord.from_json(line)
        if record.state == "failed":
            if len(self.failed) < MAX_FAILURES:
                self.failed.append(record)
        elif record.index % self.every == 0 and len(self.done) < MAX_PAIRS and _is_shown(record):
            self.done.append(record)


class MergeStopped(Exception):
    """The merge ended nothing, because the process leaves or the lease is lost."""


@dataclass(frozen=True)
class Merge:
    """Processes one merge ticket. A repetition writes the same documents again."""

    store: JobStore
    objects: ObjectStore
    held: HeldTicket
    granted: Granted

    def run(self) -> None:
        """Write the job's documents, then mark the job as ended.

        Only shards that the job store accepted count: the shard of a worker that lost its lease
        stays in the bucket unread. Such a worker must not replace the documents of the worker that
        took over from it, perhaps for a later generation: a document only replaces the one that
        was there at the start.

        After two workers died during a merge, it leaves out the images: only these are decoded
        from files that others wrote.

        Raises:
            StoreUnavailable: If the bucket cannot be asked now.
            BucketUnavailable: If it is missing or forbidden.
            RedisUnavailable: If the job store cannot be asked.
            MergeStopped: If the process leaves or the lease is lost.
            PreconditionFailed: If a document was written meanwhile: by another worker, or by us
                without an answer. The next merge finds out.
        """
        job_id = self.held.lease.ticket.job_id
        results, report = keys.results_key(job_id), keys.report_key(job_id)
        # Before the job is read: a worker that writes them later has read at least as much of it.
        found = {key: self._etag(key) for key in (results, report)}
        status = self.store.queries.status(job_id)
        shards = self.store.queries.accepted_shards(job_id)
        sample = _Sample(every=max(1, status.total // MAX_PAIRS))
        with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as file:
            if status.total <= MAX_MERGED_ITEMS:
                self._write_results(shards, file, sample)
            else:
                _write_index(job_id, shards, file)
            file.seek(0)
            self._put(results, file, "application/jsonl", over=found[results])
        shown = [] if self.granted.queue == SUSPECT else sample.done
        page = render(status, self.granted.spec, self._pairs(shown), sample.failed).encode()
        self._put(report, page, "text/html; charset=utf-8", over=found[report])
        self.store.leases.merge_commit(self.held.lease)

    def _check(self) -> None:
        """Raise `MergeStopped` if the merge may not go on; called before each document."""
        if self.held.is_stopped:
            raise MergeStopped(f"the merge of {self.held.lease.ticket.job_id} was stopped")

    def _etag(self, key: str) -> str | None:
        found = self.objects.head(self.granted.spec.output_bucket, key)
        return None if found is None else found.etag

    def _put(
        self, key: str, body: bytes | IO[bytes], content_type: str, *, over: str | None
    ) -> None:
        self._check()
        bucket, is_first = self.granted.spec.output_bucket, over is None
        self.objects.put(
            bucket, key, body, content_type=content_type, if_absent=is_first, if_match=over
        )

    def _write_results(self, shards: list[Shard], file: IO[bytes], sample: _Sample) -> None:
        for line in sweep(shards, self._shard):
            file.write(f"{line}\n".encode())
            sample.add(line)

    def _shard(self, shard: Shard) -> bytes:
        """Return a shard; empty for one that was deleted, as it will not come back."""
        self._check()
        key = keys.shard_key(self.held.lease.ticket.job_id, *shard)
        try:
            return self.objects.get(self.granted.spec.output_bucket, key).data
        except ObjectMissing:
            logger.exception("shard missing: its records are lost", extra={"shard": key})
            return b""

    def _pairs(self, records: Iterable[ItemRecord]) -> list[Pair]:
        if self.granted.spec.image_output in (ImageOutput.HIDE, ImageOutput.HIDE_SAVE):
            return []
        with ThreadPoolExecutor(THUMBNAIL_THREADS, "thumbnail") as pool:
            return [pair for pair in pool.map(self._pair, records) if pair is not None]

    def _pair(self, record: ItemRecord) -> Pair | None:
        """Return an image before and after; None if either is not available now."""
        self._check()
        spec = self.granted.spec
        try:
            before = self.objects.get(spec.input_bucket, record.image_key).data
            after = self.objects.get(spec.output_bucket, record.cutout_key or "").data
            return Pair(record, thumbnail(before), thumbnail(after))
        except (ItemError, BucketUnavailable, StoreUnavailable):
            return None


def _is_shown(record: ItemRecord) -> bool:
    pixels = (record.width or 0) * (record.height or 0)
    return record.cutout_key is not None and pixels <= MAX_SHOWN_PX


def _write_index(job_id: str, shards: list[Shard], file: IO[bytes]) -> None:
    for unit, epoch in shards:
        line = json.dumps({"shard": keys.shard_key(job_id, unit, epoch), "items": unit})
        file.write(f"{line}\n".encode())
