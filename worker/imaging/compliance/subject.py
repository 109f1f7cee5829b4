"""Checks of the subject: its share of the canvas, its place, its scale."""

from typing import Final

import numpy as np

from shared.recipes.checks import Range
from worker.imaging.compliance.inspection import Inspection
from worker.imaging.compliance.types import Outcome, judged, not_possible
from worker.imaging.types import Mask

_UNKNOWN: Final = "neither a mask nor a plain background shows where the subject is"
_ROUNDING_PX: Final = 1
"""By which a subject's side may miss the share: sizes are whole pixels."""
_SCALE_TOLERANCE: Final = 1e-6


def fill(found: Inspection, limit: Range) -> Outcome:
    """Check the share of the canvas that the subject fills, to within a pixel of its sides."""
    if found.subject is None or found.box is None:
        return not_possible(_UNKNOWN if found.subject is None else "there is no subject")
    cut = found.context.cut or frozenset()
    if found.context.fill_of == "mask_area":
        least, value, most = _mask_area(found.subject)
    else:
        sides = _uncut_shares(found, cut)
        if not sides or (cut and found.context.fill_of == "box_area"):
            return not_possible(f"n/a: the source cuts the subject on the {', '.join(sorted(cut))}")
        join = max if found.context.fill_of == "longest_side" else np.prod
        least, value, most = (float(join(each)) for each in zip(*sides, strict=True))
    is_met = most >= limit.low and least <= limit.high
    reason = f"the subject fills {value:.1%} of the canvas ({found.context.fill_of})"
    return judged(is_met=is_met, value=round(value, 4), reason=reason)


def subject_touches_edge(found: Inspection, _limit: bool) -> Outcome:  # noqa: FBT001 - a check
    """Check that the subject reaches no edge, and that the source cuts none of it."""
    if found.subject is None:
        return not_possible(_UNKNOWN)
    touched = set(found.context.cut or ())
    if found.box is not None:
        left, top, width, height = found.box
        reached = {
            "left": left == 0,
            "top": top == 0,
            "right": left + width == found.width_px,
            "bottom": top + height == found.height_px,
        }
        touched |= {side for side, is_reached in reached.items() if is_reached}
    sides = sorted(touched)
    reason = f"the subject touches or is cut on the {', '.join(sides)}"
    return judged(is_met=not sides, value=list(sides), reason=reason)


def upscaled(found: Inspection, _limit: bool) -> Outcome:  # noqa: FBT001 - a check
    """Check that the subject was not enlarged."""
    factor = found.context.upscaled
    if factor is None:
        return not_possible("the size of the source is not known")
    reason = f"the subject is enlarged {factor:.3g} times"
    return judged(is_met=factor <= 1 + _SCALE_TOLERANCE, value=round(factor, 4), reason=reason)


def _uncut_shares(found: Inspection, cut: frozenset[str]) -> list[tuple[float, float, float]]:
    """Return least, measured and most share of each axis on which the source cuts nothing."""
    assert found.box is not None  # noqa: S101 - the caller's condition
    _, _, width, height = found.box
    axes = (
        (width, found.width_px, {"left", "right"}),
        (height, found.height_px, {"top", "bottom"}),
    )
    return [
        ((side - _ROUNDING_PX) / whole, side / whole, (side + _ROUNDING_PX) / whole)
        for side, whole, ends in axes
        if not ends & cut
    ]


def _mask_area(mask: Mask) -> tuple[float, float, float]:
    value = float(mask.mean()) / 255
    tolerance = _ROUNDING_PX / max(mask.shape)
    return value - tolerance, value, value + tolerance
