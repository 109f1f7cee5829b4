"""Checks of width and height."""

from shared.recipes.checks import SideLimit
from shared.recipes.values import Aspect
from worker.imaging.compliance.inspection import Inspection
from worker.imaging.compliance.types import Outcome, judged


def min_side_px(found: Inspection, limit: SideLimit) -> Outcome:
    """Check that the sides, or the longest one, are long enough."""
    if limit.longest:
        is_met = max(found.width_px, found.height_px) >= limit.width_px
    else:
        is_met = found.width_px >= limit.width_px and found.height_px >= limit.height_px
    return judged(is_met=is_met, value=_size(found), reason=f"{_size(found)} is too small")


def max_side_px(found: Inspection, limit: SideLimit) -> Outcome:
    """Check that the sides, or the longest one, are short enough."""
    if limit.longest:
        is_met = max(found.width_px, found.height_px) <= limit.width_px
    else:
        is_met = found.width_px <= limit.width_px and found.height_px <= limit.height_px
    return judged(is_met=is_met, value=_size(found), reason=f"{_size(found)} is too large")


def megapixels(found: Inspection, limit: float) -> Outcome:
    """Check the number of pixels."""
    value = found.width_px * found.height_px / 1e6
    reason = f"{_size(found)} has {value:g} megapixels"
    return judged(is_met=value <= limit, value=value, reason=reason)


def aspect(found: Inspection, limit: Aspect) -> Outcome:
    """Check width to height, within a pixel."""
    width, height = found.width_px, found.height_px
    is_met = abs(width - height * limit.ratio) <= 1 or abs(height - width / limit.ratio) <= 1
    reason = f"{_size(found)} is not {limit}"
    return judged(is_met=is_met, value=round(width / height, 4), reason=reason)


def _size(found: Inspection) -> str:
    return f"{found.width_px}x{found.height_px}"
