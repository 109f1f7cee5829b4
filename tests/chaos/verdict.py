"""What came of a run: nothing lost, nothing twice, nobody blamed without guilt?"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from jobs import Jobs
from scene import Scene

from shared.errors import ObjectMissing
from shared.job.keys import results_key
from shared.job.record import ItemRecord
from shared.job.spec import TERMINAL_STATES

EVENTS = "rmbg:events"
"""The stream of ended jobs; see `shared.jobstore.layout`."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The figures that a run is judged by."""

    items: int
    jobs: int
    done: int
    failed: int
    lost: int
    """Items neither done with both pictures in the bucket nor failed with a reason."""
    overwritten: int
    """Pictures that were written more than once, or are not what was written first."""
    count_errors: int
    """Differences between the counters, the totals and the records."""
    done_events: int
    """Events of ended jobs, of which an equal one counts once."""
    wrongly_blamed: int
    """Failed items that are not killers."""
    unfinished: int
    """Jobs that are not done."""
    leftovers: int
    """Tickets and records of ended jobs that are still in Redis."""

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        faults = self.lost + self.overwritten + self.count_errors + self.wrongly_blamed
        return not (faults + self.unfinished + self.leftovers) and self.done_events == self.jobs


def judge(scene: Scene, jobs: Jobs) -> Verdict:
    """Look at Redis and the bucket, past the proxies."""
    pictures = {
        found.key: found.etag
        for found in scene.objects.list(scene.output_bucket, "")
        if not found.key.startswith("_jobs/")
    }
    statuses = {job_id: scene.client.status(job_id) for job_id in jobs.submitted}
    records = {job_id: _records(scene, job_id) for job_id in jobs.submitted}
    lost = sum(
        len(asked.keys) - _accounted_for(records[job_id], asked.keys, pictures)
        for job_id, asked in jobs.submitted.items()
    )
    failed = [each for found in records.values() for each in found if each.state == "failed"]
    return Verdict(
        items=jobs.items,
        jobs=len(statuses),
        done=sum(status.done for status in statuses.values()),
        failed=sum(status.failed for status in statuses.values()),
        lost=lost,
        overwritten=_overwritten(scene, pictures),
        count_errors=sum(
            abs(status.done + status.failed - len(jobs.submitted[job_id].keys))
            + abs(status.done - _count(records[job_id], "done"))
            + abs(status.failed - _count(records[job_id], "failed"))
            for job_id, status in statuses.items()
        ),
        done_events=len(_events(scene)),
        wrongly_blamed=sum(record.image_key not in jobs.killers for record in failed),
        unfinished=sum(status.state not in TERMINAL_STATES for status in statuses.values()),
        leftovers=_leftovers(scene),
    )


def _records(scene: Scene, job_id: str) -> list[ItemRecord]:
    """Return what `results.jsonl` says; of an unfinished job, what is known so far."""
    try:
        body = scene.objects.get(scene.output_bucket, results_key(job_id)).data
    except ObjectMissing:
        return list(scene.client.results(job_id))
    return [ItemRecord.from_json(line) for line in body.splitlines()]


def _accounted_for(
    records: list[ItemRecord], keys: tuple[str, ...], pictures: dict[str, str]
) -> int:
    """Return how many items ended as they should."""
    ended = set()
    for record in records:
        is_ours = record.image_key == keys[record.index]
        shown = {record.cutout_key, record.mask_key} <= pictures.keys()
        why = record.error or {}
        if is_ours and (shown if record.state == "done" else why.get("class") and why["reason"]):
            ended.add(record.index)
    return len(ended)


def _overwritten(scene: Scene, pictures: dict[str, str]) -> int:
    damaged = 0
    for key, etag in pictures.items():
        writes = scene.s3_proxy.writes.get(f"/{scene.output_bucket}/{key}", [])
        damaged += writes != [etag]
    return damaged


def _count(records: list[ItemRecord], state: str) -> int:
    return sum(record.state == state for record in records)


def _events(scene: Scene) -> set[tuple[bytes, bytes, bytes]]:
    return {
        (event[b"job_id"], event[b"event"], event[b"generation"])
        for _, event in scene.store.xrange(EVENTS)
    }


def _leftovers(scene: Scene) -> int:
    """Count open tickets, wherever they are, and their records."""
    kept = ("rmbg:queued:*", "rmbg:leased", "rmbg:parked", "rmbg:feeding:*", "rmbg:staged:*")
    tickets = ("rmbg:job:*:ticket:*", "rmbg:job:*:tickets", "rmbg:job:*:records:*")
    return sum(1 for pattern in kept + tickets for _ in scene.store.scan_iter(pattern))


def line_of(verdict: Verdict, **further: object) -> str:
    """Return one line of JSON."""
    return json.dumps({**asdict(verdict), **further})
