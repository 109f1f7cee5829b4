"""Calls after a delay, by a clock that the test turns."""

import threading

from support.until import until

from worker.engine.delay_queue import Later


class Clock:
    """Stands still until it is turned; `later` looks again when something is put in."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def test_calls_are_made_in_the_order_in_which_they_are_due():
    clock, ran = Clock(), []
    later = Later(clock)

    for delay_s in (30, 10, 20):
        later.after(delay_s, lambda delay_s=delay_s: ran.append(delay_s))
    clock.now_s += 20
    later.after(0, lambda: ran.append(0))

    until(lambda: 0 in ran)
    assert ran == [10, 20, 0]


def test_a_call_that_is_due_soon_is_made_by_itself():
    done = threading.Event()

    Later().after(0.01, done.set)

    assert done.wait(10)


def test_cut_short_runs_what_waits_and_waits_for_nothing_more():
    clock, ran = Clock(), []
    later = Later(clock)
    later.after(3600, lambda: ran.append("waited"))

    later.cut_short()
    until(lambda: ran == ["waited"])
    later.after(3600, lambda: ran.append("came later"))

    until(lambda: ran == ["waited", "came later"])
