"""One run at a time over a data folder."""

from __future__ import annotations

import fcntl
import time
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Final

from shared.errors import InvalidOption

if TYPE_CHECKING:
    from pathlib import Path

_SERVERS_GONE_S: Final = 15.0
"""How long servers of a killed owner are waited for; their reapers give them 5 s."""
_POLL_S: Final = 0.05


class Lock:
    """Makes a data folder ours, as long as we or servers of ours live.

    Two files: one for the owner, so that a second one is refused at once, and one that the
    servers inherit. After an owner was killed its servers take a moment to end; the next owner
    waits for that instead of opening their data a second time.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder.

        Raises:
            InvalidOption: If another process runs here, or its servers do not end.
        """
        with ExitStack() as files:
            owner = files.enter_context((folder / ".lock").open("ab"))
            servers = files.enter_context((folder / ".servers.lock").open("ab"))
            if not _take(owner):
                raise InvalidOption(f"{folder} is in use by another run")
            deadline = time.monotonic() + _SERVERS_GONE_S
            while not _take(servers):
                if time.monotonic() > deadline:
                    raise InvalidOption(f"{folder} is in use by servers of an earlier run")
                time.sleep(_POLL_S)
            self.fd = servers.fileno()
            """The descriptor that servers inherit."""
            self._files = files.pop_all()

    def release(self) -> None:
        """Give the folder back; a repetition does nothing."""
        self._files.close()


def _take(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
