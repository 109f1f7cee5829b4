"""Check the result of a run: no image lost, none written twice, none blamed wrongly."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from expected import Expected
from jobs import Jobs
from operations import QUIET_S
from report import Report
from system import System

from shared.errors import ObjectMissing
from shared.job.keys import results_key
from shared.job.record import ItemRecord
from shared.job.spec import TERMINAL_STATES, JobState
from shared.jobstore.values import JobStatus

FIGURES_OF_SUCCESS = frozenset({"items", "jobs", "done", "failed", "done_events", "generations"})
"""Figures of a verdict that are not 0 in a run that passed."""
EVENTS = "rmbg:events"
"""The stream of job events; see `shared.jobstore.layout`."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The figures that decide whether a run passed."""

    items: int
    jobs: int
    done: int
    failed: int
    lost: int
    """Items that are neither done with both outputs in the bucket nor failed with a reason."""
    overwritten: int
    """Outputs that were written more than once, or differ from the first write."""
    count_errors: int
    """Differences between counters, totals and records."""
    done_events: int
    """Distinct events of ended jobs."""
    generations: int
    """Number of times that jobs were started: each ends with one event."""
    wrongly_blamed: int
    """Items that failed and should not have, failed with another error, or did not fail."""
    unfinished: int
    """Jobs that have not ended."""
    undone: int
    """Commands without a lasting effect: jobs that are not cancelled or not opened again."""
    late_writes: int
    """Outputs of cancelled jobs that were written after the cancellation was settled."""
    faulty_outputs: int
    """Outputs of retried and repaired jobs that `rmbg verify` calls missing or damaged."""
    leftovers: int
    """Tickets and records that are still in Redis."""

    orphans: int
    """Workers that outlived their supervisor."""
    command_errors: int
    """Commands with an unexpected exit code."""
    unclear_messages: int
    """Failovers in which the error of a producer did not name the read-only replica."""

    @property
    def holds(self) -> bool:
        """Whether every guarantee held."""
        figures = asdict(self)
        faults = sum(figures[name] for name in figures.keys() - FIGURES_OF_SUCCESS)
        return not faults and self.done_events == self.generations


def judge(system: System, jobs: Jobs) -> Verdict:
    """Check Redis and the bucket, bypassing the proxies."""
    outputs = {
        system.output_path(found.key): found.etag
        for found in system.objects.list(system.output_bucket, "")
        if not found.key.startswith("_jobs/")
    }
    reports = [
        Report(job, system.client.status(job_id), _records(system, job_id))
        for job_id, job in jobs.submitted.items()
    ]
    expected, failures = jobs.expected, jobs.failing
    return Verdict(
        items=jobs.items,
        jobs=len(reports),
        done=sum(report.status.done for report in reports),
        failed=sum(report.status.failed for report in reports),
        lost=sum(report.count_lost(system, outputs) for report in reports),
        overwritten=_overwritten(system, expected, outputs),
        count_errors=sum(report.count_errors() for report in reports),
        done_events=len(_events(system)),
        generations=sum(report.status.generation for report in reports),
        wrongly_blamed=expected.blamed_before
        + sum(report.count_wrongly_blamed(failures) for report in reports),
        unfinished=sum(report.status.state not in TERMINAL_STATES for report in reports),
        undone=expected.commands_lost
        + sum(_is_undone(report.status, expected) for report in reports),
        late_writes=sum(_late_writes(system, report, expected) for report in reports),
        faulty_outputs=sum(_faulty_outputs(system, job_id) for job_id in expected.generations),
        leftovers=_leftovers(system),
        orphans=expected.orphans,
        command_errors=expected.command_errors,
        unclear_messages=expected.unclear_messages,
    )


def _records(system: System, job_id: str) -> list[ItemRecord]:
    """Return the records in `results.jsonl`; for an unfinished job, those known so far."""
    try:
        body = system.objects.get(system.output_bucket, results_key(job_id)).data
    except ObjectMissing:
        return list(system.client.results(job_id))
    return [ItemRecord.from_json(line) for line in body.splitlines()]


def _overwritten(system: System, expected: Expected, outputs: Mapping[str, str]) -> int:
    """Count outputs that were written too often, or differ from what was written last."""
    damaged = 0
    for path, etag in outputs.items():
        writes = system.s3_proxy.writes.get(path, [""])
        least, most = expected.writes(path)
        damaged += not least <= len(writes) <= most or writes[-1] != etag
    return damaged


def _is_undone(status: JobStatus, expected: Expected) -> bool:
    must_be_cancelled = status.job_id in expected.cancelled
    is_cancelled = status.state is JobState.CANCELLED
    generation = expected.generations.get(status.job_id, 1)
    return must_be_cancelled != is_cancelled or status.generation != generation


def _late_writes(system: System, report: Report, expected: Expected) -> int:
    """Count the outputs of a cancelled job that were written later than a stalled worker may."""
    settled_s = expected.cancelled.get(report.status.job_id, math.inf)
    folder = system.output_path(report.job.prefix) + "/"
    return sum(
        written_s > settled_s + QUIET_S
        for path, written_s in system.s3_proxy.written_s.items()
        if path.startswith(folder)
    )


def _faulty_outputs(system: System, job_id: str) -> int:
    return sum(finding.fault != "extra" for finding in system.client.verify(job_id))


def _events(system: System) -> set[tuple[bytes, bytes, bytes]]:
    return {
        (event[b"job_id"], event[b"event"], event[b"generation"])
        for _, event in system.store.xrange(EVENTS)
    }


def _leftovers(system: System) -> int:
    """Count open tickets in any place, and their records."""
    kept = ("rmbg:queued:*", "rmbg:leased", "rmbg:parked", "rmbg:feeding:*", "rmbg:staged:*")
    tickets = ("rmbg:unserved", "rmbg:job:*:ticket:*", "rmbg:job:*:tickets", "rmbg:job:*:records:*")
    return sum(1 for pattern in kept + tickets for _ in system.store.scan_iter(pattern))


def line_of(verdict: Verdict, **further: object) -> str:
    """Return the verdict and further figures as one line of JSON."""
    return json.dumps({**asdict(verdict), **further})
