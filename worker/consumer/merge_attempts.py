"""Count the failed attempts to write a job's documents, and give up one that always fails."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from shared.errors import BucketUnavailable, RedisUnavailable, StoreUnavailable
from shared.jobstore.store import JobStore
from shared.jobstore.values import MergeHistory
from shared.objects import PreconditionFailed
from worker.consumer.leases import HeldTicket

logger = logging.getLogger(__name__)

RESULTS: Final = "results.jsonl"
INDEX: Final = "index of shards"
"""Written in place of the results."""
REPORT: Final = "report.html"
MAX_FAILURES: Final = 3
"""Failures with the same class of error after which the job ends without the document."""
MAX_DEATHS: Final = {REPORT: 4, RESULTS: 6, INDEX: 8}
"""Workers that died during the merge, after which the job ends without the document. After two
deaths the ticket is suspect, and the report has no images."""


class MergeStopped(Exception):
    """The merge ended nothing, because the process leaves or the lease is lost."""


OUTAGES: Final = (
    MergeStopped,
    PreconditionFailed,
    BucketUnavailable,
    RedisUnavailable,
    StoreUnavailable,
)
"""Errors that say nothing about the document: the merge is tried again until they pass."""


@dataclass
class MergeAttempts:
    """The attempts of all merges of a job, and what the job ends without."""

    store: JobStore
    held: HeldTicket
    history: MergeHistory
    ended_without: list[str] = field(default_factory=list)
    """Each document that was given up, with the reason."""

    def write(self, document: str, write: Callable[[], None]) -> bool:
        """Call *write*; return False if the job is to end without the document.

        Raises:
            Exception: What *write* raises, as long as the document is not given up.
        """
        reason = self._reason(document)
        if reason is None:
            try:
                write()
            except OUTAGES:
                raise
            except Exception as err:
                reason = self._failed(document, err)
                if reason is None:
                    raise
            else:
                return True
        named = self.held.named(document=document, cause=reason)
        logger.error("job ends without a document", extra=named)
        self.ended_without.append(f"{document} ({reason})")
        return False

    def _reason(self, document: str) -> str | None:
        """Return why earlier merges gave up the document, or None."""
        error = self.history.repeated(document, MAX_FAILURES)
        if error is not None:
            return _repeated(error)
        if self.history.deaths >= MAX_DEATHS[document]:
            return f"{self.history.deaths} workers died during the merge"
        return None

    def _failed(self, document: str, err: Exception) -> str | None:
        """Count the failure; return why the document is given up, or None if it is not yet."""
        error = type(err).__name__
        if self.store.leases.merge_failed(self.held.lease, document, error) < MAX_FAILURES:
            return None
        logger.error("merge failed", extra=self.held.named(document=document), exc_info=err)
        return _repeated(error)


def _repeated(error: str) -> str:
    return f"failed {MAX_FAILURES} times: {error}"
