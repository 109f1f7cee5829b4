"""The worker process of `rmbg run`, restarted when it dies."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from producer.local.supervise import kill, last_words, start_reaped
from shared.errors import InvalidOption, ServiceUnavailable

CONFIG_EXIT: Final = 2
"""Exit code of `rmbg-worker` for unusable settings; a restart would not help."""
MAX_STARTS: Final = 5
"""Starts without a finished item before the run gives up; a bad image may cause three."""
_PROGRAM: Final = "rmbg-worker: "
GRACE_S: Final = 30.0
"""From SIGTERM to SIGKILL; a worker exits within 25 s."""


class WorkerProcess:
    """A running `rmbg-worker`: started by the constructor, ended by `close` or `discard`.

    The worker runs through a reaper in its own session: Ctrl-C does not reach it, so it is
    stopped in order, and it ends when this process ends, even by `kill -9`.
    """

    def __init__(self, env: Mapping[str, str], model: str, log: Path) -> None:
        self._env = {**env, "RMBG_MODELS": model}
        self._log = log
        self._ended = self._starts = 0
        self._start()

    def close(self) -> None:
        """Stop the worker in order and wait for its end."""
        self._process.communicate()  # closes standard input and waits

    def discard(self) -> None:
        """End the worker at once, when its job has ended: it holds no ticket and no image."""
        kill(self._process)

    def keep_alive(self, ended: int) -> None:
        """Restart the worker if it has died.

        Args:
            ended: Items that have ended, or another number that grows while all is well; if it
                changed, starts are counted anew.

        Raises:
            InvalidOption: If the worker reports unusable settings.
            ServiceUnavailable: After `MAX_STARTS` starts without a finished item.
        """
        if ended != self._ended:
            self._ended, self._starts = ended, min(self._starts, 1)
        if (code := self._process.poll()) is None:
            return
        if code == CONFIG_EXIT:
            raise InvalidOption(f"the worker could not start: {last_words(self._log, _PROGRAM)}")
        if self._starts >= MAX_STARTS:
            raise ServiceUnavailable(
                f"the worker exited {MAX_STARTS} times (last exit code {code}) without finishing "
                f"an image: {last_words(self._log)}"
            )
        self._start()

    def _start(self) -> None:
        self._starts += 1
        self._process = start_reaped([_binary()], log=self._log, env=self._env, grace_s=GRACE_S)


def _binary() -> str:
    """Return the path of `rmbg-worker`, which is installed beside this Python.

    Raises:
        InvalidOption: If the extra `worker` is not installed.
    """
    found = shutil.which("rmbg-worker", path=os.fspath(Path(sys.executable).parent))
    if found is None:
        raise InvalidOption("rmbg-worker is not installed: pip install 'rmbg-queue[worker,local]'")
    return found
