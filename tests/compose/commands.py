"""Run Docker and compose commands, wait for conditions, and print results."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final, TypeVar

ROOT: Final = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from support.until import poll  # noqa: E402 - needs the path set above

PROJECT: Final = "rmbgcompose"
WAIT_S: Final = 120.0
STARTED_S: Final = time.monotonic()

Value = TypeVar("Value")


class CheckFailed(Exception):
    """A command failed or a check did not hold."""


def report(what: str, *facts: object) -> None:
    """Print one line, after the seconds since the start."""
    print(f"{time.monotonic() - STARTED_S:4.0f} s ", what, *facts, flush=True)


def wait_for(what: str, condition: Callable[[], Value], *, within_s: float = WAIT_S) -> Value:
    """Wait until *condition()* returns a truthy value, and return that value.

    Raises:
        CheckFailed: If the deadline passes.
    """
    value = None
    for _ in poll(within_s=within_s, every_s=0.5):
        if value := condition():
            report(what)
            return value
    raise CheckFailed(f"not within {within_s:.0f} s: {what}; last value: {value!r}")


def run(
    *command: str, timeout_s: float = WAIT_S, accepted: Collection[int] = (0,)
) -> subprocess.CompletedProcess[str]:
    """Run a command.

    Raises:
        CheckFailed: If it takes longer than *timeout_s*, or its exit code is not *accepted*.
    """
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as err:
        raise CheckFailed(f"{' '.join(command)}: took over {timeout_s:.0f} s") from err
    if done.returncode not in accepted:
        output = (done.stdout + done.stderr)[-3000:]
        raise CheckFailed(f"{' '.join(command)}: exit code {done.returncode}: {output}")
    return done


def docker(*args: str, timeout_s: float = WAIT_S) -> str:
    """Run `docker` and return its output without surrounding white space."""
    return run("docker", *args, timeout_s=timeout_s).stdout.strip()


class Compose:
    """`docker-compose` with the project's own file and the settings of this run."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._command = [*command, "-p", PROJECT, "--env-file", str(folder / ".env")]

    def __call__(
        self, *args: str, timeout_s: float = WAIT_S, accepted: Collection[int] = (0,)
    ) -> str:
        """Run one subcommand and return its output."""
        return run(*self._command, *args, timeout_s=timeout_s, accepted=accepted).stdout

    def rmbg(self, *args: str, accepted: Collection[int] = (0,)) -> str:
        """Run `rmbg` in the producer's image and return its output."""
        return self("run", "--rm", "-T", "producer", "rmbg", *args, accepted=accepted)

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's running containers."""
        return docker(
            "ps", "-q", "--no-trunc",
            "--filter", f"label=com.docker.compose.project={PROJECT}",
            "--filter", f"label=com.docker.compose.service={service}",
            "--filter", "label=com.docker.compose.oneoff=False",
        ).split()  # fmt: skip

    def down(self) -> None:
        """Remove everything of this run, of any profile; do nothing if there is nothing."""
        self("--profile", "metrics", "down", "-v", "--remove-orphans", "-t", "5")
