"""One job at the end of a run: what it was to do, its status and its records."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

from expected import is_wrongly_blamed
from jobs import PlannedJob
from system import System

from shared.job.record import ItemRecord
from shared.job.spec import JobState
from shared.job.written import written_objects
from shared.jobstore.values import JobStatus


@dataclass(frozen=True)
class Report:
    """A job and how it ended."""

    job: PlannedJob
    status: JobStatus
    records: list[ItemRecord]

    def count_lost(self, system: System, outputs: Container[str]) -> int:
        """Count the items that are neither done with all outputs nor failed with a reason.

        Items of a cancelled job count only if they were recorded.
        """
        return self._total() - len(
            {record.index for record in self.records if self._is_whole(record, system, outputs)}
        )

    def count_errors(self) -> int:
        """Return the sum of the differences between counters, total and records."""
        return (
            abs(self.status.done + self.status.failed - self._total())
            + abs(self.status.done - self._count("done"))
            + abs(self.status.failed - self._count("failed"))
        )

    def count_wrongly_blamed(self, failures: Mapping[str, str]) -> int:
        """Count the items that ended otherwise than *failures* (error classes by key) say."""
        return sum(is_wrongly_blamed(record, failures) for record in self.records)

    def _total(self) -> int:
        """Return the number of items that must have ended."""
        is_cancelled = self.status.state is JobState.CANCELLED
        return (
            len({record.index for record in self.records}) if is_cancelled else len(self.job.keys)
        )

    def _count(self, state: str) -> int:
        return sum(record.state == state for record in self.records)

    def _is_whole(self, record: ItemRecord, system: System, outputs: Container[str]) -> bool:
        if record.image_key != self.job.keys[record.index]:
            return False
        if record.state == "done":
            job_id = self.status.job_id
            spec = system.jobs.queries.spec(job_id)
            written = list(written_objects(spec, job_id, record))
            return len({each.output for each in written}) == len(spec.output_names) and all(
                system.output_path(each.key) in outputs for each in written
            )
        error = record.error or {}
        return bool(error.get("class") and error["reason"])
