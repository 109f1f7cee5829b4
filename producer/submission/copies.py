"""The copies of images that a job's recipes name, in the output bucket."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from shared.errors import ServiceUnavailable
from shared.job.keys import asset_key
from shared.job.notes import ended_key
from shared.jobstore.submissions import Submission
from shared.objects import ObjectStore


@dataclass(frozen=True)
class Copies:
    """What is written for a job before it exists; nothing if its recipes name no image."""

    objects: ObjectStore
    bucket: str
    job_id: str
    """ID of the job if it is created."""
    images: Mapping[str, bytes]
    """Images by SHA-256."""

    @classmethod
    def of(cls, objects: ObjectStore, submission: Submission, images: Mapping[str, bytes]) -> Self:
        """Return the copies that the job of *submission* needs."""
        job_id = submission.job_id or submission.proposed
        return cls(objects, submission.spec.output_bucket, job_id, images)

    def write(self) -> None:
        """Write the images; a repetition writes the same.

        A note comes first: if no job is created and this process dies, housekeeping finds the
        images by it.
        """
        if not self.images:
            return
        note = ended_key(self.job_id, datetime.now(UTC).date())
        self.objects.put(self.bucket, note, b"", content_type="text/plain")
        for sha256, data in self.images.items():
            key = asset_key(self.job_id, sha256)
            self.objects.put(self.bucket, key, data, content_type="application/octet-stream")

    def delete(self, *, but: Collection[str] = ()) -> None:
        """Delete the images, as the job was not created; keep those with a SHA-256 in *but*.

        If the store cannot be asked, housekeeping deletes them.
        """
        left = [asset_key(self.job_id, sha256) for sha256 in self.images if sha256 not in but]
        if left:
            with suppress(ServiceUnavailable):
                self.objects.delete(self.bucket, left)
