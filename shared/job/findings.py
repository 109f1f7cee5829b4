"""What a record says against an image: findings on the mask, and checks that outputs failed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shared.job.record import ItemRecord
from shared.job.spec import Json

MASK: Final = "mask"
"""Stands in place of an output in findings on the mask itself."""
NOT_MADE: Final = "not made"
"""Stands in place of a check for an output that could not be made."""
MAX_TEXT: Final = 300
"""Characters of a text that a report shows."""


@dataclass(frozen=True)
class Finding:
    """A check that failed."""

    output: str
    check: str
    value: Json
    """What was measured, or a reason in words; None if there is nothing to add."""
    limit: Json
    is_must: bool
    """Whether it makes the verdict of an image `review`; otherwise it is only noted."""


def findings(record: ItemRecord) -> Iterator[Finding]:
    """Yield the findings of a record."""
    reasons = (record.qc or {}).get("reasons")
    for reason in str(reasons).split("; ") if reasons else ():
        # The reasons of an image repeat the checks of its outputs, each after the output's name.
        if reason.partition(": ")[0] not in record.outputs:
            yield _of_mask(reason[:MAX_TEXT])
    for name, facts in record.outputs.items():
        for is_must, failed in ((True, facts.failed), (False, facts.noted)):
            for check, (value, limit) in failed.items():
                yield Finding(name, check, _shown(value), _shown(limit), is_must)
        if facts.verdict == "error":
            yield Finding(name, NOT_MADE, facts.reason[:MAX_TEXT], None, is_must=True)


def _of_mask(reason: str) -> Finding:
    """Return a finding that is named by its figure: `coverage 0.012 below 0.02`."""
    figure, _, measured = reason.partition(" ")
    if measured[:1].isdigit():
        return Finding(MASK, figure, measured, None, is_must=True)
    return Finding(MASK, reason, None, None, is_must=True)


def _shown(value: Json) -> Json:
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else str(value)
    return value if isinstance(value, int | None) else str(value)[:MAX_TEXT]
