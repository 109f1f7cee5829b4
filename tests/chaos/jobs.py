"""What is asked of the system during a run."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import Final

from scene import Scene
from standins import KILLER

from shared.errors import ServiceUnavailable

MODEL: Final = "RMBG-1.4"
INTERACTIVE_ITEMS: Final = 8
MAX_KILLERS: Final = 3
_TRIES: Final = 5


@dataclass(frozen=True)
class Asked:
    """One job before it is submitted."""

    name: str
    keys: tuple[str, ...]
    prefix: str
    priority: str
    at: float
    """When, as a part of the time of the faults."""


@dataclass
class Jobs:
    """The jobs of a run: two of bulk, one of them later, and two interactive ones.

    The second interactive one asks for pictures that the first bulk job has, too, at the same
    keys: whoever comes second finds them.
    """

    waiting: list[Asked]
    killers: frozenset[str]
    """Keys of the pictures that end whoever decodes them."""
    submitted: dict[str, Asked] = field(default_factory=dict)
    """By job id."""

    @property
    def items(self) -> int:
        """Over all jobs that were submitted."""
        return sum(len(asked.keys) for asked in self.submitted.values())

    def pictures(self) -> dict[str, bytes]:
        """Return all sources by key; no two are the same bytes."""
        keys = {key for asked in self.waiting for key in asked.keys}
        return {
            key: (KILLER if key in self.killers else b"picture") + f" {key}".encode()
            for key in sorted(keys)
        }

    def submit_due(self, scene: Scene, elapsed: float) -> None:
        """Submit what is due at *elapsed*, a part of the time of the faults."""
        for asked in [each for each in self.waiting if each.at <= elapsed]:
            self.submitted[_submit(scene, asked)] = asked
            self.waiting.remove(asked)


def make_jobs(items: int, chance: random.Random) -> Jobs:
    """Return jobs of *items* in all, with a killer among a thousand, and one at least."""
    interactive = min(INTERACTIVE_ITEMS, items // 8)
    bulk = items - 2 * interactive
    first = _keys("first", bulk // 2)
    second = _keys("second", bulk - bulk // 2)
    number = min(MAX_KILLERS, max(1, items // 1000))
    killers = frozenset(chance.sample(first[interactive:] + second, number))
    return Jobs(
        [
            Asked("first", first, "one", "bulk", 0.0),
            Asked("quick", _keys("quick", interactive), "quick", "interactive", 0.2),
            Asked("second", second, "two/%year%", "bulk", 0.35),
            Asked("again", first[:interactive][::-1], "one", "interactive", 0.5),
        ],
        killers,
    )


def _keys(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}/{n // 100:03}/picture {n:05}.png" for n in range(count))


def _submit(scene: Scene, asked: Asked) -> str:
    """Submit a job; a repetition after a fault joins what it may have made."""
    for attempt in range(_TRIES):
        try:
            job_id = scene.client.submit(
                asked.keys,
                save_prefix=asked.prefix,
                rem_mode=MODEL,
                priority=asked.priority,
            )
        except ServiceUnavailable:
            if attempt == _TRIES - 1:
                raise
            time.sleep(0.5)
        else:
            scene.append_only.keep()
            return job_id
    raise AssertionError("unreachable")
