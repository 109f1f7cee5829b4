"""Show a job's progress until it ends: a bar on a terminal, plain lines elsewhere."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from producer.patience import Patience
from producer.services import Services
from shared.errors import ServiceUnavailable
from shared.job.spec import TERMINAL_STATES, JobState
from shared.jobstore.values import JobStatus

WAITING_LIMIT_S: Final = 60.0
"""How long a job may wait for a worker or bucket before `watch` gives up, in seconds."""
POLL_S: Final = 0.5
"""Time between two reads of the status, in seconds."""
LINE_EVERY_S: Final = 5.0
"""Shortest time between two plain lines, in seconds: they go to log files."""


class Screen(Protocol):
    """A display of a job's progress."""

    def show(self, status: JobStatus) -> None:
        """Show the latest status; called twice a second."""

    def say(self, text: str) -> None:
        """Show a message beside the progress."""

    def close(self, status: JobStatus) -> None:
        """Show the final status and release the terminal."""


def watch(
    poll: Callable[[], JobStatus],
    screen: Screen,
    *,
    resume: str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> JobStatus:
    """Show a job's progress until it ends, and return its final status.

    Args:
        poll: Returns the job's current status.
        screen: Display to use; it is closed even after an error.
        resume: What the user does after a cause of waiting is fixed, for the error message: this
            command has then ended.
        clock: Returns a monotonic time in seconds.
        sleep: Waits for a number of seconds, or until the job may have ended.

    Raises:
        ServiceUnavailable: If the job waits for `WAITING_LIMIT_S` without an item ending; the
            message names what it waits for.
    """
    status = poll()
    waiting_since, ended = clock(), status.done + status.failed
    try:
        while status.state not in TERMINAL_STATES:
            screen.show(status)
            if status.waiting_for is None or status.done + status.failed != ended:
                waiting_since, ended = clock(), status.done + status.failed
            elif clock() - waiting_since >= WAITING_LIMIT_S:
                raise ServiceUnavailable(
                    f"job {status.job_id} has been waiting for {WAITING_LIMIT_S:.0f} s: "
                    f"{status.waiting_for} ({_ended(status)}); "
                    f"fix this, then {resume}"
                )
            sleep(POLL_S)
            status = poll()
    finally:
        screen.close(status)
    return status


def watch_job(services: Services, job_id: str, stream: IO[str]) -> int:
    """Show a job's progress on *stream* until it ends, and return the command's exit code.

    A restart of Redis is waited for, see `Patience`.

    Raises:
        UnknownJob: If Redis does not know the job; nothing is shown.
        ServiceUnavailable: See `watch`; at once if Redis does not answer at all.
    """
    poll = functools.partial(services.jobs.queries.status, job_id)
    first = Patience(functools.partial(print, file=stream, flush=True)).insist(poll, POLL_S)
    screen = screen_for(stream)
    status = watch(
        patient(poll, first, Patience(screen.say)), screen, resume=f"run `rmbg watch {job_id}`"
    )
    return exit_code(status)


def patient(
    poll: Callable[[], JobStatus], status: JobStatus, patience: Patience
) -> Callable[[], JobStatus]:
    """Return a *poll* that returns the last status, at first *status*, during an outage."""

    def last_known() -> JobStatus:
        nonlocal status
        with patience:
            status = poll()
        return status

    return last_known


def exit_code(status: JobStatus) -> int:
    """Return 0 if every image is done, and 1 if an image failed or the job was cancelled."""
    return 0 if status.state is JobState.DONE and status.failed == 0 else 1


def screen_for(stream: IO[str], *, model: str | None = None) -> Screen:
    """Return a bar if *stream* is a terminal, otherwise plain lines; see `describe_waiting`."""
    if stream.isatty():
        return Bar(Console(file=stream), model=model)
    return Lines(stream, model=model)


@dataclass
class Lines:
    """Plain lines: one every `LINE_EVERY_S` at most, and only after a change."""

    stream: IO[str]
    clock: Callable[[], float] = time.monotonic
    model: str | None = None
    _shown: str = ""
    _shown_at: float = float("-inf")

    def show(self, status: JobStatus) -> None:
        """See `Screen.show`."""
        if self.clock() - self._shown_at >= LINE_EVERY_S:
            self._write(status)

    def say(self, text: str) -> None:
        """See `Screen.say`."""
        print(text, file=self.stream, flush=True)

    def close(self, status: JobStatus) -> None:
        """See `Screen.close`."""
        self._write(status)

    def _write(self, status: JobStatus) -> None:
        line = describe(status, model=self.model)
        if line != self._shown:
            print(line, file=self.stream, flush=True)
            self._shown, self._shown_at = line, self.clock()


class Bar:
    """A live progress bar with rate and time left."""

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
            figures=_figures(status),
        )
        self._progress.refresh()

    def say(self, text: str) -> None:
        """See `Screen.say`."""
        self._progress.console.print(text, markup=False, highlight=False)

    def close(self, status: JobStatus) -> None:
        """See `Screen.close`."""
        self.show(status)
        self._progress.stop()


def describe(status: JobStatus, *, model: str | None = None) -> str:
    """Return a job's state in one plain line; see `describe_waiting`."""
    parts = (_figures(status), describe_waiting(status, model=model))
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
    """Return a rounded duration such as `45 s`, `12 min` or `3 h 05 min`."""
    whole = round(seconds)
    if whole < 120:  # noqa: PLR2004 - two minutes: seconds are more precise below
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 120:  # noqa: PLR2004 - two hours
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"


def count(number: int, noun: str) -> str:
    """Return the number with its noun, such as `1 image` or `2 images`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _figures(status: JobStatus) -> str:
    without = f", ended without {status.ended_without}" if status.ended_without else ""
    return f"{_ended(status)}{_speed(status)}{without}"


def _ended(status: JobStatus) -> str:
    failed = f", {status.failed} failed" if status.failed else ""
    return f"{status.done + status.failed} of {count(status.total, 'image')}{failed}"


def _speed(status: JobStatus) -> str:
    rate = f", {status.images_per_s:.3g} images/s" if status.images_per_s else ""
    if status.eta_s is None or status.state in TERMINAL_STATES:
        return rate
    return f"{rate}, {duration(status.eta_s)} left"
