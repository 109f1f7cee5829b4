"""Bodies of requests and responses about single images and what people decided about them."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, Field, computed_field

from producer.gateway.problems import ProblemDocument
from producer.gateway.schemas import Body, LinkedRecord, ModelName
from producer.results.reviewed import Reviewed
from shared.job.options import PictureOptions
from shared.job.record import ItemRecord
from shared.job.review import NOTE_CHARS, Choice, Decision, StoredReview
from shared.job.thresholds import Thresholds

_ETAG_CHARS = 256


class Redo(Body):
    """How to process an image again; what is left out stays as it is."""

    model: ModelName | None = None
    """Model of `/v1/models`."""
    options: PictureOptions | None = None
    thresholds: Thresholds | None = None


class ReviewRequest(Body):
    """A decision about an image, or a note."""

    decision: Choice
    note: Annotated[str, Field(max_length=NOTE_CHARS)] = ""
    if_match: Annotated[str | None, Field(max_length=_ETAG_CHARS)] = None
    """`etag` of the review that the decision follows; left out for the first decision."""
    output_etag: Annotated[str | None, Field(max_length=_ETAG_CHARS)] = None
    """`output_etag` of the image that was looked at: the decision is refused if the image has been
    replaced since."""
    redo: Redo = Redo()
    """How to process the image again, for the decision `redo`."""


class ReviewView(BaseModel):
    """What people decided about an image."""

    decision: Choice | None
    """The decision that stands; null if there is none, and after `undo`."""
    note: str
    """Of the latest entry, as `who` and `at`."""
    who: str
    """Name of the API key."""
    at: datetime
    etag: str
    """Version of the review, for `if_match` of the next decision."""
    stale: bool
    """Whether the image has been replaced since the decision."""
    child: str | None
    """ID of the job that processes the image again, if the decision is `redo`."""
    history: list[Decision]
    """All decisions and notes, the latest last."""

    @classmethod
    def of(cls, stored: StoredReview, *, stale: bool = False) -> Self:
        """Return what a response shows of a review."""
        latest, standing = stored.review.latest, stored.review.standing
        return cls(
            decision=None if standing is None else standing.decision,
            note=latest.note,
            who=latest.who,
            at=latest.at,
            etag=stored.etag,
            stale=stale,
            child=None if standing is None else standing.child,
            history=list(stored.review.history),
        )


class ReviewProblem(ProblemDocument):
    """A problem that shows the decision that stands."""

    review: ReviewView | None = None


class ReviewedRecord(LinkedRecord):
    """The record of an image with the decision about it."""

    review: ReviewView | None = None

    @classmethod
    def of(cls, linked: LinkedRecord, reviewed: Reviewed) -> Self:
        """Return *linked* with the review of *reviewed*, which is left out if there is none."""
        fields = {name: getattr(linked, name) for name in linked.model_fields_set}
        if reviewed.stored is not None:
            fields["review"] = ReviewView.of(reviewed.stored, stale=reviewed.is_stale)
        return cls.model_validate(fields)


class ReviewedPage(BaseModel):
    """A page of records in the order of the job's images."""

    records: list[ReviewedRecord]
    next: int | None
    """The `cursor` of the next page; null on the last one."""


class ItemFile(BaseModel):
    """A file of an image."""

    name: str
    """`source`, `preview` or an output."""
    url: str
    """Address at this gateway."""


class ItemView(ItemRecord):
    """The record of an image, its files, and what people decided about it."""

    reasons: list[str]
    """Why the image needs a look: figures of its mask, and checks that its outputs failed."""
    files: list[ItemFile]
    output_etag: str | None
    """Version of the main output; null if there is none."""
    review: ReviewView | None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> str | None:
        """`ok`, `review` or `reject`; null for a failed image."""
        return super().verdict
