"""Start the processes of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from worker.runtime.parent_death import dies_with_parent

_ROOT: Final = Path(__file__).parents[2]


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a process of the run."""
    return {"PATH": os.defpath, "HOME": str(home), "PYTHONPATH": str(_ROOT)}


def spawn(script: Path, order: Path, log: Path) -> subprocess.Popen[bytes]:
    """Run *script* with the file *order*; it dies with the thread that started it."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, str(script), str(order)],
            cwd=_ROOT,
            env=environment(log.parent),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=dies_with_parent(),  # noqa: PLW1509 - it only calls the kernel
        )
