"""What checks are told besides the bytes, and what they find."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from shared.job.spec import Json
from shared.recipes.checks import Level
from worker.imaging.types import Mask

State: TypeAlias = Literal["passed", "failed", "not possible"]
FillOf: TypeAlias = Literal["longest_side", "box_area", "mask_area"]


@dataclass(frozen=True, kw_only=True)
class Context:
    """What is known of a file besides its bytes; None is unknown."""

    extension: str | None = None
    """Of the file's key or name, with or without the dot."""
    fill_of: FillOf = "longest_side"
    """What the share of the subject is measured of."""
    mask: Mask | None = field(default=None, compare=False)
    """(H, W) uint8: the subject's alpha on the canvas, without shadow and background."""
    cut: frozenset[str] | None = None
    """Sides on which the source cuts the subject: `left`, `top`, `right`, `bottom`."""
    upscaled: float | None = None
    """Factor by which the subject was enlarged, at least 1."""


@dataclass(frozen=True)
class Outcome:
    """What one check found."""

    state: State
    value: Json = None
    """What was measured."""
    reason: str = ""
    """Why it failed or was not possible."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check, with its limit."""

    check: str
    level: Level
    value: Json
    limit: Json
    state: State
    reason: str


def judged(*, is_met: bool, value: Json, reason: str) -> Outcome:
    """Return the outcome of a measurement; *reason* is used if the limit is not met."""
    return Outcome("passed", value) if is_met else Outcome("failed", value, reason)


def not_possible(reason: str) -> Outcome:
    """Return the outcome of a check that lacks what it needs."""
    return Outcome("not possible", None, reason)
