"""A job's progress, as a bar on a terminal or as plain lines elsewhere, until it has ended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from shared.errors import ServiceUnavailable
from shared.job.spec import TERMINAL_STATES, JobState

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.jobstore.values import JobStatus

PATIENCE_S: Final = 60.0
"""How long a job may wait for something before a waiting client gives up (exit code 3)."""
POLL_S: Final = 0.5
LINE_EVERY_S: Final = 5.0
"""Least time between two plain lines; they go to log files."""


class Screen(Protocol):
    """Where progress is shown."""

    def show(self, status: JobStatus) -> None:
        """Show a state that was just read; called twice a second."""
        ...

    def close(self, status: JobStatus) -> None:
        """Show the last state for good and give the terminal back."""
        ...


def watch(
    poll: Callable[[], JobStatus],
    screen: Screen,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    patience_s: float = PATIENCE_S,
) -> JobStatus:
    """Show a job's progress until it has ended, and return its last state.

    Args:
        poll: Reads the job's state.
        screen: Where it is shown; closed in any case.
        clock: Seconds that only go forward.
        sleep: Waits for that many seconds.
        patience_s: How long `waiting_for` may stand, in seconds, while nothing ends.

    Raises:
        ServiceUnavailable: If nothing ended for *patience_s* while the job waited; says for what.
    """
    status = poll()
    waiting_since, ended = clock(), status.done + status.failed
    try:
        while status.state not in TERMINAL_STATES:
            screen.show(status)
            if status.waiting_for is None or status.done + status.failed != ended:
                waiting_since, ended = clock(), status.done + status.failed
            elif clock() - waiting_since >= patience_s:
                raise ServiceUnavailable(
                    f"job {status.job_id} has waited for {patience_s:.0f} s: {status.waiting_for} "
                    f"({_ended(status)}); it goes on by itself once that is mended"
                )
            sleep(POLL_S)
            status = poll()
    finally:
        screen.close(status)
    return status


def exit_code(status: JobStatus) -> int:
    """Return 0 if every image is done, 1 if some failed or the job was cancelled."""
    return 0 if status.state is JobState.DONE and status.failed == 0 else 1


def screen_for(stream: IO[str], *, model: str | None = None) -> Screen:
    """Return a bar if *stream* is a terminal, otherwise plain lines; see `describe_waiting`."""
    if stream.isatty():
        return Bar(Console(file=stream), model=model)
    return Lines(stream, model=model)


@dataclass
class Lines:
    """Plain lines, one every few seconds when something has changed."""

    stream: IO[str]
    clock: Callable[[], float] = time.monotonic
    model: str | None = None
    _shown: str = ""
    _shown_at: float = float("-inf")

    def show(self, status: JobStatus) -> None:
        """See `Screen.show`."""
        if self.clock() - self._shown_at >= LINE_EVERY_S:
            self._write(status)

    def close(self, status: JobStatus) -> None:
        """See `Screen.close`."""
        self._write(status)

    def _write(self, status: JobStatus) -> None:
        line = describe(status, model=self.model)
        if line != self._shown:
            print(line, file=self.stream, flush=True)
            self._shown, self._shown_at = line, self.clock()


class Bar:
    """A live bar with rate and time left."""

    def __init__(self, console: Console, *, model: str | None = None) -> None:
        self._model = model
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
            auto_refresh=False,
        )
        self._task = self._progress.add_task("", total=None, figures="")
        self._progress.start()

    def show(self, status: JobStatus) -> None:
        """See `Screen.show`."""
        self._progress.update(
            self._task,
            description=describe_waiting(status, model=self._model) or status.state.value,
            total=status.total,
            completed=status.done + status.failed,
            figures=f"{_ended(status)}{_speed(status)}",
        )
        self._progress.refresh()

    def close(self, status: JobStatus) -> None:
        """See `Screen.close`."""
        self.show(status)
        self._progress.stop()


def describe(status: JobStatus, *, model: str | None = None) -> str:
    """Return a job's state in one plain line; see `describe_waiting`."""
    parts = (f"{_ended(status)}{_speed(status)}", describe_waiting(status, model=model))
    return f"{status.job_id} {status.state.value}: {', '.join(part for part in parts if part)}"


def describe_waiting(status: JobStatus, *, model: str | None = None) -> str | None:
    """Return what a job waits for, or None.

    Args:
        status: The job's status.
        model: The model that a worker of this process is loading, if it has one (`rmbg run`).
    """
    if status.waiting_for == "no worker" and model is not None:
        return f"starting the worker (loading {model})"
    return status.waiting_for and f"waiting: {status.waiting_for}"


def duration(seconds: float) -> str:
    """Return a rounded time span such as `45 s`, `12 min` or `3 h 05 min`."""
    whole = round(seconds)
    if whole < 120:  # noqa: PLR2004 - two minutes: below, seconds say more
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 120:  # noqa: PLR2004 - two hours
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"


def _ended(status: JobStatus) -> str:
    failed = f", {status.failed} failed" if status.failed else ""
    return f"{status.done + status.failed} of {status.total}{failed}"


def _speed(status: JobStatus) -> str:
    rate = f", {status.images_per_s:.3g} images/s" if status.images_per_s else ""
    left = status.eta_s is not None and status.state not in TERMINAL_STATES
    return f"{rate}, {duration(status.eta_s or 0)} left" if left else rate
