"""Read a job's records in item order from the bucket, the accepted shards and Redis."""

import heapq
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Final

from producer.patience import Patience
from producer.services import Services
from shared.errors import ObjectMissing, StoreUnavailable, UnknownJob
from shared.job.keys import results_key, shard_key
from shared.job.record import ItemRecord
from shared.job.shards import Shard, span, sweep
from shared.job.spec import TERMINAL_STATES

SPOOL_BYTES: Final = 8 * 2**20
"""Results above this size are read through a temporary file: they can reach 640 MB."""
FOLLOW_S: Final = 1.0
"""Time between two reads of a job that is followed, in seconds."""
INDEX_START: Final = b'{"shard":'
"""First bytes of an index of shards, which replaces the results of jobs over 1M items."""


def records(services: Services, job_id: str, *, start: int = 0) -> Iterator[ItemRecord]:
    """Yield the records known now, in item order, beginning with item *start*.

    For a job that has ended, these are all records. For a job that is being retried, the latest
    record of each item is yielded, which may be the failure that is being retried.

    Raises:
        UnknownJob: If neither Redis nor the output bucket knows the job.
        StoreUnavailable: If the object store is unavailable.
    """
    if _is_light(services, job_id):
        found = services.jobs.light.result(job_id).records
        yield from (record for record in found if record.index >= start)
        return
    if has_ended(services, job_id):
        yield from _final(services, job_id, start)
        return
    try:
        for record in _so_far(services, job_id, start):
            yield record
            start = record.index + 1
    except ObjectMissing as err:
        if not has_ended(services, job_id):
            raise _missing_shard(job_id, err) from err
        yield from _final(services, job_id, start)


def follow(
    services: Services,
    job_id: str,
    *,
    pause: Callable[[], bool | None] = lambda: time.sleep(FOLLOW_S),
    patience: Patience | None = None,
) -> Iterator[ItemRecord]:
    """Yield each record as soon as it and all earlier ones are known, until the job ends.

    For a job that is being retried, all records are yielded at its end: until then an item's
    record may be the failure that is being retried. See `shards.sweep` for the memory used.

    Args:
        services: The services that hold the job.
        job_id: ID of the job.
        pause: Called between two reads, returns true to stop; by default waits for `FOLLOW_S`.
        patience: Outages to survive; None: none.

    Raises:
        UnknownJob: If neither Redis nor the output bucket knows the job.
    """
    patience = patience or Patience(limit_s=0)
    start, is_over = 0, False
    _ = services.jobs  # without patience: the address may be wrong
    while not is_over:
        with patience:
            ended = has_ended(services, job_id)
            found = _final(services, job_id, start) if ended else _next(services, job_id, start)
            for record in found:
                yield record
                start = record.index + 1
            is_over = ended
        is_over = is_over or bool(pause())


def _next(services: Services, job_id: str, start: int) -> Iterator[ItemRecord]:
    """Yield the records of a running job from *start* up to the first that is not known yet."""
    if services.jobs.queries.status(job_id).generation > 1:
        return
    for index, record in enumerate(records(services, job_id, start=start), start):
        if record.index != index:
            return
        yield record


def record(services: Services, job_id: str, index: int) -> ItemRecord | None:
    """Return the record of item *index*, or None if it is not known (yet).

    Reads the shards of the item while they are there, not the records of the whole job.

    Raises:
        UnknownJob: If neither Redis nor the output bucket knows the job.
        StoreUnavailable: If the object store is unavailable.
    """
    try:
        for found in _latest_first(services, job_id, index):
            return found
    except ObjectMissing:  # shards are deleted some time after the merge
        pass
    first = next(records(services, job_id, start=index), None)
    return first if first is not None and first.index == index else None


def _latest_first(services: Services, job_id: str, index: int) -> Iterator[ItemRecord]:
    """Yield the records of one item: in Redis, then those in its shards from the latest on."""
    held = services.jobs.queries.open_records(job_id)
    yield from (each for each in _wanted(held, index) if each.index == index)
    accepted = services.jobs.queries.accepted_shards(job_id)
    covering = [shard for shard in accepted if index in span(shard)]
    bucket = output_bucket(services, job_id) if covering else ""
    for shard in reversed(covering):
        lines = services.objects.get(bucket, shard_key(job_id, *shard)).data.splitlines()
        yield from (each for each in _wanted(lines, index) if each.index == index)


def failures(services: Services, job_id: str) -> Iterator[ItemRecord]:
    """Yield the records of failed items; see `records`."""
    return (record for record in records(services, job_id) if record.state == "failed")


def has_ended(services: Services, job_id: str) -> bool:
    """Return whether the job's records are in the bucket, as those of a deleted job are."""
    try:
        return services.jobs.queries.status(job_id).state in TERMINAL_STATES
    except UnknownJob:
        return True


def _is_light(services: Services, job_id: str) -> bool:
    try:
        return services.jobs.queries.spec(job_id).light
    except UnknownJob:
        return False


def _final(services: Services, job_id: str, start: int) -> Iterator[ItemRecord]:
    """Yield the records of a job that has ended or that Redis has deleted.

    Shards are read only if there are no results: the results outlive them.
    """
    bucket = output_bucket(services, job_id)
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as lines:
        try:
            services.objects.download(bucket, results_key(job_id), lines)
        except ObjectMissing as err:
            accepted = services.jobs.queries.accepted_shards(job_id)
            if not accepted:
                raise UnknownJob(f"job {job_id} not found in Redis or bucket {bucket}") from err
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
        raise _missing_shard(job_id, err) from err


def _indexed(line: bytes) -> Shard:
    """Return the shard that a line of the index names."""
    entry = json.loads(line)
    epoch = entry["shard"].removesuffix(".jsonl").rpartition(".")[2]
    return entry["items"], int(epoch)


def _so_far(services: Services, job_id: str, start: int) -> Iterator[ItemRecord]:
    """Yield the known records of a running job.

    Open records are read from Redis before the list of shards: a range that is closed between
    the two reads is then found twice, never missed.
    """
    held = sorted(_wanted(services.jobs.queries.open_records(job_id), start), key=_index)
    accepted = services.jobs.queries.accepted_shards(job_id)
    bucket = output_bucket(services, job_id)
    shards = _from_shards(services, bucket, job_id, accepted, start)
    # Of two records with the same index, the open one comes first: it is newer.
    for _, same in groupby(heapq.merge(held, shards, key=_index), key=_index):
        yield next(same)


def _from_shards(
    services: Services, bucket: str, job_id: str, accepted: list[Shard], start: int
) -> Iterator[ItemRecord]:
    wanted = [shard for shard in accepted if span(shard).stop > start]

    def read(shard: Shard) -> bytes:
        return services.objects.get(bucket, shard_key(job_id, *shard)).data

    return _wanted(sweep(wanted, read), start)


def _missing_shard(job_id: str, err: ObjectMissing) -> StoreUnavailable:
    return StoreUnavailable(f"a shard of job {job_id} is missing from the bucket: {err}")


def output_bucket(services: Services, job_id: str) -> str:
    """Return the output bucket of a job; that of the settings once Redis has deleted the job."""
    try:
        return services.jobs.queries.spec(job_id).output_bucket
    except UnknownJob:
        return services.settings.output_bucket


def _wanted(lines: Iterable[str | bytes], start: int) -> Iterator[ItemRecord]:
    parsed = (ItemRecord.from_json(line) for line in lines if line.strip())
    return (record for record in parsed if record.index >= start)


def _index(record: ItemRecord) -> int:
    return record.index
