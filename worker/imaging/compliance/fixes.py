"""Fix what another encoding can fix: bytes by the quality, white by the resolution of colour.

A canvas that is too small or a subject that fills too little is for the renderer. Outputs are
always sRGB and without camera or place, and no bytes are added that hold nothing: these checks have
no fix.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from worker.imaging.compliance.types import Finding
from worker.imaging.encode.encoding import Encoding

FixName: TypeAlias = Literal["lower quality", "raise quality", "full colour resolution"]

FLOOR_QUALITY: Final = 70
"""Below it, blocks show on photographs."""
WHITE_QUALITY: Final = 95
"""From it on, a subject hardly strays into the white beside it (see ADR 0075)."""
_STEP: Final = 5
_STEP_SHRINKS_TO: Final = 0.87
"""Bytes of a JPEG after a step of quality over those before, on photographs."""
_BEST_QUALITY: Final = 100


@dataclass(frozen=True)
class Fix:
    """An encoding to try."""

    check: str
    """Name of the failed check."""
    name: FixName
    encoding: Encoding


@dataclass(frozen=True)
class Complied:
    """The last of the files that were tried."""

    data: bytes
    findings: tuple[Finding, ...]
    fixes: tuple[Fix, ...]
    """In the order in which they were tried; empty if the first file complied."""


def comply(
    encode: Callable[[Encoding], bytes],
    check: Callable[[bytes], tuple[Finding, ...]],
    encoding: Encoding,
) -> Complied:
    """Encode and check, and again with each fix, until nothing fails that has one."""
    fixes: tuple[Fix, ...] = ()
    while True:
        data = encode(encoding)
        findings = check(data)
        fix = next_fix(encoding, findings, fixes)
        if fix is None:
            return Complied(data, findings, fixes)
        encoding, fixes = fix.encoding, (*fixes, fix)


def next_fix(
    encoding: Encoding, findings: Sequence[Finding], fixes: Sequence[Fix] = ()
) -> Fix | None:
    """Return what to try next; None if nothing fails that has a fix left.

    Quality only ever goes one way, so that the fixes of two checks cannot undo each other.

    Args:
        encoding: Of the file that was checked.
        findings: What its checks found; those that must pass come first.
        fixes: Tried so far.
    """
    names = {fix.name for fix in fixes}
    for finding in findings:
        propose = _FIXES.get(finding.check)
        if finding.state != "failed" or propose is None:
            continue
        fix = propose(encoding, finding, findings)
        opposite = _OPPOSITES.get(fix.name) if fix else None
        if fix and fix.encoding != encoding and opposite not in names:
            return fix
    return None


def _lower_quality(encoding: Encoding, finding: Finding, findings: Sequence[Finding]) -> Fix | None:
    """Lower the quality by as many steps as the bytes seem to need, down to the floor."""
    if encoding.is_lossless:
        return None
    limits = [each.limit for each in findings if each.check == "jpeg_quality"]
    floor = max(FLOOR_QUALITY, *limits) if limits and encoding.format == "jpg" else FLOOR_QUALITY
    steps = math.log(finding.limit / finding.value) / math.log(_STEP_SHRINKS_TO)
    quality = max(floor, encoding.quality - _STEP * max(1, math.ceil(steps)))
    quality = min(quality, encoding.quality)
    return Fix(finding.check, "lower quality", replace(encoding, quality=quality))


def _raise_quality(
    encoding: Encoding, finding: Finding, _findings: Sequence[Finding]
) -> Fix | None:
    if encoding.is_lossless:
        return None
    quality = min(_BEST_QUALITY, encoding.quality + _STEP)
    return Fix(finding.check, "raise quality", replace(encoding, quality=quality))


def _whiten(encoding: Encoding, finding: Finding, _findings: Sequence[Finding]) -> Fix | None:
    """Keep all of the resolution of colour, then most of the quality."""
    if encoding.is_lossless:
        return None
    if encoding.format in ("jpg", "avif") and encoding.subsampling != "4:4:4":
        return Fix(finding.check, "full colour resolution", replace(encoding, subsampling="4:4:4"))
    quality = max(encoding.quality, WHITE_QUALITY)
    return Fix(finding.check, "raise quality", replace(encoding, quality=quality))


_FIXES: Final[Mapping[str, Callable[[Encoding, Finding, Sequence[Finding]], Fix | None]]] = {
    "white_background": _whiten,
    "max_bytes": _lower_quality,
    "min_bytes": _raise_quality,
}
"""Name of a check -> its fix, if it has one."""
_OPPOSITES: Final[Mapping[FixName, FixName]] = {
    "lower quality": "raise quality",
    "raise quality": "lower quality",
}
