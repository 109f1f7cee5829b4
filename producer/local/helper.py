"""The worker of `rmbg run`: a process of its own, started again when it dies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from producer.local import reaper
from shared.errors import InvalidOption, ServiceUnavailable

CONFIG_EXIT: Final = 2
"""`rmbg-worker` says that its settings cannot be used: another start would say the same."""
MAX_STARTS: Final = 5
"""Starts without a finished item after which the run gives up; one picture may cost three."""
GRACE_S: Final = 30.0
"""From SIGTERM to SIGKILL: a worker leaves within 25 s."""
LOG_TAIL_CHARS: Final = 1500


class WorkerProcess:
    """Keeps one `rmbg-worker` running as long as the context lasts.

    It runs through a reaper in a session of its own: Ctrl-C does not reach it, so it is ended in
    order, and it is gone when this process is, however that ended.
    """

    def __init__(self, env: Mapping[str, str], model: str, log: Path) -> None:
        self._env = {**env, "RMBG_MODELS": model}
        self._log = log
        self._starts = 0
        self._ended = -1
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        process.wait()

    def keep_alive(self, *, ended: int) -> None:
        """Start the worker again if it has died; *ended* items show that it gets somewhere.

        Raises:
            InvalidOption: If it says that its settings cannot be used.
            ServiceUnavailable: After `MAX_STARTS` starts without a finished item.
        """
        if ended != self._ended:
            self._ended, self._starts = ended, min(self._starts, 1)
        if self._process is None or (code := self._process.poll()) is None:
            return
        if code == CONFIG_EXIT:
            raise InvalidOption(f"the worker cannot start: {self._tail()}")
        if self._starts >= MAX_STARTS:
            raise ServiceUnavailable(
                f"the worker ended {MAX_STARTS} times (exit code {code}) without finishing an "
                f"item: {self._tail()}"
            )
        self._start()

    def _start(self) -> None:
        self._starts += 1
        command = [sys.executable, "-I", reaper.__file__, _LOCK_FREE, str(GRACE_S), _binary()]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._env,
                start_new_session=True,
            )

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-LOG_TAIL_CHARS:].strip()


_LOCK_FREE: Final = "-1"
"""To the reaper: there is no lock that this process should inherit."""


def _binary() -> str:
    """Return the path of `rmbg-worker`, which lies beside this Python.

    Raises:
        InvalidOption: If the extra `worker` is not installed.
    """
    found = shutil.which("rmbg-worker", path=os.fspath(Path(sys.executable).parent))
    if found is None:
        raise InvalidOption("rmbg-worker is not installed: pip install 'rmbg-queue[worker,local]'")
    return found
