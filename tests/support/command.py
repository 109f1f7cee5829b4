"""The console script `rmbg` in a process of its own, with an environment of its own."""

import subprocess
import sys
from pathlib import Path

RMBG = Path(sys.executable).with_name("rmbg")


def rmbg(*args, stdin=b"", env=None, timeout_s=60):
    """Run `rmbg` to its end, with *env* and nothing of ours in its environment."""
    return subprocess.run(
        [RMBG, *args],
        check=False,
        input=stdin,
        capture_output=True,
        timeout=timeout_s,
        env=environment(env or {}),
    )


def environment(env):
    """Return *env* on top of what Python itself needs."""
    return {"HOME": "/nonexistent", "LC_ALL": "C.UTF-8"} | env


def complaint(done, code=2):
    """Return the one line on standard error of a command that has failed with *code*."""
    assert done.returncode == code, done
    assert done.stdout == b"", done
    [line] = done.stderr.decode().splitlines()
    assert line.startswith("rmbg: ")
    return line.removeprefix("rmbg: ")
