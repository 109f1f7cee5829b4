"""Count the checks that outputs of a job failed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from shared.job.record import ItemRecord


@dataclass(frozen=True)
class FailedCheck:
    """A check that must pass and failed for some images."""

    output: str
    check: str
    images: int
    first: str
    """Key of the first of these images."""


def failed_checks(records: Iterable[ItemRecord]) -> list[FailedCheck]:
    """Return the checks that failed, by output, those of most images first."""
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], str] = {}
    for record in records:
        for output, facts in record.outputs.items():
            for check in facts.failed:
                counts[output, check] += 1
                first.setdefault((output, check), record.image_key)
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return [FailedCheck(*named, images, first[named]) for named, images in ordered]
