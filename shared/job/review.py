"""What people decided about an item: a document beside the records of its job."""

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field

from shared.document import Document, Text
from shared.job.keys import JOBS

NOTE_CHARS = 2000
"""Longest note."""


class Choice(StrEnum):
    """A decision about an item."""

    ACCEPT = "accept"
    REJECT = "reject"
    REDO = "redo"
    """Process the image again with other options."""
    UNDO = "undo"
    """Take the decision that stands back; the item is undecided again."""
    NOTE = "note"
    """Only a note; the decision that stands stays."""


class Decision(Document):
    """One decision. Fields that a later version added are ignored."""

    model_config = ConfigDict(extra="ignore")

    decision: Choice
    note: Annotated[Text, Field(max_length=NOTE_CHARS)] = ""
    who: str
    """Name of the API key."""
    at: AwareDatetime
    generation: int
    """Generation of the job that wrote what was decided about."""
    etag: str | None
    """ETag of the output that was decided about; None if the item has no output."""
    child: str | None = None
    """ID of the job that processes the image again, after `redo`."""

    def is_about(self, etag: str | None, generation: int) -> bool:
        """Return whether the output that was decided about is the one with *etag*.

        An item without output is compared by its generation.
        """
        return self.etag == etag and (etag is not None or self.generation == generation)


class Review(Document):
    """All decisions about an item and notes, the latest last."""

    model_config = ConfigDict(extra="ignore")

    index: int
    history: Annotated[tuple[Decision, ...], Field(min_length=1)]

    @property
    def latest(self) -> Decision:
        """The latest entry, which may be a note."""
        return self.history[-1]

    @property
    def standing(self) -> Decision | None:
        """The decision that stands; None if there is none or it was taken back."""
        return self.history[self.decided_by - 1] if self.decided_by else None

    @property
    def decided_by(self) -> int:
        """Number of the entry that stands, counted from 1; 0 if none does."""
        for number, each in reversed(list(enumerate(self.history, 1))):
            if each.decision is not Choice.NOTE:
                return 0 if each.decision is Choice.UNDO else number
        return 0

    def followed_by(self, decision: Decision) -> "Review":
        """Return the review with one more decision."""
        return self.model_copy(update={"history": (*self.history, decision)})


class StoredReview(Document):
    """A review and the ETag of its object, which the next decision must name."""

    etag: str
    review: Review


def review_folder(job_id: str) -> str:
    """Return the prefix of all reviews of a job."""
    return f"{JOBS}/{job_id}/reviews/"


def review_key(job_id: str, index: int) -> str:
    """Return the key of the review of item *index*."""
    return f"{review_folder(job_id)}{index}.json"


def folded_key(job_id: str) -> str:
    """Return the key of the copy of a job's reviews in one object, one `StoredReview` a line."""
    return f"{JOBS}/{job_id}/reviews.jsonl"
