"""Start the processes of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
"""The source tree."""


def environment(home: Path, root: Path = ROOT) -> dict[str, str]:
    """Return the environment of a process of the run that uses the source tree *root*."""
    return {
        "PATH": os.defpath,
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONPATH": str(root),
    }


def spawn(
    main: Path, order: Mapping[str, Any], log: Path, *, root: Path = ROOT
) -> subprocess.Popen[bytes]:
    """Start the program *main*, which reads *order* as JSON from standard input."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(main)],
            cwd=root,
            env=environment(log.parent, root),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )
    if process.stdin is None:
        raise RuntimeError(f"{main} has no standard input")
    with process.stdin as stdin:
        stdin.write(json.dumps(order).encode())
    return process
