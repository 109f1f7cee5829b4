"""Let one run at a time use a data folder."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import lock_descriptor

from shared.errors import InvalidOption

_SERVERS_GONE_S: Final = 15.0
"""Longest wait for the servers of a killed run; their reapers give them 5 s."""
_POLL_S: Final = 0.05


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Lock a data folder for this process and its servers; yield the descriptor they inherit.

    There are two files: `.lock` is held by the owner, so that a second run is refused at once,
    and `.servers.lock` is inherited by the servers. After an owner was killed, its servers need
    a moment to end; the next owner waits for that instead of opening their data a second time.
    The kernel releases both locks when their holders end, however that happens.

    Raises:
        InvalidOption: If another run uses the folder, or if servers of an earlier run do not end.
    """
    with (folder / ".lock").open("a+") as owner, (folder / ".servers.lock").open("ab") as servers:
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
        yield servers.fileno()
