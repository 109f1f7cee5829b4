"""Whether the bucket holds what a job's records say, and what it holds beyond that.

The bucket is listed once, page by page, and laid beside the records in the order of keys; an
object is asked for its metadata only where listing and record leave something open.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Literal

from producer.bounded import each
from producer.results import reader as results
from producer.results.external_sort import in_order
from shared.job.keys import output_folders
from shared.job.spec import TERMINAL_STATES
from shared.objects.object_metadata import BYTES, JOB, PARAMS, is_whole, sequence_of
from shared.objects.protocol import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producer.results.external_sort import Row
    from producer.services import Services
    from shared.job.record import ItemRecord
    from shared.job.spec import JobSpec
    from shared.jobstore.values import JobStatus

ASKERS: Final = 16
"""Threads that ask for metadata; half the connections of the object store."""
CLOCKS_S: Final = 300.0
"""How far the bucket's clock may be from Redis's: what is older than the job by more than this
is not the job's, and is not asked about."""

_CLAIMED: Final = 0
_LISTED: Final = 1
_COLUMNS: Final = 7
"""Of a row to sort: key, `_CLAIMED` or `_LISTED`, and the values of `_Claim` or `ObjectInfo`."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One picture that is not as the records say."""

    fault: Literal["missing", "damaged", "extra"]
    """`extra`: the job wrote it, and no done record claims it."""
    key: str
    reason: str
    index: int | None = None
    """The item, which `extra` pictures have none of; so with the next two."""
    image_key: str | None = None
    output: str | None = None
    verdict: str | None = None
    """The item's quality verdict as it was counted."""


@dataclass(frozen=True)
class _Claim:
    """What a done record says of one of its pictures."""

    index: int
    image_key: str
    output: str
    size_bytes: int | None
    verdict: str | None


@dataclass(frozen=True)
class _Place:
    """A key, what lies there, and which records say that it does."""

    key: str
    found: ObjectInfo | None
    claims: tuple[_Claim, ...]


class Verifier:
    """Looks at one job once."""

    def __init__(self, services: Services, job_id: str, *, deep: bool = False) -> None:
        """Read what the job says.

        Args:
            services: Where to ask.
            job_id: The job.
            deep: Ask every picture for its metadata, and compare its parameters as well.

        Raises:
            UnknownJob: If Redis has no such job (any more).
        """
        self._services = services
        self._deep = deep
        self.status: JobStatus = services.jobs.status(job_id)
        self._spec: JobSpec = services.jobs.spec(job_id)
        self._sequence = services.jobs.sequence(job_id)
        self.pictures = 0
        """Pictures that were looked for so far."""

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong, in the order of keys.

        Of a running job the pictures of the items that are done so far are looked at, and nothing
        is said to lie there beyond them. No fault are pictures that the record found to be
        another's (`kept`, `superseded`), and those that a later job has replaced since.

        Raises:
            StoreUnavailable: If the bucket cannot be asked.
            BucketUnavailable: If it is missing or forbidden.
        """
        for found in each(self._look, self._doubtful(), threads=ASKERS):
            yield from found

    def _doubtful(self) -> Iterator[_Place]:
        """Yield the places that the listing alone does not show to be in order."""
        ended = self.status.state in TERMINAL_STATES
        not_ours_before = self.status.created_at - timedelta(seconds=CLOCKS_S)
        for place in self._places():
            self.pictures += len(place.claims)
            if not place.claims:
                if ended and place.found and place.found.modified_at >= not_ours_before:
                    yield place
            elif self._deep or place.found is None or not _fits(place.found, place.claims):
                yield place

    def _places(self) -> Iterator[_Place]:
        """Yield every key that is claimed or listed, in order.

        The listing is sorted too, as not every store lists in the order of keys.
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
        for record in results.records(self._services, self.status.job_id):
            if record.state == "done" and record.existing not in ("kept", "superseded"):
                yield from _rows(record)

    def _look(self, place: _Place) -> list[Finding]:
        """Ask about one place and judge it."""
        found = place.found and self._services.objects.head(self._spec.output_bucket, place.key)
        if found is None:
            return [_finding(place, claim, "missing", "not there") for claim in place.claims]
        if not place.claims:
            return _beyond(found, self.status.job_id)
        if sequence_of(found) > self._sequence:
            return []
        wrong = ((claim, self._damage(found, claim)) for claim in place.claims)
        return [_finding(place, claim, "damaged", reason) for claim, reason in wrong if reason]

    def _damage(self, found: ObjectInfo, claim: _Claim) -> str | None:
        if claim.size_bytes not in (None, found.size_bytes):
            return f"{found.size_bytes} bytes long, {claim.size_bytes} were written"
        if not is_whole(found):
            return f"{found.size_bytes} bytes long, {found.metadata[BYTES]} were written"
        params = found.metadata.get(PARAMS)
        if self._deep and params != self._spec.params_hash:
            return f"made with parameters {params}, not {self._spec.params_hash}"
        return None


def _row_of(found: ObjectInfo) -> Row:
    modified_at = found.modified_at.isoformat()
    return (found.key, _LISTED, found.size_bytes, found.etag, modified_at, None, None)


def _info_of(row: tuple[Any, ...]) -> ObjectInfo:
    modified_at = datetime.fromisoformat(row[4])
    return ObjectInfo(key=row[0], size_bytes=row[2], etag=row[3], modified_at=modified_at)


def _fits(found: ObjectInfo, claims: tuple[_Claim, ...]) -> bool:
    return all(claim.size_bytes == found.size_bytes for claim in claims)


def _rows(record: ItemRecord) -> Iterator[Row]:
    verdict = (record.qc or {}).get("verdict")
    for output, key in (("cutout", record.cutout_key), ("mask", record.mask_key)):
        if key is not None:
            size_bytes = (record.sizes or {}).get(output)
            yield (key, _CLAIMED, record.index, record.image_key, output, size_bytes, verdict)


def _beyond(found: ObjectInfo, job_id: str) -> list[Finding]:
    if found.metadata.get(JOB) != job_id:
        return []
    return [Finding(fault="extra", key=found.key, reason="no done record claims it")]


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
