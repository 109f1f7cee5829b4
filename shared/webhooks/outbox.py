"""Deliveries in the output bucket, which a loss of Redis does not touch.

`_jobs/{job}/webhooks/{id}.json` holds a delivery. Whoever changes it says which version it has
read, so that two gateways never attempt the same delivery at once. An empty object below
`_jobs/.webhooks/{state}/` notes each one that is pending or dead, so that a listing finds them
however many jobs the bucket holds. The document is the truth: it is written before its note, and
a note that does not fit is corrected by whoever meets it.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.errors import ObjectMissing
from shared.job.keys import JOBS
from shared.objects import ObjectStore, PreconditionFailed
from shared.webhooks.delivery import Delivery, DeliveryState

NOTES: Final = f"{JOBS}/.webhooks"
"""Folder of the notes; no job ID begins with a dot."""
WEBHOOK_ID: Final = re.compile(r"wh_[0-9a-f]{40}")
_NOTED: Final = (DeliveryState.PENDING, DeliveryState.DEAD)


@dataclass(frozen=True)
class Stored:
    """A delivery as it was read."""

    delivery: Delivery
    etag: str


@dataclass(frozen=True)
class Note:
    """What a listing says of a delivery."""

    job_id: str
    webhook_id: str
    etag: str
    """Another one after the delivery was begun again."""


@dataclass(frozen=True)
class Outbox:
    """The deliveries in one bucket.

    Methods raise `StoreUnavailable` and `BucketUnavailable` as `ObjectStore` does.
    """

    objects: ObjectStore
    bucket: str

    def add(self, delivery: Delivery) -> None:
        """Write a new delivery; one with the same ID stays as it is."""
        with suppress(PreconditionFailed):  # written by an earlier merge of the same shards
            self._put(delivery, if_absent=True)
        self._note(delivery)

    def find(self, job_id: str, webhook_id: str) -> Stored | None:
        """Return a delivery, or None if there is none."""
        return self._read(f"{_folder(job_id)}{webhook_id}.json")

    def of_job(self, job_id: str) -> Iterator[Stored]:
        """Yield all deliveries of a job."""
        for each in self.objects.list(self.bucket, _folder(job_id)):
            if (found := self._read(each.key)) is not None:
                yield found

    def notes(self, state: DeliveryState) -> Iterator[Note]:
        """Yield the notes of deliveries that are pending or dead."""
        for each in self.objects.list(self.bucket, f"{NOTES}/{state}/"):
            _, job_id, webhook_id = each.key.rsplit("/", 2)
            yield Note(job_id, webhook_id, each.etag)

    def replace(self, old: Stored, new: Delivery) -> Stored | None:
        """Write *new* in place of *old*; return None if that was changed meanwhile."""
        try:
            return Stored(new, self._put(new, if_match=old.etag))
        except PreconditionFailed:
            return None

    def begin_again(self, job_id: str, webhook_id: str, now: datetime) -> Delivery | None:
        """Let a delivery be attempted from *now* on, in whatever state it is; None if unknown."""
        while (found := self.find(job_id, webhook_id)) is not None:
            new = found.delivery.again(now)
            if self.replace(found, new) is not None:
                self._note(new)
                self.objects.delete(self.bucket, [_note_key(DeliveryState.DEAD, new)])
                return new
        return None

    def end(self, delivery: Delivery) -> None:
        """Correct the notes of a delivery that is not pending any more."""
        if delivery.state is DeliveryState.DEAD:
            self._note(delivery)
        self.objects.delete(self.bucket, [_note_key(DeliveryState.PENDING, delivery)])
        found = self.find(delivery.job_id, delivery.webhook_id)
        if found is not None and found.delivery.state is DeliveryState.PENDING:
            self._note(found.delivery)  # somebody has begun it again meanwhile

    def forget(self, note: Note) -> None:
        """Delete a note of a pending delivery whose document is gone."""
        key = f"{NOTES}/{DeliveryState.PENDING}/{note.job_id}/{note.webhook_id}"
        self.objects.delete(self.bucket, [key])

    def _put(
        self, delivery: Delivery, *, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        return self.objects.put(
            self.bucket,
            f"{_folder(delivery.job_id)}{delivery.webhook_id}.json",
            delivery.model_dump_json().encode(),
            content_type="application/json",
            if_absent=if_absent,
            if_match=if_match,
        )

    def _note(self, delivery: Delivery) -> None:
        begun = delivery.next_at.isoformat().encode()
        key = _note_key(delivery.state, delivery)
        self.objects.put(self.bucket, key, begun, content_type="text/plain")

    def _read(self, key: str) -> Stored | None:
        try:
            body = self.objects.get(self.bucket, key)
        except ObjectMissing:
            return None
        return Stored(Delivery.model_validate_json(body.data), body.etag)


def _folder(job_id: str) -> str:
    return f"{JOBS}/{job_id}/webhooks/"


def _note_key(state: DeliveryState, delivery: Delivery) -> str:
    return f"{NOTES}/{state}/{delivery.job_id}/{delivery.webhook_id}"
