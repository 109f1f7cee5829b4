"""A job's records in item order, from wherever they are now: bucket, accepted shards, Redis."""

from __future__ import annotations

import heapq
import json
import tempfile
from typing import TYPE_CHECKING, Final

from shared.errors import InvalidOption, ObjectMissing, StoreUnavailable, UnknownJob
from shared.job.keys import results_key, shard_key
from shared.job.record import ItemRecord
from shared.job.shards import span, sweep
from shared.job.spec import TERMINAL_STATES, ImageOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from producer.services import Services
    from shared.job.shards import Shard
    from shared.job.spec import Json

LINK_S: Final = 3600
"""How long a signed link is good for, in seconds."""
SPOOL_BYTES: Final = 8 * 2**20
"""Results above this lie in a temporary file while they are read: up to 640 MB."""
INDEX_START: Final = b'{"shard":'
"""How an index of shards begins, which stands in place of the results of over 1M items."""
LINKED: Final = frozenset({ImageOutput.SAVE, ImageOutput.PREVIEW})
"""Only these show their pictures; `Hide/Save` writes them and keeps them out of links."""


def records(services: Services, job_id: str, *, start: int = 0) -> Iterator[ItemRecord]:
    """Yield the records known now, in item order, from item *start* on.

    Of a job that has ended, that is all of them. Of one that is being redone it is the latest
    known of each item, so possibly the failure that is being redone.

    Raises:
        UnknownJob: If neither Redis nor the output bucket knows the job.
        StoreUnavailable: If the object store cannot be asked.
    """
    if _has_ended(services, job_id):
        yield from _final(services, job_id, start)
        return
    try:
        for record in _so_far(services, job_id, start):
            yield record
            start = record.index + 1
    except ObjectMissing as err:
        if not _has_ended(services, job_id):
            raise _gone(job_id, err) from err
        yield from _final(services, job_id, start)


def follow(services: Services, job_id: str, *, pause: Callable[[], None]) -> Iterator[ItemRecord]:
    """Yield each record as soon as it and all before it are known, until the job has ended.

    Of a job that is being redone all are yielded at its end, since until then an item's record
    may still be the failure that is being redone. What is held at a time, `shards.sweep` says.

    Args:
        services: Where to ask.
        job_id: The job.
        pause: Called between two looks.

    Raises:
        UnknownJob: If neither Redis nor the output bucket knows the job.
    """
    start = 0
    while not _has_ended(services, job_id):
        if services.jobs.status(job_id).generation == 1:
            for record in records(services, job_id, start=start):
                if record.index != start:
                    break
                yield record
                start += 1
        pause()
    yield from _final(services, job_id, start)


def failures(services: Services, job_id: str) -> Iterator[ItemRecord]:
    """Yield the records of the items that are failed now; see `records`."""
    return (record for record in records(services, job_id) if record.state == "failed")


def linker(services: Services, job_id: str) -> Callable[[ItemRecord], dict[str, Json]]:
    """Return what turns this job's records into objects with `cutout_url` and `mask_url`.

    Links are good for an hour. They are null where there is no picture, and for jobs whose
    pictures are not shown (`Hide`, `Hide/Save`).

    Raises:
        InvalidOption: If Redis has forgotten the job, as then nobody knows whether they may be.
    """
    try:
        spec = services.jobs.spec(job_id)
    except UnknownJob as err:
        raise InvalidOption(
            f"no links for job {job_id}: Redis has forgotten whether its pictures may be shown"
        ) from err

    def link(key: str | None) -> str | None:
        if key is None or spec.image_output not in LINKED:
            return None
        return services.objects.sign(spec.output_bucket, key, expires_s=LINK_S)

    def with_links(record: ItemRecord) -> dict[str, Json]:
        urls = {"cutout_url": link(record.cutout_key), "mask_url": link(record.mask_key)}
        return record.model_dump() | urls

    return with_links


def _has_ended(services: Services, job_id: str) -> bool:
    """Tell whether the job's records are in the bucket; so are those of a forgotten job."""
    try:
        return services.jobs.status(job_id).state in TERMINAL_STATES
    except UnknownJob:
        return True


def _final(services: Services, job_id: str, start: int) -> Iterator[ItemRecord]:
    """Yield the records of a job that has ended, or that Redis has forgotten.

    Shards are asked for only where there is nothing else: the results outlive them.
    """
    bucket = _output_bucket(services, job_id)
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as lines:
        try:
            services.objects.download(bucket, results_key(job_id), lines)
        except ObjectMissing as err:
            accepted = services.jobs.accepted_shards(job_id)
            if not accepted:
                raise UnknownJob(f"neither Redis nor bucket {bucket} knows job {job_id}") from err
        else:
            lines.seek(0)
            is_index = lines.read(len(INDEX_START)) == INDEX_START
            lines.seek(0)
            if not is_index:
                yield from _wanted(lines, start)
                return
            accepted = [_indexed(line) for line in lines]
    try:
        yield from _from_shards(services, bucket, job_id, accepted, start)
    except ObjectMissing as err:
        raise _gone(job_id, err) from err


def _indexed(line: bytes) -> Shard:
    """Read a line of the index that stands in place of a very large job's results."""
    entry = json.loads(line)
    epoch = entry["shard"].removesuffix(".jsonl").rpartition(".")[2]
    return entry["items"], int(epoch)


def _so_far(services: Services, job_id: str, start: int) -> Iterator[ItemRecord]:
    """Yield what is known of a running job.

    Redis is asked for open records before it is asked for shards: a range that is closed in
    between is then found twice, never missed.
    """
    held = sorted(_wanted(services.jobs.open_records(job_id), start), key=_index)
    accepted = services.jobs.accepted_shards(job_id)
    bucket = _output_bucket(services, job_id)
    shards = _from_shards(services, bucket, job_id, accepted, start)
    last = start - 1
    for record in heapq.merge(held, shards, key=_index):  # of equals, the first iterable's leads
        if record.index > last:
            yield record
            last = record.index


def _from_shards(
    services: Services, bucket: str, job_id: str, accepted: list[Shard], start: int
) -> Iterator[ItemRecord]:
    wanted = [shard for shard in accepted if span(shard).stop > start]

    def read(shard: Shard) -> bytes:
        return services.objects.get(bucket, shard_key(job_id, *shard)).data

    return _wanted(sweep(wanted, read), start)


def _gone(job_id: str, err: ObjectMissing) -> StoreUnavailable:
    return StoreUnavailable(f"an accepted shard of job {job_id} is gone: {err}")


def _output_bucket(services: Services, job_id: str) -> str:
    try:
        return services.jobs.spec(job_id).output_bucket
    except UnknownJob:
        return services.settings.output_bucket


def _wanted(lines: Iterable[str | bytes], start: int) -> Iterator[ItemRecord]:
    parsed = (ItemRecord.from_json(line) for line in lines if line.strip())
    return (record for record in parsed if record.index >= start)


def _index(record: ItemRecord) -> int:
    return record.index
