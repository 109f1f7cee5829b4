"""Collect what a report shows from the records of a job, in bounded memory."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Self

from shared.job.doubts import Doubts
from shared.job.findings import findings
from shared.job.record import ItemRecord
from worker.consumer.report.figures import Figures
from worker.consumer.report.previews import Choice
from worker.consumer.report.rows import Rows

_CHECKED_LINES: Final = 1_000


@dataclass(frozen=True)
class Contents:
    """What the records of a job say."""

    rows: Rows
    figures: Figures
    choice: Choice
    doubts: Doubts

    @classmethod
    def of(
        cls,
        lines: Iterable[bytes],
        *,
        total: int,
        every: int,
        check: Callable[[], None] = lambda: None,
    ) -> Self:
        """Return the contents of a report of the records in *lines*.

        Args:
            lines: The records of a job, or none if it has no file of them.
            total: Items of the job.
            every: Stride of its previews; see `JobSpec.preview_stride`.
            check: Called before each thousand records; what it raises ends the call.

        Raises:
            ValueError: If a line is no record.
        """
        contents = cls(Rows(), Figures(), Choice(total=total, every=every), Doubts())
        for n, line in enumerate(lines):
            if n % _CHECKED_LINES == 0:
                check()
            record = ItemRecord.from_json(line)
            found = tuple(findings(record))
            contents.rows.add(record, found)
            contents.figures.add(record, found)
            contents.choice.add(record, len(found))
            contents.doubts.add(record)
        return contents
