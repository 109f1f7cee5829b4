"""Copies of the reviews of a job's items in Redis, which save a listing of the bucket."""

from collections.abc import Iterable, Sequence
from typing import Final

from shared.job.review import StoredReview
from shared.jobstore import layout
from shared.jobstore.connection import StorePart, to_bytes, to_ms

KEEP_S: Final = 300.0
"""How long copies count, in seconds: a gateway that dies between a decision and its copy hides
the decision from lists for as long."""
_COMPLETE: Final = b"complete"
"""Field without a review: all reviews of the job are in the hash."""


class Reviews(StorePart):
    """Copies of reviews; the objects in the bucket are the truth."""

    def cached(self, job_id: str) -> list[StoredReview] | None:
        """Return all reviews of a job, or None if they must be read from the bucket."""
        with self.connection.commands() as client:
            found = client.hgetall(layout.job(job_id, "reviews"))
        if _COMPLETE not in found:
            return None
        texts = (to_bytes(text) for name, text in found.items() if name != _COMPLETE)
        return [StoredReview.model_validate_json(text.split(b":", 2)[2]) for text in texts]

    def keep(self, job_id: str, reviews: Sequence[StoredReview]) -> None:
        """Keep copies of all reviews of a job for `KEEP_S`; a newer copy stays."""
        self._cache(job_id, reviews, complete=1)

    def update(self, job_id: str, review: StoredReview) -> None:
        """Keep a copy of one review; it counts once all reviews of its job are kept."""
        self._cache(job_id, [review], complete=0)

    def _cache(self, job_id: str, reviews: Iterable[StoredReview], *, complete: int) -> None:
        rows = [_row(each) for each in reviews]
        keep_ms = to_ms(KEEP_S)
        self.connection.run("cache_reviews", rows, job=job_id, keep_ms=keep_ms, complete=complete)


def _row(stored: StoredReview) -> tuple[int, int, int, str]:
    review = stored.review
    return review.index, len(review.history), review.decided_by, stored.model_dump_json()
