"""Where quality figures become doubtful: part of what a job says, so that a user can set them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.errors import InvalidOption


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Where figures become doubtful; below and above are strict.

    Set on fourteen pictures with IS-Net's masks: eight good ones, two half right, four with no
    subject (flat grey, noise, grass, a star field).
    """

    reject_coverage_below: float = 0.001
    """Nothing is left: under 4,000 of 2000 x 2000 pixels."""
    reject_coverage_above: float = 0.995
    """Nothing was taken away."""
    reject_high_below: float = 0.5
    """The network held no pixel for subject; the four pictures without one reached 0.01 to 0.70."""
    review_coverage_below: float = 0.01
    """A subject this small is more often a remnant than a product."""
    review_coverage_above: float = 0.9
    """Products leave room around them; more is often a background that was kept."""
    review_high_below: float = 0.9
    """Pictures with a subject reached 0.9999; a star field 0.70."""
    review_touches_above: int = 2
    """Portraits touch two edges; at three the subject is cut, or is the background."""
    review_soft_above: float = 0.15
    """Good masks had 0.08 at most, a cat with a half-kept sofa 0.22."""
    review_uncertainty_above: float = 0.3
    """Good masks had 0.06 to 0.22, half right ones 0.31 and 0.57, empty pictures 0.7 to 1."""
    review_parts_above: int = 4
    """Single subjects had 1 or 2; a torn one 12; sets of products are worth a look."""
    review_holes_above: int = 12
    """A motorcycle has 7; a torn mask has dozens."""

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Thresholds:
        """Return the limits that are given, and the defaults of the others.

        Raises:
            InvalidOption: If there is no such limit, or it is no number; lists those there are.
        """
        for name, limit in given.items():
            if name not in cls.__dataclass_fields__:
                known = ", ".join(cls.__dataclass_fields__)
                raise InvalidOption(f"no threshold {name!r}; there are: {known}")
            if isinstance(limit, bool) or not isinstance(limit, int | float):
                raise InvalidOption(f"threshold {name}: {limit!r} is no number")
        numbers: dict[str, Any] = dict(given)
        return cls(**numbers)


DEFAULTS: Final = Thresholds()
"""What holds where a job says nothing."""
