"""The figures that decide whether an upgrade run passed, beside those of every run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

FEATURE: Final = "recipes-of-tomorrow"
"""A feature that no version knows but the later one."""
LATER_VERSION: Final = "99.0.0"
LEAST_SHARE: Final = 0.2
"""Share of the items that each version must end."""


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
        """Whether it waits without a lease, and the status names the version and the feature."""
        is_named = all(map(_names_later, self.waiting_for))
        return is_named and not (self.ended + self.deaths + sum(self.refused_by.values()))


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """What an upgrade run shows."""

    guarantees_held: bool
    """Whether no guarantee of `make chaos` was broken."""
    worker_deaths: dict[str, int]
    """Processes that ended without SIGTERM, by version."""
    ended_by: dict[str, int]
    """Items by the version that processed them, without those of the job for a later version."""
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
        least = LEAST_SHARE * sum(self.ended_by.values())
        return (
            self.guarantees_held
            and all(self.worker_deaths.values())
            and all(self.ended_by.get(name, 0) >= least for name in ("previous", "current"))
            and not self.unreadable
            and self.parked.holds
            and set(self.later_by) == {"later"}
            and all(map(_names_later, self.later_waiting_for))
            and not self.later_refused_by["current"]
        )

    def to_json(self, **further: object) -> str:
        """Return all figures as one line of JSON."""
        return json.dumps({"held": self.holds, **further, **asdict(self)})


def _names_later(text: str | None) -> bool:
    return text is not None and LATER_VERSION in text and FEATURE in text
