"""Progress with a simulated clock: when it gives up, what it prints, its exit code."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from producer.progress import (
    Bar,
    Lines,
    count,
    describe,
    describe_waiting,
    duration,
    exit_code,
    screen_for,
    watch,
)
from shared.errors import ServiceUnavailable
from shared.job.spec import JobState
from shared.jobstore.values import JobStatus

RUNNING = JobStatus(
    job_id="j1",
    state=JobState.RUNNING,
    waiting_for=None,
    total=100,
    done=0,
    failed=0,
    created_at=datetime(2026, 11, 23, tzinfo=UTC),
    finished_at=None,
    images_per_s=None,
    eta_s=None,
    generation=1,
    error_classes={},
    verdicts={},
)
DONE = replace(RUNNING, state=JobState.DONE, done=100)
WAITING = replace(RUNNING, waiting_for="no worker")


class Clock:
    """A clock that only advances when `sleep` is called."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


def follow(states):
    """Return a function that watches *states*, its output and its clock; the last state repeats."""
    clock, out = Clock(), io.StringIO()
    walk = iter(states)
    current = [next(walk)]

    def poll():
        now = current[0]
        current[0] = next(walk, now)
        return now

    def run():
        screen = Lines(out, clock)
        return watch(poll, screen, resume="run it again", clock=clock, sleep=clock.sleep)

    return run, out, clock


def test_watch_returns_the_final_status():
    run, out, _ = follow([RUNNING, replace(RUNNING, done=40), DONE])

    assert run() == DONE
    assert out.getvalue().splitlines()[-1] == "j1 done: 100 of 100 images"


def test_a_job_that_has_already_ended_prints_one_line():
    run, out, clock = follow([DONE])

    run()

    assert out.getvalue() == "j1 done: 100 of 100 images\n"
    assert clock.now_s == 0


def test_watch_gives_up_after_a_minute_of_waiting_and_names_the_reason():
    run, out, clock = follow([WAITING])

    # It does not claim that anything goes on: `rmbg run` ends its worker.
    with pytest.raises(
        ServiceUnavailable, match=r"waiting for 60 s: no worker .*; fix this, then run it again$"
    ):
        run()

    assert clock.now_s == pytest.approx(60, abs=1)
    assert out.getvalue().count("waiting: no worker") == 1


def test_an_item_that_ends_restarts_the_minute():
    states = [WAITING] * 100 + [replace(WAITING, done=1)] * 200
    run, _, clock = follow(states)

    with pytest.raises(ServiceUnavailable):
        run()

    assert clock.now_s == pytest.approx(50 + 60, abs=1)


def test_the_end_of_a_wait_restarts_the_minute():
    run, _, _ = follow([WAITING] * 100 + [RUNNING] + [WAITING] * 100 + [DONE])

    assert run() == DONE


def test_a_slow_job_that_is_not_waiting_is_watched_without_limit():
    run, _, clock = follow([RUNNING] * 10_000 + [DONE])

    assert run() == DONE
    assert clock.now_s == 5_000


def test_plain_lines_appear_every_few_seconds_and_only_after_a_change():
    states = [replace(RUNNING, done=n) for n in range(40)] + [replace(RUNNING, done=40)] * 60
    run, out, _ = follow([*states, DONE])

    run()

    assert [re.findall(r"(\d+) of", line)[0] for line in out.getvalue().splitlines()] == [
        *("0", "10", "20", "30", "40"),
        "100",
    ]


def test_a_pipe_receives_no_control_characters():
    out = io.StringIO()
    screen = screen_for(out)
    screen.show(RUNNING)
    screen.close(DONE)

    assert out.getvalue().split("\n") == [
        "j1 running: 0 of 100 images",
        "j1 done: 100 of 100 images",
        "",
    ]


def test_a_terminal_shows_a_bar_with_rate_and_time_left():
    out = io.StringIO()
    bar = Bar(Console(file=out, force_terminal=True, width=120))
    bar.show(replace(RUNNING, done=50, failed=2, images_per_s=12.34, eta_s=3.9))
    bar.close(replace(DONE, done=98, failed=2))

    assert "52 of 100 images, 2 failed, 12.3 images/s, 4 s left" in out.getvalue()
    assert "100 of 100 images, 2 failed" in out.getvalue()


def test_the_bar_does_not_interpret_markup():
    """A bucket or a reason may contain square brackets."""
    out = io.StringIO()
    bar = Bar(Console(file=out, force_terminal=True, width=120))
    bar.close(replace(RUNNING, waiting_for="bucket: [red]inbox[/nix]"))

    assert "[red]inbox[/nix]" in out.getvalue()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (DONE, 0),
        (replace(DONE, done=99, failed=1), 1),
        (replace(DONE, state=JobState.CANCELLED, done=3), 1),
    ],
)
def test_the_exit_code_is_0_only_if_every_image_is_done(status, code):
    assert exit_code(status) == code


def test_the_description_contains_rate_time_left_and_reason_for_waiting():
    status = replace(WAITING, done=7, failed=1, images_per_s=0.5, eta_s=184.0)

    assert describe(status) == (
        "j1 running: 8 of 100 images, 1 failed, 0.5 images/s, 3 min left, waiting: no worker"
    )


@pytest.mark.parametrize(("number", "text"), [(0, "0 images"), (1, "1 image"), (2, "2 images")])
def test_a_count_of_one_is_singular(number, text):
    assert count(number, "image") == text


@pytest.mark.parametrize(
    ("waiting_for", "text"),
    [
        (None, None),
        ("no worker", "starting the worker (loading m)"),
        ("no worker serves m: no weights", "waiting: no worker serves m: no weights"),
    ],
)
def test_a_run_says_that_its_worker_is_starting(waiting_for, text):
    """`rmbg run` has a worker of its own, which is not ready while it loads the model."""
    assert describe_waiting(replace(RUNNING, waiting_for=waiting_for), model="m") == text


@pytest.mark.parametrize("kind", ["lines", "bar"])
def test_both_screens_say_that_the_worker_is_starting(kind):
    out = Terminal() if kind == "bar" else io.StringIO()
    screen = screen_for(out, model="m")
    screen.show(WAITING)
    screen.close(DONE)

    assert "starting the worker (loading m)" in out.getvalue()
    assert "no worker" not in out.getvalue()


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "2 h 00 min"), (11_100, "3 h 05 min")],
)
def test_durations_are_rounded(seconds, text):
    assert duration(seconds) == text


def test_an_ended_job_names_the_documents_that_it_does_not_have():
    status = replace(DONE, ended_without="report.html (failed 3 times: ValueError)")
    console = Console(file=io.StringIO(), force_terminal=True, width=200)

    Bar(console).close(status)

    without = "ended without report.html (failed 3 times: ValueError)"
    assert describe(status) == f"j1 done: 100 of 100 images, {without}"
    assert without in console.file.getvalue()
