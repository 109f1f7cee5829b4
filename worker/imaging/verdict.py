"""Derive a verdict from a mask's figures: does a person need to review the image?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from shared.job.thresholds import DEFAULTS, Thresholds
from worker.imaging.quality import Figures


@dataclass(frozen=True)
class Verdict:
    """Recommendation for an image, with reasons."""

    verdict: Literal["ok", "review", "reject"]
    reasons: tuple[str, ...]
    """Figures that are beyond their limits, and signs of damage; empty if ``ok``."""


def judge(
    figures: Figures, thresholds: Thresholds = DEFAULTS, doubts: tuple[str, ...] = ()
) -> Verdict:
    """Return the worst verdict that any of *figures* or *doubts* gives, with all reasons for it.

    Args:
        figures: Of the mask.
        thresholds: Limits beyond which a figure is doubtful.
        doubts: Signs of damage in the source (`SourceImage.doubts`); each gives ``review``.
    """
    if reject := tuple(_beyond(figures, thresholds, "reject")):
        return Verdict("reject", reject)
    review = tuple(_beyond(figures, thresholds, "review"))
    if figures.parts == 0:
        review += ("no part of the subject is solid",)
    review += doubts
    return Verdict("review" if review else "ok", review)


def _beyond(figures: Figures, thresholds: Thresholds, kind: str) -> Iterator[str]:
    """Yield a reason for each exceeded threshold ``{kind}_{figure}_{below or above}``."""
    for name, limit in thresholds:
        prefix, figure, side = name.split("_")
        value = getattr(figures, figure)
        value = len(value) if isinstance(value, tuple) else value
        if prefix == kind and (value < limit if side == "below" else value > limit):
            shown = f"{value:.4g}" if isinstance(value, float) else value
            yield f"{figure} {shown} {side} {limit}"
