"""Check the device in a new process, and wait until it works again."""

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import Final

logger = logging.getLogger(__name__)

CHECK_S: Final = 120.0
"""Longest time that a check may take, in seconds."""
PAUSES_S: Final = (10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
"""Pauses between two checks, in seconds; the last one repeats."""
REPORT_S: Final = 3.0
"""Interval at which the reason is registered."""
_CHECK: Final = (sys.executable, "-P", "-c", "from worker.cli import main; main()", "--check")


def works_in_new_process() -> bool:
    """Run `rmbg-worker --check` with this process's environment; return whether it succeeds."""
    try:
        done = subprocess.run(_CHECK, capture_output=True, timeout=CHECK_S, check=False)  # noqa: S603 - constant
    except (OSError, subprocess.TimeoutExpired) as err:
        logger.warning("device check failed", extra={"cause": str(err)})
        return False
    if done.returncode:
        cause = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        logger.warning("device check failed", extra={"cause": "".join(cause)})
    return done.returncode == 0


def wait_for_device(
    works: Callable[[], bool],
    *,
    report: Callable[[], None],
    stopped: Callable[[float], bool],
    pauses_s: Iterator[float] | None = None,
) -> bool:
    """Check the device from time to time; return True once it works, False once stopped.

    A supervisor that restarts a worker every few seconds on a broken device would occupy the
    machine, and each start would look like a worker that can serve.

    Args:
        works: Checks the device.
        report: Called every few seconds, to tell the fleet what is wrong.
        stopped: Waits for so many seconds; returns whether the process is asked to end.
        pauses_s: Pauses between two checks, in seconds.
    """
    for pause_s in pauses_s or chain(PAUSES_S, repeat(PAUSES_S[-1])):
        logger.warning("device does not work", extra={"wait_s": pause_s})
        left_s = pause_s
        while left_s > 0:
            report()
            if stopped(min(left_s, REPORT_S)):
                return False
            left_s -= REPORT_S
        if works():
            return True
    return False
