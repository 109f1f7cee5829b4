"""Features that a job can need from a worker: what came after documents of schema 1.

A worker ignores fields of a job document that it does not know. A field that must not be ignored
has a feature: submission puts its name in the document's `needs`, and the job store gives the
job's tickets only to workers that have registered it.
"""

from collections.abc import Iterable
from typing import Final

OUTPUTS: Final = "outputs"
"""Other outputs than cutout and mask."""
LIGHT: Final = "light"
"""Jobs that end with their last image: without shards, results and report."""
WEBHOOKS: Final = "webhooks"
"""Jobs whose end somebody is told of."""
FEATURES: Final[frozenset[str]] = frozenset({OUTPUTS, LIGHT, WEBHOOKS})
"""Features that this version knows: names of lower case letters, digits and `-`."""


def describe_need(needs: Iterable[str], version: str) -> str:
    """Return what a job waits for that no worker can process.

    Args:
        needs: Features that the job needs.
        version: Version that submitted the job and therefore knows them; "" if unknown.

    >>> describe_need(["recipes"], "0.3.0")
    'a worker of rmbg-queue 0.3.0 or later, which knows recipes'
    """
    least = f"rmbg-queue {version} or later" if version else "a later version"
    return f"a worker of {least}, which knows {', '.join(needs)}"
