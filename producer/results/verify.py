"""Compare a job's records with the bucket.

The bucket is listed once, page by page, and merged with the records in the order of keys. An
object's metadata is requested only if listing and record do not decide.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, Final, Literal

from producer.bounded import each
from producer.results import reader
from producer.results.external_sort import Row, in_order
from producer.services import Services
from shared.job.output_keys import output_folders
from shared.job.record import ItemRecord
from shared.job.spec import TERMINAL_STATES
from shared.job.written import WrittenObject, written_objects
from shared.objects.object_metadata import BYTES, JOB, PARAMS, is_whole, sequence_of
from shared.objects.protocol import ObjectInfo

METADATA_THREADS: Final = 16
"""Threads that request metadata; half the connections of the object store."""
CLOCK_SKEW_S: Final = 300.0
"""Largest difference between the clocks of bucket and Redis, in seconds: an object that is older
than the job by more than this is not the job's."""

_CLAIMED: Final = 0
_LISTED: Final = 1
_COLUMNS: Final = 8
"""Of a row to sort: key, `_CLAIMED` or `_LISTED`, and the values of `_Claim` or `ObjectInfo`."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One output that differs from the job's records."""

    fault: Literal["missing", "damaged", "extra"]
    """`extra`: the job wrote the output, but no done record names it."""
    key: str
    reason: str
    index: int | None = None
    """The item's index; None for `extra`, as are the next two fields."""
    image_key: str | None = None
    output: str | None = None
    verdict: str | None = None
    """The item's quality verdict in the job's counters."""


@dataclass(frozen=True)
class _Claim:
    """One output that a record names."""

    index: int
    image_key: str
    output: str
    size_bytes: int | None
    verdict: str | None
    state: str
    """`failed` if another output of the item could not be rendered; then it is only not extra."""


@dataclass(frozen=True)
class _Place:
    """A key, the listed object at it, and the claims of records to it."""

    key: str
    found: ObjectInfo | None
    claims: tuple[_Claim, ...]


class Verifier:
    """One comparison of one job with the bucket."""

    def __init__(self, services: Services, job_id: str, *, deep: bool = False) -> None:
        """Read the job's status and document.

        Args:
            services: The services that hold the job.
            job_id: ID of the job.
            deep: Request every output's metadata, and compare its parameters too.

        Raises:
            UnknownJob: If Redis does not know the job.
        """
        self._services = services
        self._deep = deep
        self.status = services.jobs.queries.status(job_id)
        self._spec = services.jobs.queries.spec(job_id)
        self._sequence = services.jobs.queries.sequence(job_id)
        self.checked = 0
        """Outputs checked so far."""

    def findings(self) -> Iterator[Finding]:
        """Yield the faults in the order of keys.

        For a running job, only outputs of items that are done are checked, and no output is
        reported as extra. Outputs that the record marks as another job's (`kept`, `superseded`)
        and outputs that a later job has replaced are not faults.

        Raises:
            StoreUnavailable: If the object store is unavailable.
            BucketUnavailable: If the bucket is missing or access is denied.
        """
        for found in each(self._look, self._doubtful(), threads=METADATA_THREADS):
            yield from found

    def _doubtful(self) -> Iterator[_Place]:
        """Yield the places that may have a fault, as far as the listing shows."""
        ended = self.status.state in TERMINAL_STATES
        oldest = self.status.created_at - timedelta(seconds=CLOCK_SKEW_S)
        for place in self._places():
            done = [claim for claim in place.claims if claim.state == "done"]
            self.checked += len(done)
            if not place.claims:
                if ended and place.found and place.found.modified_at >= oldest:
                    yield place
            elif (self._deep and done) or any(
                place.found is None or claim.size_bytes != place.found.size_bytes for claim in done
            ):
                yield place

    def _places(self) -> Iterator[_Place]:
        """Yield every claimed or listed key in order.

        The listing is sorted too, because not every store lists keys in order.
        """
        folders = output_folders(self._spec, self.status.job_id)
        bucket, objects = self._spec.output_bucket, self._services.objects
        listing = chain.from_iterable(objects.list(bucket, folder) for folder in folders)
        # Claims are read before the listing, so that the listing cannot be older.
        rows = chain(self._claims(), map(_row_of, listing))
        for key, group in groupby(in_order(rows, columns=_COLUMNS), key=itemgetter(0)):
            pairs = [(row[1], row) for row in group]
            claims = tuple(_Claim(*row[2:]) for kind, row in pairs if kind == _CLAIMED)
            found = next((_info_of(row) for kind, row in pairs if kind == _LISTED), None)
            yield _Place(key, found, claims)

    def _claims(self) -> Iterator[Row]:
        for record in reader.records(self._services, self.status.job_id):
            for written in written_objects(self._spec, self.status.job_id, record):
                if written.is_ours:
                    yield _row_of_claim(record, written)

    def _look(self, place: _Place) -> list[Finding]:
        """Request the object's metadata and return the faults."""
        done = [claim for claim in place.claims if claim.state == "done"]
        found = place.found and self._services.objects.head(self._spec.output_bucket, place.key)
        if found is None:
            return [_finding(place, claim, "missing", "not in the bucket") for claim in done]
        if not place.claims:
            is_ours = found.metadata.get(JOB) == self.status.job_id
            reason = "no record of a done image names it"
            return [Finding(fault="extra", key=found.key, reason=reason)] if is_ours else []
        if sequence_of(found) > self._sequence:
            return []
        damage = ((claim, self._damage(found, claim)) for claim in done)
        return [_finding(place, claim, "damaged", reason) for claim, reason in damage if reason]

    def _damage(self, found: ObjectInfo, claim: _Claim) -> str | None:
        if claim.size_bytes not in (None, found.size_bytes):
            return f"{found.size_bytes} bytes instead of {claim.size_bytes}"
        if not is_whole(found):
            return f"{found.size_bytes} bytes instead of {found.metadata[BYTES]}"
        params, expected = found.metadata.get(PARAMS), self._spec.hashes_of(claim.output)
        if self._deep and params not in expected:
            return f"parameters {params} instead of {' or '.join(sorted(expected))}"
        return None


def _row_of(found: ObjectInfo) -> Row:
    modified_at = found.modified_at.isoformat()
    return (found.key, _LISTED, found.size_bytes, found.etag, modified_at, None, None, None)


def _info_of(row: tuple[Any, ...]) -> ObjectInfo:
    modified_at = datetime.fromisoformat(row[4])
    return ObjectInfo(key=row[0], size_bytes=row[2], etag=row[3], modified_at=modified_at)


def _row_of_claim(record: ItemRecord, written: WrittenObject) -> Row:
    return (
        written.key,
        _CLAIMED,
        record.index,
        record.image_key,
        written.output,
        written.size_bytes,
        record.verdict,
        record.state,
    )


def _finding(
    place: _Place, claim: _Claim, fault: Literal["missing", "damaged"], reason: str
) -> Finding:
    return Finding(
        fault=fault,
        key=place.key,
        reason=reason,
        index=claim.index,
        image_key=claim.image_key,
        output=claim.output,
        verdict=claim.verdict,
    )
