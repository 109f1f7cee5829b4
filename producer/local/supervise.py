"""Start and stop a server as a child process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from producer.local import reaper
from shared.errors import ServiceUnavailable
from shared.streams import printable

READY_S: Final = 30.0
"""Longest wait for a server; 2 s are usual, a slow disk or a large append-only file take more."""
_GRACE_S: Final = 5.0
"""From SIGTERM to SIGKILL; SeaweedFS takes 2.1 s. A kill loses no acknowledged write."""
_KILLED_S: Final = 5.0
"""Longest wait for the end of a killed server."""
_POLL_S: Final = 0.02
_LOG_TAIL_BYTES: Final = 8192
_LOG_TAIL_CHARS: Final = 500
_SERVER_LINES: Final = 4
"""Lines that a server's own error message may have, such as Valkey's of a bad option."""


def start_reaped(
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str],
    grace_s: float,
    folder: Path | None = None,
    lock_fd: int = -1,
) -> subprocess.Popen[bytes]:
    """Start *command* through `producer.local.reaper`, in a session of its own.

    Close the standard input of the returned process to stop the command.

    Args:
        command: Program and arguments.
        log: File that the output is appended to.
        env: The whole environment.
        grace_s: Seconds from SIGTERM to SIGKILL.
        folder: Working directory; None: the current one.
        lock_fd: Descriptor of a lock that the command inherits; negative: none.
    """
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-I", reaper.__file__, str(lock_fd), str(grace_s), *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=env,
            pass_fds=(lock_fd,) if lock_fd >= 0 else (),
            start_new_session=True,
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a command of `start_reaped` with SIGKILL; return when it and its reaper have ended."""
    if process.poll() is None:
        process.send_signal(signal.SIGUSR1)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_KILLED_S)
        with suppress(ProcessLookupError):  # if the reaper was only starting, or is stuck
            os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def last_words(log: Path, program: str = "", *, lines: int = 1) -> str:
    """Return what a process logged last and where, in one line, for an error message.

    Args:
        log: Its log file.
        program: If it has ended with an error message, which may have several lines: the name
            before it.
        lines: Least number of lines to show.
    """
    logged = [line for line in _tail(log).splitlines() if line.strip()]
    own = next((n for n, line in enumerate(reversed(logged), 1) if line.startswith(program)), 1)
    words = " ".join(map(_message, logged[-max(own, lines) :])) or "it logged nothing"
    return f"{printable(words[:_LOG_TAIL_CHARS])} (log: {log})"


def _message(line: str) -> str:
    """Return message and cause of a line of a JSON log, or any other *line* as it is."""
    with suppress(ValueError):
        body = json.loads(line)
        if isinstance(body, dict) and "message" in body:
            return ": ".join(str(body[name]) for name in ("message", "cause") if name in body)
    return line


def _tail(log: Path) -> str:
    """Return the last complete lines of *log*, or nothing if it cannot be read."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
        return file.read().decode(errors="replace")
    return ""


@dataclass(kw_only=True)
class Server:
    """A server process that runs through `producer.local.reaper` in its own session.

    Because of the session Ctrl-C does not reach it, so that a worker can still use it to finish.
    """

    name: str
    command: Sequence[str]
    folder: Path
    """Working directory, created if missing; the log is beside it."""
    env: dict[str, str]
    """The whole environment; the caller's credentials must not be in it."""
    lock_fd: int
    is_ready: Callable[[], bool]
    fault: type[ServiceUnavailable]
    """Raised if the server does not start."""
    leftovers: Sequence[Path] = ()
    """Sockets that the server leaves when it is killed."""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        """Log file, appended over all starts."""
        return self.folder.with_suffix(".log")

    @property
    def is_running(self) -> bool:
        """Whether the server was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and return when it is ready; do nothing if it runs.

        Raises:
            ServiceUnavailable: As `fault`, with the last lines of the log, if the server ends or
                is not ready within `READY_S`.
        """
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """Start the server without waiting."""
        if self.is_running:
            return
        self.folder.mkdir(exist_ok=True)
        self._sweep()
        self._process = start_reaped(
            self.command,
            log=self.log,
            env=self.env,
            grace_s=_GRACE_S,
            folder=self.folder,
            lock_fd=self.lock_fd,
        )

    def wait_ready(self) -> None:
        """Return when the server is ready; see `start`."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            if not self.is_running:
                raise self.fault(f"{self.name} exited while starting: {self._last_words()}")
            if self.is_ready():
                return
            time.sleep(_POLL_S)
        self.stop()
        raise self.fault(f"{self.name} is not ready after {READY_S:g} s: {self._last_words()}")

    def _last_words(self) -> str:
        return last_words(self.log, lines=_SERVER_LINES)

    def ask_to_stop(self) -> None:
        """Let the server begin to stop, without waiting."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.stdin = None  # `communicate` would use it

    def stop(self) -> None:
        """Stop the server, by force after the grace period; do nothing if it does not run."""
        if self._process is None:
            return
        try:
            self._process.communicate(timeout=_GRACE_S + 3)  # closes standard input and waits
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None
        self._sweep()

    def kill(self) -> None:
        """Kill server and reaper with SIGKILL, as in a crash; `start` starts them again."""
        if self._process is None:
            return
        kill(self._process)
        self._process = None

    def discard(self) -> None:
        """Kill the server, whose data nobody needs any more, and remove its sockets."""
        self.kill()
        self._sweep()

    def _sweep(self) -> None:
        for path in self.leftovers:
            path.unlink(missing_ok=True)


def stop_all(servers: Iterable[Server]) -> None:
    """Stop *servers* at the same time; return when all have ended."""
    together = tuple(servers)
    for server in together:
        server.ask_to_stop()
    for server in together:
        server.stop()
