"""From what a look at the bucket has found to a job that does exactly those items again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from shared.errors import JobNotDone
from shared.job.spec import JobState

if TYPE_CHECKING:
    from producer.results.verify import Finding
    from producer.services import Services
    from shared.jobstore.values import JobStatus


class Repair:
    """Gathers the items of findings; `reopen` has them done again.

    What lies in the bucket beyond the records stays: nobody here may delete pictures.
    """

    def __init__(self, services: Services, status: JobStatus) -> None:
        """Begin with no item.

        Args:
            services: Where the job is.
            status: The job's, from before it was looked at.

        Raises:
            JobNotDone: If it is under way, or cancelled.
        """
        if status.state is not JobState.DONE:
            raise JobNotDone(
                f"job {status.job_id} is {status.state.value}; only a done job can be repaired"
            )
        self._services = services
        self._status = status
        self._bitmap = bytearray(-(-status.total // 8))
        self._verdicts: Counter[str] = Counter()

    def add(self, finding: Finding) -> None:
        """Count in the finding's item, once; both pictures of an item are written together."""
        if finding.index is None:
            return
        byte, bit = finding.index // 8, 0x80 >> finding.index % 8
        if not self._bitmap[byte] & bit:
            self._bitmap[byte] |= bit
            self._verdicts.update([finding.verdict] if finding.verdict else ())

    def reopen(self) -> int:
        """Have the items done again, and return how many those are.

        Raises:
            JobNotDone: If the job was opened again since it was looked at.
        """
        count = self._services.jobs.submissions.reopen(
            self._status.job_id,
            bytes(self._bitmap),
            generation=self._status.generation,
            verdicts=self._verdicts,
        )
        self._services.feed()
        return count
