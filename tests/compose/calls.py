"""How the stage calls Docker and compose, waits, and says what it saw."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final, TypeVar

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final = "rmbgstage"
WAIT_S: Final = 120.0
BEGAN: Final = time.monotonic()

Answer = TypeVar("Answer")


class Failed(Exception):
    """A fact was not as it should be."""


def say(what: str, *facts: object) -> None:
    """Print one line, after the seconds since the start."""
    print(f"{time.monotonic() - BEGAN:4.0f} s ", what, *facts, flush=True)


def until(what: str, holds: Callable[[], Answer], *, within_s: float = WAIT_S) -> Answer:
    """Wait for a true answer and return it.

    Raises:
        Failed: If there is none in *within_s* seconds.
    """
    deadline = time.monotonic() + within_s
    while not (answer := holds()):
        if time.monotonic() > deadline:
            raise Failed(f"not within {within_s:.0f} s: {what}; last seen: {answer!r}")
        time.sleep(0.5)
    say(what)
    return answer


def run(
    *command: str, timeout_s: float = WAIT_S, accepted: Collection[int] = (0,)
) -> subprocess.CompletedProcess[str]:
    """Run a command.

    Raises:
        Failed: If it takes longer than *timeout_s*, or exits otherwise than *accepted* says.
    """
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as err:
        raise Failed(f"{' '.join(command)}: over {timeout_s:.0f} s") from err
    if done.returncode not in accepted:
        said = (done.stdout + done.stderr)[-3000:]
        raise Failed(f"{' '.join(command)}: exit {done.returncode}: {said}")
    return done


def docker(*args: str, timeout_s: float = WAIT_S) -> str:
    """Run `docker` and return what it printed, less the line's end."""
    return run("docker", *args, timeout_s=timeout_s).stdout.strip()


class Compose:
    """`docker-compose` over the project's own file, with settings of this run alone."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._command = [*command, "-p", PROJECT, "--env-file", str(folder / ".env")]

    def __call__(
        self, *args: str, timeout_s: float = WAIT_S, accepted: Collection[int] = (0,)
    ) -> str:
        """Run one sub-command and return what it printed."""
        return run(*self._command, *args, timeout_s=timeout_s, accepted=accepted).stdout

    def rmbg(self, *args: str, accepted: Collection[int] = (0,)) -> str:
        """Run the producer's command in its image."""
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
        """Remove everything of this run, whatever its profile; harmless where nothing is."""
        self("--profile", "metrics", "down", "-v", "--remove-orphans", "-t", "5")
