"""Check a file's encoded bytes: the registry of checks, and how they are run."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from shared.job.spec import Json
from shared.recipes import Recipe
from shared.recipes.checks import LEVELS, Checks
from worker.imaging.compliance import colour, file, size, subject
from worker.imaging.compliance.inspection import Inspection, inspect
from worker.imaging.compliance.jpeg_quality import jpeg_quality
from worker.imaging.compliance.private import no_private_metadata
from worker.imaging.compliance.types import Context, Finding, Outcome
from worker.imaging.compliance.white import white_background
from worker.imaging.decode import Limits

Check: TypeAlias = Callable[[Inspection, Any], Outcome]
"""A decoded file and the limit, of the type that `shared.recipes.checks.Limits` has, to an
outcome."""

REGISTRY: Final[Mapping[str, Check]] = {
    "white_background": white_background,
    "fill": subject.fill,
    "min_side_px": size.min_side_px,
    "max_side_px": size.max_side_px,
    "megapixels": size.megapixels,
    "aspect": size.aspect,
    "formats": file.formats,
    "extension_matches": file.extension_matches,
    "colour_space": colour.colour_space,
    "no_transparency": colour.no_transparency,
    "max_bytes": file.max_bytes,
    "min_bytes": file.min_bytes,
    "subject_touches_edge": subject.subject_touches_edge,
    "upscaled": subject.upscaled,
    "jpeg_quality": jpeg_quality,
    "min_dpi": file.min_dpi,
    "no_private_metadata": no_private_metadata,
}
"""Name of each check -> what makes it."""


def check(
    data: bytes, checks: Checks, context: Context, *, limits: Limits | None = None
) -> tuple[Finding, ...]:
    """Return what *checks* find in a file, decoded from its bytes.

    Args:
        data: An image of any format that can be decoded, or a ZIP as outputs have it.
        checks: Checks to make, with their limits.
        context: What else is known of the file; without that, some checks are not possible.
        limits: Largest file that is decoded.

    Raises:
        ItemError: If the file cannot be read, for example because it is truncated; the text says
            why. No check is possible then.
    """
    return tuple(_findings(inspect(data, context, limits or Limits()), checks))


def _findings(found: Inspection, checks: Checks) -> Iterator[Finding]:
    for level in LEVELS:
        for name, limit in getattr(checks, level).active().items():
            outcome = REGISTRY[name](found, limit)
            yield Finding(name, level, outcome.value, _plain(limit), outcome.state, outcome.reason)


def _plain(limit: object) -> Json:
    """Return *limit* as JSON."""
    if isinstance(limit, tuple):
        return list(limit)
    return limit if isinstance(limit, bool | int | float) else str(limit)


def checks_of(recipe: Recipe) -> Checks:
    """Return the checks of *recipe*, with its own byte limits among those that must pass."""
    must = recipe.checks.must
    largest = [each for each in (recipe.max_bytes, must.max_bytes) if each]
    smallest = [each for each in (recipe.min_bytes, must.min_bytes) if each]
    limits = {
        "max_bytes": min(largest, default=None),
        "min_bytes": max(smallest, default=None),
    }
    return recipe.checks.model_copy(update={"must": must.model_copy(update=limits)})
