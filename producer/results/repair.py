"""Process the items again whose outputs are missing or damaged."""

from collections import Counter
from collections.abc import Iterable, Iterator

from producer.results.verify import Finding
from producer.services import Services
from shared.errors import JobNotDone
from shared.job.spec import JobState
from shared.jobstore.values import JobStatus


class Repair:
    """A selection of a job's items; `reopen` starts them again.

    Extra outputs stay in the bucket: a producer never deletes outputs.
    """

    def __init__(self, services: Services, status: JobStatus) -> None:
        """Start with no item.

        Args:
            services: The services that hold the job.
            status: The job's status from before the bucket was listed.

        Raises:
            JobNotDone: If the job is still running or was cancelled.
        """
        if status.state is not JobState.DONE:
            raise JobNotDone(
                f"job {status.job_id} is {status.state.value}; only a done job can be repaired"
            )
        self._services = services
        self._status = status
        self._bitmap = bytearray(-(-status.total // 8))
        self._verdicts: Counter[str] = Counter()

    def collect(self, findings: Iterable[Finding]) -> Iterator[Finding]:
        """Yield *findings* and select their items."""
        for finding in findings:
            if finding.index is not None:
                self._select(finding.index, finding.verdict)
            yield finding

    def reopen(self) -> int:
        """Start the selected items again, and return their number.

        Waits until that is on Redis' disk.

        Raises:
            JobNotDone: If the job was restarted since its status was read.
        """
        items = self._services.jobs.submissions.reopen(
            self._status.job_id,
            bytes(self._bitmap),
            generation=self._status.generation,
            verdicts=self._verdicts,
        )
        self._services.feed()
        self._services.persist()
        return items

    def _select(self, index: int, verdict: str | None) -> None:
        """Select an item once, even if both of its outputs have a fault."""
        byte, bit = index // 8, 0x80 >> index % 8
        if not self._bitmap[byte] & bit:
            self._bitmap[byte] |= bit
            self._verdicts.update([verdict] if verdict else ())
