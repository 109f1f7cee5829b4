"""Check the result of a run: no image lost, none written twice, none blamed wrongly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from jobs import Jobs
from system import System

from shared.errors import ObjectMissing
from shared.job.keys import results_key
from shared.job.record import ItemRecord
from shared.job.spec import TERMINAL_STATES

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
    wrongly_blamed: int
    """Items that failed and should not have, failed with another error, or did not fail."""
    unfinished: int
    """Jobs that have not ended."""
    leftovers: int
    """Tickets and records that are still in Redis."""

    @property
    def holds(self) -> bool:
        """Whether every guarantee held."""
        faults = self.lost + self.overwritten + self.count_errors + self.wrongly_blamed
        return not (faults + self.unfinished + self.leftovers) and self.done_events == self.jobs


def judge(system: System, jobs: Jobs) -> Verdict:
    """Check Redis and the bucket, bypassing the proxies."""
    outputs = {
        found.key: found.etag
        for found in system.objects.list(system.output_bucket, "")
        if not found.key.startswith("_jobs/")
    }
    statuses = {job_id: system.client.status(job_id) for job_id in jobs.submitted}
    records = {job_id: _records(system, job_id) for job_id in jobs.submitted}
    lost = sum(
        len(job.keys) - _accounted_for(records[job_id], job.keys, outputs)
        for job_id, job in jobs.submitted.items()
    )
    return Verdict(
        items=jobs.items,
        jobs=len(statuses),
        done=sum(status.done for status in statuses.values()),
        failed=sum(status.failed for status in statuses.values()),
        lost=lost,
        overwritten=_overwritten(system, outputs),
        count_errors=sum(
            abs(status.done + status.failed - len(jobs.submitted[job_id].keys))
            + abs(status.done - _count(records[job_id], "done"))
            + abs(status.failed - _count(records[job_id], "failed"))
            for job_id, status in statuses.items()
        ),
        done_events=len(_events(system)),
        wrongly_blamed=_wrongly_blamed(jobs, records),
        unfinished=sum(status.state not in TERMINAL_STATES for status in statuses.values()),
        leftovers=_leftovers(system),
    )


def _wrongly_blamed(jobs: Jobs, records: Mapping[str, list[ItemRecord]]) -> int:
    return sum(
        (record.error or {}).get("class") != jobs.failing.get(record.image_key)
        for found in records.values()
        for record in found
    )


def _records(system: System, job_id: str) -> list[ItemRecord]:
    """Return the records in `results.jsonl`; for an unfinished job, those known so far."""
    try:
        body = system.objects.get(system.output_bucket, results_key(job_id)).data
    except ObjectMissing:
        return list(system.client.results(job_id))
    return [ItemRecord.from_json(line) for line in body.splitlines()]


def _accounted_for(
    records: list[ItemRecord], keys: tuple[str, ...], outputs: dict[str, str]
) -> int:
    """Return the number of items that ended correctly."""
    ended = set()
    for record in records:
        is_ours = record.image_key == keys[record.index]
        is_written = {record.cutout_key, record.mask_key} <= outputs.keys()
        error = record.error or {}
        has_reason = error.get("class") and error["reason"]
        if is_ours and (is_written if record.state == "done" else has_reason):
            ended.add(record.index)
    return len(ended)


def _overwritten(system: System, outputs: dict[str, str]) -> int:
    damaged = 0
    for key, etag in outputs.items():
        writes = system.s3_proxy.writes.get(f"/{system.output_bucket}/{key}", [])
        damaged += writes != [etag]
    return damaged


def _count(records: list[ItemRecord], state: str) -> int:
    return sum(record.state == state for record in records)


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
