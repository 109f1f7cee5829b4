"""Read the figures of an upgrade run from the job store, the records and the logs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from fleet import Build
from support.until import poll
from system import System
from upgrade_builds import rmbg
from upgrade_figures import Parked

_UNREADABLE: Final = "can read its document"
_PARSING: Final = ("from_json", "model_validate", "ValidationError", "JSONDecodeError", _UNREADABLE)
"""What a log contains if a document or an entry of Redis could not be parsed."""
_WATCH_S: Final = 8.0
"""Longer than a ticket rests that a worker refused."""


def watch_parked(system: System, job_id: str, previous: Build) -> Parked:
    """Watch the job that needs a later version for some seconds."""
    shown = []
    env = {**system.servers.settings(), "HOME": str(system.folder)}
    for _ in poll(within_s=_WATCH_S, every_s=0.2):
        shown.append(system.client.status(job_id).waiting_for)
        told = rmbg(previous, env, ["status", "--json", job_id])
        shown.append(json.loads(told.stdout)["waiting_for"])
    status = system.client.status(job_id)
    tickets = system.store.scan_iter(f"rmbg:job:{job_id}:ticket:*")
    return Parked(
        ended=status.done + status.failed,
        deaths=sum(int(system.store.hget(ticket, "deaths") or 0) for ticket in tickets),
        waiting_for=tuple(dict.fromkeys(shown)),
        refused_by=refused_by(system, job_id),
    )


def refused_by(system: System, job_id: str) -> dict[str, int]:
    """Return how often workers of each version refused a ticket of the job after the claim."""
    return {
        name: sum(_UNREADABLE in line and job_id in line for line in _lines(folder))
        for name, folder in _logs(system).items()
    }


def ended_by(system: System, job_ids: Iterable[str]) -> dict[str, int]:
    """Return the number of items by the version that processed them."""
    return dict(
        Counter(
            record.device or "none"
            for job_id in job_ids
            for record in system.client.results(job_id)
        )
    )


def unreadable(system: System, later: str) -> int:
    """Return the number of lines that report what could not be parsed, except of job *later*."""
    return sum(
        later not in line and any(mark in line for mark in _PARSING)
        for folder in _logs(system).values()
        for line in _lines(folder)
    )


def _logs(system: System) -> dict[str, Path]:
    return {name: system.folder / name for name in ("previous", "current", "later")}


def _lines(folder: Path) -> Iterator[str]:
    """Yield the lines of all logs and incidents in *folder*."""
    for pattern in ("worker-*.log", "rmbg-incident-*.txt"):
        for path in folder.glob(pattern):
            yield from path.read_text(errors="replace").splitlines()
