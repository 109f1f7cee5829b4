"""A server as a child process that leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from producer.local import reaper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.errors import ServiceUnavailable

READY_S: Final = 30.0
"""Longest wait for a server; 2 s are usual, a full disk cache or a large log can take more."""
_GRACE_S: Final = 5.0
"""From SIGTERM to SIGKILL; SeaweedFS takes 2.1 s, and a kill loses nothing acknowledged."""
_POLL_S: Final = 0.02
_LOG_TAIL_CHARS: Final = 1500


@dataclass(kw_only=True)
class Server:
    """One server, run through a reaper (see `producer.local.reaper`) in a session of its own.

    The session keeps Ctrl-C away from it, so that a worker can finish with its help.
    """

    name: str
    command: Sequence[str]
    folder: Path
    """Working directory, created if missing; the log lies beside it."""
    env: dict[str, str]
    """The whole environment: the owner's credentials must not become the server's."""
    lock_fd: int
    is_ready: Callable[[], bool]
    fault: type[ServiceUnavailable]
    """What is raised when it does not come up."""
    leftovers: Sequence[Path] = ()
    """Sockets that it leaves when it is killed."""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        """What the server wrote, over all its starts."""
        return self.folder.with_suffix(".log")

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and return when it is ready; nothing happens if it runs.

        Raises:
            ServiceUnavailable: Of the kind `fault`, with the log's end, if it ends or is not
                ready within `READY_S`.
        """
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """Start it without waiting."""
        if self.is_running:
            return
        self.folder.mkdir(exist_ok=True)
        self._sweep()
        head = [sys.executable, "-I", reaper.__file__, str(self.lock_fd), str(_GRACE_S)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*head, *self.command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.env,
                pass_fds=(self.lock_fd,),
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Return when it answers; see `start`."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            if not self.is_running:
                raise self.fault(f"{self.name} ended at its start: {self._tail()}")
            if self.is_ready():
                return
            time.sleep(_POLL_S)
        self.stop()
        raise self.fault(f"{self.name} is not ready after {READY_S:g} s: {self._tail()}")

    def stop(self) -> None:
        """End it in order, by force after the grace; nothing happens if it does not run."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(_GRACE_S + 3)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None
        self._sweep()

    def kill(self) -> None:
        """Kill server and reaper with SIGKILL, as a crash would; `start` brings it back."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()
        self._process = None

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-_LOG_TAIL_CHARS:]

    def _sweep(self) -> None:
        for path in self.leftovers:
            path.unlink(missing_ok=True)
