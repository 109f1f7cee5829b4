"""Hand out the images of jobs that a person should decide about, each to one person at a time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from shared.job.doubts import Doubt
from shared.jobstore.connection import StorePart, to_ms

LEASE_S: Final = 120.0
"""How long a person has an image for themselves without claiming again, in seconds."""
KEEP_S: Final = 3600.0
"""How long a queue is kept after the last claim, in seconds; it is rebuilt when it is needed."""
_ROWS: Final = 1000
_LEAST: Final = 0.01
"""Least doubt in a queue: there, what is below 0 is decided."""
_INDEX: Final = 1e-13
"""Of equally doubtful images the first comes first; doubts differ by more than 2**31 of these."""


@dataclass(frozen=True)
class Wanted:
    """Which images a person wants to decide about."""

    verdict: str = ""
    """`review` or `reject`; empty for both."""
    check: str = ""
    """A figure or check that is the reason; empty for all."""


ANY: Final = Wanted()


@dataclass(frozen=True)
class Claimed:
    """What a claim has leased."""

    items: list[tuple[str, int]]
    """Job and index of each image."""
    waiting: int
    """Undecided images of all jobs, leased ones included, whatever is wanted."""
    missing: list[str]
    """Jobs without a queue of their generation: fill it and claim again."""


@dataclass(frozen=True)
class QueuedDoubt:
    """A doubtful image, and whether it needs a decision."""

    doubt: Doubt
    is_decided: bool
    outdated: int = 0
    """Number of entries of its review that are about an image which has been replaced since."""


class ReviewQueue(StorePart):
    """The doubtful images of jobs, by their doubt, and who looks at which."""

    def fill(self, job_id: str, generation: int, doubts: Iterable[QueuedDoubt]) -> None:
        """Replace the queue of a job by *doubts*; give the most doubtful ones first."""
        rows, is_first, is_last = map(_row, doubts), True, False
        while not is_last:
            part = list(islice(rows, _ROWS))
            is_last = len(part) < _ROWS
            self.connection.run(
                "fill_review_queue",
                part,
                job=job_id,
                generation=generation,
                first=int(is_first),
                last=int(is_last),
                keep_ms=to_ms(KEEP_S),
            )
            is_first = False

    def claim(
        self, jobs: Mapping[str, int], holder: str, count: int, wanted: Wanted = ANY
    ) -> Claimed:
        """Lease the most doubtful undecided images of *jobs* to *holder*, for `LEASE_S`.

        Images that *holder* has are renewed and count.

        Args:
            jobs: Generation of each job.
            holder: Who looks at them: the name of an API key and a tab.
            count: Most images; what *holder* has beyond is released.
            wanted: Which images.
        """
        missing, found, waiting = self.connection.run(
            "claim_reviews",
            list(jobs.items()),
            holder=holder,
            count=count,
            ttl_ms=to_ms(LEASE_S),
            keep_ms=to_ms(KEEP_S),
            verdict=wanted.verdict,
            check=wanted.check,
        )
        pairs = zip(found[::2], found[1::2], strict=True)
        items = [(job.decode(), int(index)) for job, index in pairs]
        return Claimed(items, int(waiting), [job.decode() for job in missing])

    def release(self, holder: str) -> None:
        """End all leases of *holder*."""
        self.connection.run("release_reviews", holder=holder)


def _row(queued: QueuedDoubt) -> Sequence[str | int]:
    doubt = queued.doubt
    facts = f"{queued.outdated};{doubt.verdict};,{','.join(doubt.checks)},"
    level = max(doubt.doubt, _LEAST) - doubt.index * _INDEX
    return doubt.index, f"{level:.17g}", facts, int(queued.is_decided)
