"""The jobs that are submitted during a run."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from expected import Expected
from s3_proxy import Refusal
from standins import KILLER, POISON
from support.until import poll
from system import System

from shared.errors import ServiceUnavailable
from shared.recipes import Recipe

MODEL: Final = "RMBG-1.4"
FIRST_PREFIX: Final = "one"
INTERACTIVE_ITEMS: Final = 8
MAX_KILLERS: Final = 3
REFUSALS: Final = {
    Refusal("object-403", is_write=False, status=403, code="AccessDenied"): "ObjectForbidden",
    Refusal("object-archived", is_write=False, status=403, code="InvalidObjectState"): (
        "ObjectArchived"
    ),
    Refusal("object-418", is_write=False, status=418, code="Unheard-of"): "ObjectRefused",
    Refusal("output-418", is_write=True, status=418, code="Unheard-of"): "ObjectRefused",
}
"""Objects that the store refuses for the whole run, and the error class of their items."""
THREE_OUTPUTS: Final = (
    Recipe(name="tile", format="webp"),
    Recipe(name="banner", format="avif", widths=(8, 16)),
    "cutout",
)
"""Outputs of the second job, besides the mask; one has two files."""
_SUBMIT_S: Final = 10.0
"""Time limit for a submission, which an outage may delay."""


@dataclass(frozen=True)
class PlannedJob:
    """One job before it is submitted."""

    name: str
    keys: tuple[str, ...]
    prefix: str
    priority: str
    at: float
    """Time of the submission, as a share of the time of the faults."""
    outputs: tuple[str | Recipe, ...] = ()
    """What is written for each image; cutout and mask if it is empty."""


@dataclass
class Jobs:
    """The jobs of a run: two bulk jobs at different times, and two interactive ones.

    The second interactive job has images and output keys in common with the first bulk job: the
    later of the two finds outputs that already exist.
    """

    waiting: list[PlannedJob]
    killers: frozenset[str]
    """Keys of the images that crash the worker that decodes them."""
    poisoned: str
    """Key of the image on which the network fails."""
    refused: dict[str, Refusal]
    """Keys of the images whose source or mask the store refuses."""
    submitted: dict[str, PlannedJob] = field(default_factory=dict)
    """Submitted jobs by id."""
    expected: Expected = field(default_factory=Expected)
    """What operations on jobs change about the end of the run."""

    @property
    def items(self) -> int:
        """Number of items in all submitted jobs."""
        return sum(len(job.keys) for job in self.submitted.values())

    @property
    def failing(self) -> dict[str, str]:
        """Keys of the items that must fail, with the class of their error."""
        refused = {key: REFUSALS[refusal] for key, refusal in self.refused.items()}
        killers = dict.fromkeys(self.killers, "WorkerCrash")
        poisoned = {self.poisoned: "InferenceFailed"}
        return killers | refused | poisoned | self.expected.failures

    def refusals(self, system: System) -> dict[str, Refusal]:
        """Return what the proxy must refuse, by path."""
        return {
            system.output_path(f"{FIRST_PREFIX}/mask/{key}.png")
            if refusal.is_write
            else system.source_path(key): refusal
            for key, refusal in self.refused.items()
        }

    def images(self) -> dict[str, bytes]:
        """Return all source images by key; no two have the same bytes."""
        keys = {key for job in self.waiting for key in job.keys}
        starts = dict.fromkeys(self.killers, KILLER) | {self.poisoned: POISON}
        return {key: starts.get(key, b"image") + f" {key}".encode() for key in sorted(keys)}

    def submit_due(self, system: System, elapsed: float) -> None:
        """Submit the jobs that are due at *elapsed*, a share of the time of the faults."""
        for job in [each for each in self.waiting if each.at <= elapsed]:
            self.submitted[submit(system, job)] = job
            self.waiting.remove(job)


def make_jobs(items: int, chance: random.Random) -> Jobs:
    """Return jobs with *items* in total; one in a thousand, and at least one, is a killer."""
    interactive = min(INTERACTIVE_ITEMS, items // 8)
    bulk = items - 2 * interactive
    first = keys_of("first", bulk // 2)
    second = keys_of("second", bulk - bulk // 2)
    number = min(MAX_KILLERS, max(1, items // 1000))
    poisoned, *refused = chance.sample(first[interactive:], 1 + len(REFUSALS))
    unaffected = [key for key in first[interactive:] + second if key not in (poisoned, *refused)]
    killers = frozenset(chance.sample(unaffected, number))
    return Jobs(
        [
            PlannedJob("first", first, FIRST_PREFIX, "bulk", 0.0),
            PlannedJob("quick", keys_of("quick", interactive), "quick", "interactive", 0.2),
            PlannedJob("second", second, "two/%year%", "bulk", 0.35, THREE_OUTPUTS),
            PlannedJob("again", first[:interactive][::-1], FIRST_PREFIX, "interactive", 0.5),
        ],
        killers,
        poisoned,
        dict(zip(refused, REFUSALS, strict=True)),
    )


def keys_of(name: str, count: int) -> tuple[str, ...]:
    """Return *count* keys of source images in folders of *name*."""
    return tuple(f"{name}/{n // 100:03}/image {n:05}.png" for n in range(count))


def submit(system: System, job: PlannedJob) -> str:
    """Submit a job; a second attempt after a fault joins the job if the first one created it."""
    error: ServiceUnavailable | None = None
    for _ in poll(within_s=_SUBMIT_S, every_s=0.5):
        try:
            job_id = system.client.submit(
                job.keys,
                save_prefix=job.prefix,
                rem_mode=MODEL,
                priority=job.priority,
                outputs=job.outputs,
            )
        except ServiceUnavailable as err:
            error = err
        else:
            system.append_only.keep()
            return job_id
    raise TimeoutError(f"job {job.name!r} could not be submitted in {_SUBMIT_S} s") from error
