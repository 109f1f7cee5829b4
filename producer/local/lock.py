"""Let one run at a time use a data folder."""

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from filelock import lock_descriptor

from shared.errors import InvalidOption

_SERVERS_GONE_S: Final = 15.0
"""Longest wait for the servers of a killed run; their reapers give them 5 s."""
_POLL_S: Final = 0.05


class Lock:
    """Exclusive use of a data folder by this process and the servers it starts.

    There are two files: `.lock` is held by the owner, so that a second run is refused at once,
    and `.servers.lock` is inherited by the servers. After an owner was killed, its servers need
    a moment to end; the next owner waits for that instead of opening their data a second time.
    The kernel releases both locks when their holders end, however that happens.
    """

    def __init__(self, folder: Path) -> None:
        """Lock *folder*.

        Raises:
            InvalidOption: If another run uses it, or if servers of an earlier run do not end.
        """
        with ExitStack() as files:
            owner = files.enter_context((folder / ".lock").open("a+"))
            servers = files.enter_context((folder / ".servers.lock").open("ab"))
            if not lock_descriptor(owner.fileno(), blocking=False):
                owner.seek(0)
                raise InvalidOption(
                    f"{folder} is in use by another run (process {owner.read()}); wait for it to"
                    " end, or choose another folder"
                )
            owner.truncate(0)
            owner.write(str(os.getpid()))
            owner.flush()
            deadline = time.monotonic() + _SERVERS_GONE_S
            while not lock_descriptor(servers.fileno(), blocking=False):
                if time.monotonic() > deadline:
                    raise InvalidOption(
                        f"{folder} is in use by servers of an earlier run that do not end; stop"
                        " valkey-server and weed"
                    )
                time.sleep(_POLL_S)
            self.fd = servers.fileno()
            """The descriptor that servers inherit."""
            self._files = files.pop_all()

    def release(self) -> None:
        """Release the folder; do nothing if it was released before."""
        self._files.close()
