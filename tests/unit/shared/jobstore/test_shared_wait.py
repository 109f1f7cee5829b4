"""Threads that wait for the same thing share one call."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.until import until

from shared.jobstore.shared_wait import SharedWait

THREADS = 8


class Call:
    """A call that ends when the test lets it."""

    def __init__(self, error=None):
        self.error = error
        self.begun, self.may_end = [], threading.Event()

    def __call__(self):
        self.begun.append(threading.current_thread().name)
        assert self.may_end.wait(30)
        if self.error:
            raise self.error
        return True


@pytest.fixture
def threads():
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


def test_those_who_ask_during_a_call_share_the_next_one(threads):
    wait, first, second = SharedWait(1), Call(), Call()
    answers = [threads.submit(wait.ask, first)]
    until(lambda: first.begun)
    answers += [threads.submit(wait.ask, second) for _ in range(THREADS - 1)]
    until(lambda: wait._next is not None and len(wait._next._condition._waiters) == THREADS - 2)
    first.may_end.set()
    second.may_end.set()

    assert [each.result(30) for each in answers] == [True] * THREADS
    assert (len(first.begun), len(second.begun)) == (1, 1)


def test_nobody_gets_the_answer_of_a_call_that_had_begun_before(threads):
    wait, first, second = SharedWait(2), Call(), Call()
    early = threads.submit(wait.ask, first)
    until(lambda: first.begun)
    late = threads.submit(wait.ask, second)
    until(lambda: second.begun)
    first.may_end.set()

    assert early.result(30)
    assert not late.done()
    second.may_end.set()
    assert late.result(30)


def test_an_error_is_raised_in_every_thread_and_the_next_call_works(threads):
    wait, failing, working = SharedWait(1), Call(OSError("broken")), Call()
    early = threads.submit(wait.ask, failing)
    until(lambda: failing.begun)
    failing.may_end.set()
    working.may_end.set()

    with pytest.raises(OSError, match="broken"):
        early.result(30)
    assert wait.ask(working)
