"""Ends a job: joins its shards into `results.jsonl`, writes the report, closes it in the store."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Final

from shared import keys
from shared.errors import BucketUnavailable, ItemError, ObjectMissing
from shared.job import ImageOutput, ItemRecord, JobSpec
from shared.jobstore.store import JobStore
from shared.jobstore.values import Claim, Lease
from shared.objects import ObjectStore
from shared.shards import Shard, groups, overlay
from worker.report import MAX_FAILURES, MAX_PAIRS, Pair, render
from worker.stations.thumbnail import thumbnail

logger = logging.getLogger(__name__)

MAX_MERGED_ITEMS: Final = 1_000_000
"""Larger jobs get an index of their shards instead of one file (design, section 4.6)."""
MAX_SHOWN_PX: Final = 25_000_000
"""Larger pictures are left out of the report: what is decoded here, no budget counts."""
THUMBNAIL_THREADS: Final = 2
"""Pictures decoded at a time for the report: their users wait for nothing else by then."""
SPOOL_BYTES: Final = 32 * 2**20
"""Results above this are written through a temporary file, so that memory stays flat."""


@dataclass
class _Sample:
    """What the report shows: some of the done, the first of the failed."""

    every: int
    done: list[ItemRecord] = field(default_factory=list)
    failed: list[ItemRecord] = field(default_factory=list)

    def look_at(self, line: str) -> None:
        """Keep the record if the report has room for it."""
        record = ItemRecord.from_json(line)
        if record.state == "failed":
            if len(self.failed) < MAX_FAILURES:
                self.failed.append(record)
        elif record.index % self.every == 0 and len(self.done) < MAX_PAIRS and _is_shown(record):
            self.done.append(record)


class Merger:
    """Works off merge tickets. Doing one twice writes the same documents again."""

    def __init__(self, store: JobStore, objects: ObjectStore) -> None:
        self._store = store
        self._objects = objects

    def merge(self, lease: Lease, claim: Claim) -> None:
        """Write the job's documents, then declare it ended.

        Only shards that the store accepted count: a zombie's shard lies in the bucket unread.

        Raises:
            StoreUnavailable: If the bucket cannot be asked now.
            BucketUnavailable: If it is missing or forbidden.
            RedisUnavailable: If the store of truth cannot be asked.
        """
        spec = claim.spec
        if spec is None:
            raise RuntimeError("a granted claim without a job")
        job_id = lease.ticket.job_id
        status = self._store.status(job_id)
        shards = self._store.accepted_shards(job_id)
        sample = _Sample(every=max(1, status.total // MAX_PAIRS))
        with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as file:
            if status.total <= MAX_MERGED_ITEMS:
                self._write_results(job_id, spec, shards, file, sample)
            else:
                _write_index(job_id, shards, file)
            file.seek(0)
            self._put(spec, keys.results_key(job_id), file, "application/jsonl")
        page = render(status, spec, self._pairs(spec, sample.done), sample.failed)
        self._put(spec, keys.report_key(job_id), page.encode(), "text/html; charset=utf-8")
        self._store.merge_commit(lease)

    def _put(self, spec: JobSpec, key: str, body: bytes | IO[bytes], content_type: str) -> None:
        self._objects.put(spec.output_bucket, key, body, content_type=content_type)

    def _write_results(
        self,
        job_id: str,
        spec: JobSpec,
        shards: list[Shard],
        file: IO[bytes],
        sample: _Sample,
    ) -> None:
        for group in groups(shards):
            stored = (keys.shard_key(job_id, unit, epoch) for unit, epoch in group)
            for line in overlay(self._shard(spec, key) for key in stored):
                file.write(f"{line}\n".encode())
                sample.look_at(line)

    def _shard(self, spec: JobSpec, key: str) -> bytes:
        """Return a shard; nothing for one that somebody removed, as it will not come back."""
        try:
            return self._objects.get(spec.output_bucket, key).data
        except ObjectMissing:
            logger.exception("a shard is gone, its records with it", extra={"shard": key})
            return b""

    def _pairs(self, spec: JobSpec, records: Iterable[ItemRecord]) -> Iterator[Pair]:
        if spec.image_output in (ImageOutput.HIDE, ImageOutput.HIDE_SAVE):
            return
        with ThreadPoolExecutor(THUMBNAIL_THREADS, "thumbnail") as pool:
            pairs = list(pool.map(partial(self._pair, spec), records))
        yield from filter(None, pairs)

    def _pair(self, spec: JobSpec, record: ItemRecord) -> Pair | None:
        try:
            before = self._objects.get(spec.input_bucket, record.image_key).data
            after = self._objects.get(spec.output_bucket, record.cutout_key or "").data
            return Pair(record, thumbnail(before), thumbnail(after))
        except (ItemError, BucketUnavailable):
            return None  # somebody removed it since; the report does without


def _is_shown(record: ItemRecord) -> bool:
    pixels = (record.width or 0) * (record.height or 0)
    return record.cutout_key is not None and pixels <= MAX_SHOWN_PX


def _write_index(job_id: str, shards: list[Shard], file: IO[bytes]) -> None:
    for unit, epoch in shards:
        line = json.dumps({"shard": keys.shard_key(job_id, unit, epoch), "items": unit})
        file.write(f"{line}\n".encode())
