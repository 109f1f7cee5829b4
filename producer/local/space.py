"""Notice that the disk of a run is full, whichever of its parts fails first."""

import errno
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shared.errors import InvalidOption, ServiceUnavailable

LEAST_BYTES: Final = 64 * 2**20
"""Free space below which a run ends: SeaweedFS adds no volume to a smaller disk, and Redis refuses
writes once it cannot write its file. Neither says so in its answers."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_COMPLAINTS: Final = re.compile(
    rb"no space left on device|no free volumes left|disk quota exceeded", re.IGNORECASE
)
"""What SeaweedFS and Valkey log when they cannot write."""


class Space:
    """The free space of a run's folder, and what its servers log of it."""

    def __init__(
        self,
        out: Path,
        logs: Sequence[Path] = (),
        *,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        """Watch the disk of *out*.

        Args:
            out: A folder that exists.
            logs: Log files of the servers; what they hold now is not read.
            free_bytes: Returns the free space of the disk that holds a folder.
        """
        self._out = out
        self._free_bytes = free_bytes
        self._read_to = {log: _length(log) for log in logs}

    def check(self) -> None:
        """Raise `InvalidOption` if the disk is full, or a server has logged that it is."""
        if self._free_bytes(self._out) < LEAST_BYTES or self._is_logged():
            raise self._error()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Raise `InvalidOption` in place of an error whose cause is the full disk."""
        try:
            yield
        except InvalidOption as err:
            cause = err.__cause__
            if isinstance(cause, OSError) and cause.errno in _FULL:  # a quota, perhaps
                raise self._error() from err
            self.check()
            raise
        except (ServiceUnavailable, OSError):
            self.check()
            raise

    def _error(self) -> InvalidOption:
        free_mb = self._free_bytes(self._out) // 10**6
        return InvalidOption(
            f"no space left in OUT_DIR ({self._out}): {free_mb} MB free are too few; make room on "
            "this disk, then repeat the command"
        )

    def _is_logged(self) -> bool:
        return any(_COMPLAINTS.search(self._news(log)) for log in self._read_to)

    def _news(self, log: Path) -> bytes:
        """Return what was appended to *log* since the last call."""
        try:
            with log.open("rb") as file:
                file.seek(self._read_to[log])
                news = file.read()
        except FileNotFoundError:
            return b""
        self._read_to[log] += news.rfind(b"\n") + 1  # the rest of a line may follow
        return news


def _length(log: Path) -> int:
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0
