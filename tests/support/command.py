"""Run the console script `rmbg` with a clean environment."""

import subprocess
import sys
from pathlib import Path

RMBG = Path(sys.executable).with_name("rmbg")


def rmbg(*args, stdin=b"", env=None, timeout_s=120):
    """Run `rmbg` until it exits, with only *env* and what Python needs in its environment."""
    return subprocess.run(
        [RMBG, *args],
        check=False,
        input=stdin,
        capture_output=True,
        timeout=timeout_s,
        env=environment(env or {}),
    )


def environment(env):
    """Return *env* with the variables that Python needs."""
    return {"HOME": "/nonexistent", "LC_ALL": "C.UTF-8"} | env


def complaint(done, code=2):
    """Return the error message of a command that failed with exit code *code*."""
    assert done.returncode == code, done
    assert done.stdout == b"", done
    [line] = done.stderr.decode().splitlines()
    assert line.startswith("rmbg: ")
    return line.removeprefix("rmbg: ")
