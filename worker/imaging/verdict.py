"""Derive a verdict from a mask's figures: does a person need to review the image?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from shared.job.thresholds import DEFAULTS, Thresholds
from worker.imaging.quality import Figures

MIN_SUBJECT_PX: Final = 64
"""With at least this many solid pixels, 8 x 8, there is a subject, however large the image is."""


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

    A subject that is small but solid is reviewed, never rejected for its size.

    Args:
        figures: Of the mask.
        thresholds: Limits beyond which a figure is doubtful.
        doubts: Signs of damage in the source (`SourceImage.doubts`); each gives ``review``.
    """
    has_subject = figures.solid_px >= MIN_SUBJECT_PX
    limits = _reviewing_small(thresholds) if has_subject else thresholds
    if reject := tuple(_beyond(figures, limits, "reject")):
        return Verdict("reject", reject)
    review = tuple(_beyond(figures, limits, "review"))
    if figures.parts == 0:
        solid = "large" if has_subject else "solid"
        review += (f"no part of the subject is {solid}",)
    review += doubts
    return Verdict("review" if review else "ok", review)


def _reviewing_small(thresholds: Thresholds) -> Thresholds:
    """Return *thresholds* with the limit of a rejected coverage as one of a reviewed coverage."""
    least = max(thresholds.review_coverage_below, thresholds.reject_coverage_below)
    return thresholds.model_copy(
        update={"review_coverage_below": least, "reject_coverage_below": 0}
    )


def _beyond(figures: Figures, thresholds: Thresholds, kind: str) -> Iterator[str]:
    """Yield a reason for each exceeded threshold ``{kind}_{figure}_{below or above}``."""
    for name, limit in thresholds:
        prefix, figure, side = name.split("_")
        value = getattr(figures, figure)
        value = len(value) if isinstance(value, tuple) else value
        if prefix == kind and (value < limit if side == "below" else value > limit):
            shown = f"{value:.4g}" if isinstance(value, float) else value
            yield f"{figure} {shown} {side} {limit}"
