"""Which images of a job a person should decide about, and how doubtful each is."""

import heapq
from collections.abc import Iterable, Iterator
from typing import Final, Literal

from pydantic import ConfigDict

from shared.document import Document, Text
from shared.job.findings import findings
from shared.job.keys import JOBS
from shared.job.record import ItemRecord

MOST: Final = 100_000
"""Most images that a job's list of doubts has: the most doubtful ones."""
_REJECT: Final = 10.0
_MOST_FINDINGS: Final = 8


class Doubt(Document):
    """A line of `review.jsonl`. Fields that a later version added are ignored."""

    model_config = ConfigDict(extra="ignore")

    index: int
    doubt: float
    """Higher is more doubtful: 10 for the verdict `reject`, 1 for each finding up to 8, and the
    uncertainty of the mask, from 0 to 1."""
    verdict: Literal["review", "reject"]
    checks: tuple[Text, ...]
    """Figures and checks that are the reason."""


def doubt_of(record: ItemRecord) -> Doubt | None:
    """Return the doubt about an item; None for one that is good, or has failed."""
    verdict = record.verdict
    if verdict not in ("review", "reject"):
        return None
    checks = tuple(dict.fromkeys(each.check for each in findings(record) if each.is_must))
    uncertainty = (record.qc or {}).get("uncertainty")
    return Doubt(
        index=record.index,
        doubt=(_REJECT if verdict == "reject" else 0.0)
        + min(len(checks), _MOST_FINDINGS)
        + (float(uncertainty) if isinstance(uncertainty, int | float) else 0.0),
        verdict="reject" if verdict == "reject" else "review",
        checks=checks,
    )


class Doubts:
    """Collects the most doubtful images of a job, in bounded memory."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._found: list[tuple[float, int, str]] = []

    def add(self, record: ItemRecord) -> None:
        """Add the doubt about *record*, if there is one."""
        doubt = doubt_of(record)
        if doubt is None:
            return
        entry = (doubt.doubt, -doubt.index, doubt.model_dump_json())
        if len(self._found) < self._most:
            heapq.heappush(self._found, entry)
        else:
            heapq.heappushpop(self._found, entry)

    def lines(self) -> Iterator[str]:
        """Yield the lines of `review.jsonl`, the most doubtful image first."""
        return (f"{line}\n" for _, _, line in sorted(self._found, reverse=True))


def read(lines: Iterable[bytes | str]) -> Iterator[Doubt]:
    """Yield the doubts in the lines of `review.jsonl`."""
    return (Doubt.model_validate_json(line) for line in lines if line.strip())


def doubts_key(job_id: str) -> str:
    """Return the key of a job's list of doubts."""
    return f"{JOBS}/{job_id}/review.jsonl"
