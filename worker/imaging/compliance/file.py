"""Checks of the file as a whole: format, extension, bytes, resolution."""

from typing import Final

from shared.recipes.checks import FileFormat
from shared.recipes.formats import FORMAT_NAMES
from worker.imaging.compliance.inspection import Inspection
from worker.imaging.compliance.types import Outcome, judged, not_possible

_EXTENSIONS: Final = FORMAT_NAMES | {"jpe": "jpg", "jfif": "jpg", "heic": "heif", "dib": "bmp"}
"""Other extensions -> format."""


def formats(found: Inspection, limit: tuple[FileFormat, ...]) -> Outcome:
    """Check that the format of the bytes is among those accepted."""
    reason = f"{found.format} is not among {', '.join(limit)}"
    return judged(is_met=found.format in limit, value=found.format, reason=reason)


def extension_matches(found: Inspection, _limit: bool) -> Outcome:  # noqa: FBT001 - a check
    """Check that the extension names the format of the bytes."""
    if found.context.extension is None:
        return not_possible("the extension is not known")
    extension = found.context.extension.lower().removeprefix(".")
    is_met = _EXTENSIONS.get(extension, extension) == found.format
    reason = f"the file is {found.format}, its extension is {extension or 'missing'}"
    return judged(is_met=is_met, value=extension, reason=reason)


def max_bytes(found: Inspection, limit: int) -> Outcome:
    """Check that the file is small enough."""
    reason = f"{found.size_bytes:,} bytes are too many"
    return judged(is_met=found.size_bytes <= limit, value=found.size_bytes, reason=reason)


def min_bytes(found: Inspection, limit: int) -> Outcome:
    """Check that the file is large enough."""
    reason = f"{found.size_bytes:,} bytes are too few"
    return judged(is_met=found.size_bytes >= limit, value=found.size_bytes, reason=reason)


def min_dpi(found: Inspection, limit: float) -> Outcome:
    """Check the resolution, to a whole number: PNG holds pixels per metre."""
    if found.dpi is None:
        return Outcome("failed", None, "the file has no resolution")
    value = min(found.dpi)
    is_met = round(value) >= limit or value >= limit
    return judged(is_met=is_met, value=round(value, 2), reason=f"{value:g} dpi are too few")
