"""Simulate a power cut: cut off the end of Redis' append-only file."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final

LOST_S: Final = 1.0
"""Time whose writes `appendfsync everysec` may lose."""
SAMPLE_S: Final = 0.1
_FILES: Final = "appendonlydir"


class AppendOnlyFile:
    """The append-only file of Redis, which can be cut back by up to a second of writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _FILES
        self._sizes: deque[tuple[float, Path, int]] = deque(maxlen=round(3 * LOST_S / SAMPLE_S))
        self._floor_bytes = 0
        self._closed = threading.Event()
        self.lost_bytes = 0
        """Number of bytes that were cut off so far."""
        self._thread = threading.Thread(target=self._sample, name="append-only", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop sampling the size of the file."""
        self._closed.set()
        self._thread.join()

    def follow(self, folder: Path) -> None:
        """Continue with the file of another server, of which nothing written so far is lost."""
        self._folder = folder / _FILES
        self.keep()

    def keep(self) -> None:
        """Never cut what is written now: a client was told that it is durable."""
        self._floor_bytes = self._path().stat().st_size

    def cut(self, chance: random.Random) -> None:
        """Cut off the last second of writes or a part of it, usually in the middle of a command.

        Redis must not be running.
        """
        path = self._path()
        size_bytes = path.stat().st_size
        before = time.monotonic() - LOST_S
        known = [size for at, where, size in list(self._sizes) if at <= before and where == path]
        least = max(self._floor_bytes, known[-1] if known else size_bytes)
        end = chance.randint(least, size_bytes) if least < size_bytes else size_bytes
        with path.open("r+b") as file:
            file.truncate(end)
        self.lost_bytes += size_bytes - end

    def _path(self) -> Path:
        found = self._folder.glob("*.incr.aof")
        return max(found, key=lambda path: int(path.name.split(".")[-3]))

    def _sample(self) -> None:
        while not self._closed.wait(SAMPLE_S):
            try:
                path = self._path()
                self._sizes.append((time.monotonic(), path, path.stat().st_size))
            except (OSError, ValueError):
                continue  # Redis is switching files, or has not written one yet
