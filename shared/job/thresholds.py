"""Limits on quality figures beyond which a cutout is doubtful; users can set them per job."""

from collections.abc import Mapping
from typing import Final, Self, TypeAlias

from pydantic import ValidationError

from shared.document import Document
from shared.errors import InvalidOption

Number: TypeAlias = int | float
"""A number as it was given: 1 and 1.0 differ in a job's fingerprint."""


class Thresholds(Document):
    """Limits beyond which a cutout is sent to review or rejected; all comparisons are strict.

    Set on fourteen images with IS-Net's masks: eight good ones, two half right, four without a
    subject (flat grey, noise, grass, a star field).
    """

    reject_coverage_below: Number = 0.001
    """Nothing is left: under 4,000 of 2000 x 2000 pixels. With a solid part of at least 64 pixels
    the subject is only small, and the image is reviewed instead."""
    reject_coverage_above: Number = 0.995
    """Nothing was removed."""
    reject_high_below: Number = 0.5
    """The network saw no subject; the four images without one reached 0.01 to 0.70."""
    review_coverage_below: Number = 0.01
    """A subject this small is more often a remnant than a product."""
    review_coverage_above: Number = 0.9
    """Products leave room around them; a larger area is often background that was kept."""
    review_high_below: Number = 0.9
    """Images with a subject reached 0.9999; a star field 0.70."""
    review_touches_above: Number = 2
    """Portraits touch two edges; at three the subject is cut off, or it is the background."""
    review_soft_above: Number = 0.15
    """Good masks had at most 0.08, a cat with a half-kept sofa 0.22."""
    review_uncertainty_above: Number = 0.3
    """Good masks had 0.06 to 0.22, half right ones 0.31 and 0.57, empty images 0.7 to 1."""
    review_parts_above: Number = 4
    """Single subjects had 1 or 2, a torn one 12; sets of products deserve a look."""
    review_holes_above: Number = 12
    """A motorcycle has 7; a torn mask has dozens."""

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Self:
        """Return the given limits, with defaults for the others.

        Raises:
            InvalidOption: If a name is unknown or a value is not a number; lists all names.
        """
        try:
            return cls.model_validate(given, strict=True)
        except ValidationError as err:
            wrong = ", ".join(dict.fromkeys(repr(each["loc"][0]) for each in err.errors()))
            raise InvalidOption(
                f"thresholds {wrong}: unknown or not a number; known: {', '.join(cls.model_fields)}"
            ) from err


DEFAULTS: Final = Thresholds()
"""Limits of a job that sets none."""
