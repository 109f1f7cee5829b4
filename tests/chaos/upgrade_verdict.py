"""Check what an upgrade run shows beyond the guarantees of every run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from fleet import Build
from support.until import poll
from system import System
from upgrade_builds import FEATURE, LATER_VERSION, rmbg
from verdict import Verdict

LEAST_SHARE: Final = 0.2
"""Share of the items that each version must end."""
_UNREADABLE: Final = "can read its document"
_PARSING: Final = ("from_json", "model_validate", "ValidationError", "JSONDecodeError", _UNREADABLE)
"""What a log contains if a document or an entry of Redis could not be parsed."""
_WATCH_S: Final = 8.0
"""Longer than a ticket rests that a worker refused."""


@dataclass(frozen=True, kw_only=True)
class Parked:
    """What is known of the job that needs a later version, while no worker of it runs."""

    ended: int
    deaths: int
    """Deaths that were counted for its tickets."""
    waiting_for: tuple[str | None, ...]
    """All that its status shows during some seconds, to `rmbg` of either version."""
    refused_by: dict[str, int]
    """Leases of its tickets whose worker could not read the document, by version."""

    @property
    def holds(self) -> bool:
        """Whether it waits without a death, and the status names the version and the feature."""
        is_named = None not in self.waiting_for and all(map(names_later, self.waiting_for))
        return is_named and not (self.ended + self.deaths + sum(self.refused_by.values()))


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """The figures that decide whether an upgrade run passed."""

    verdict: Verdict
    ended_by: dict[str, int]
    """Items by the version that processed them."""
    unreadable: int
    """Lines in logs that report a document which could not be parsed, of other jobs."""
    parked: Parked
    later_by: dict[str, int]
    """Items of the job that needs a later version, by the version that processed them."""
    later_waiting_for: tuple[str, ...]
    """What its status shows while workers of the later version run beside the others."""
    later_refused_by: dict[str, int]
    """As `Parked.refused_by`, at the end: version 0.1 claims any ticket that it gets."""

    @property
    def holds(self) -> bool:
        """Whether every guarantee held."""
        least = LEAST_SHARE * (self.verdict.items - sum(self.later_by.values()))
        is_shared = all(self.ended_by.get(name, 0) >= least for name in ("previous", "current"))
        is_later = set(self.later_by) == {"later"} and not self.later_refused_by["current"]
        is_named = all(map(names_later, self.later_waiting_for))
        return (
            self.verdict.holds
            and is_shared
            and is_later
            and is_named
            and self.parked.holds
            and not self.unreadable
        )

    def to_json(self, **further: object) -> str:
        """Return all figures as one line of JSON."""
        figures = asdict(self)
        return json.dumps({"held": self.holds, **figures.pop("verdict"), **figures, **further})


def names_later(text: str | None) -> bool:
    """Whether a status says nothing, or names the later version and the feature."""
    return text is None or (LATER_VERSION in text and FEATURE in text)


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
    return {name: system.folder / name for name in ("previous", "current")}


def _lines(folder: Path) -> Iterator[str]:
    """Yield the lines of all logs and incidents in *folder*."""
    for pattern in ("worker-*.log", "rmbg-incident-*.txt"):
        for path in folder.glob(pattern):
            yield from path.read_text(errors="replace").splitlines()
