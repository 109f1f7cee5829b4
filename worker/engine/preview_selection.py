"""Choose the items of a ticket that get a preview."""

import threading
from typing import Final

from worker.storage import DOUBTFUL

MAX_DOUBTFUL: Final = 16
"""Most previews of doubtful images in a ticket, besides those of the sample."""


class PreviewSelection:
    """The selection for one claim of a ticket; its items share it. Safe in several threads."""

    def __init__(self, every: int, *, doubtful: int = MAX_DOUBTFUL) -> None:
        """Select every item whose index is a multiple of *every*, and the first doubtful ones.

        Args:
            every: See `JobSpec.preview_stride`; 0 selects none, doubtful or not.
            doubtful: How many doubtful items are selected besides.
        """
        self._every = every
        self._doubtful_left = doubtful
        self._lock = threading.Lock()

    def take(self, index: int, verdict: str) -> bool:
        """Return whether an item gets a preview, and count it if that is for its *verdict*."""
        if not self._every or index % self._every == 0:
            return self._every > 0
        if verdict not in DOUBTFUL:
            return False
        with self._lock:
            self._doubtful_left -= 1
            return self._doubtful_left >= 0


def no_previews() -> PreviewSelection:
    """Return a selection of no item."""
    return PreviewSelection(0)
