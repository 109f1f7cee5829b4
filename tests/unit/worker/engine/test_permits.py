"""Permits for decoded pixels, or for bytes of encoded images."""

import threading
from queue import Empty, Queue

import pytest

from worker.engine.permits import Permits


def names(granted):
    return [holder for holder, _ in granted]


def test_requests_that_fit_are_granted_at_once_and_the_rest_after_a_release():
    permits = Permits(100)
    assert permits.request("a", 60, (0,)) == [("a", 60)]
    assert permits.request("b", 40, (0,)) == [("b", 40)]
    assert permits.request("c", 1, (0,)) == []
    assert (permits.held, len(permits._waiting)) == (100, 1)

    assert permits.release(40) == [("c", 1)]
    assert (permits.held, len(permits._waiting)) == (61, 0)


def test_a_request_above_the_limit_is_granted_when_nothing_else_is_held():
    permits = Permits(100)
    permits.request("small", 10, (0,))
    assert permits.request("huge", 500, (1,)) == []
    assert permits.request("after", 10, (2,)) == []

    assert names(permits.release(10)) == ["huge"]
    assert names(permits.release(500)) == ["after"]


def test_requests_are_granted_by_rank():
    """Urgent ones go first, and small ones do not overtake a large one for ever."""
    permits = Permits(100)
    permits.request("holder", 100, (0,))
    for name, rank, pixels in (("small", 3, 1), ("large", 2, 100), ("urgent", 1, 1)):
        assert permits.request(name, pixels, (rank,)) == []

    assert names(permits.release(100)) == ["urgent"]
    assert names(permits.release(1)) == ["large"]


def test_withdrawn_requests_are_returned_and_never_granted():
    permits = Permits(10)
    permits.request("holder", 10, (0,))
    permits.request("waiting", 1, (1,))

    assert permits.withdraw() == ["waiting"]
    assert permits.release(10) == []
    assert (permits.held, len(permits._waiting)) == (0, 0)


def test_what_is_held_is_raised_only_if_that_fits_at_once():
    permits = Permits(100)
    assert permits.try_raise(0, 60, (0,))
    assert not permits.try_raise(0, 41, (1,))
    assert permits.try_raise(60, 100, (0,))
    assert permits.held == 100
    assert permits.try_raise(100, 500, (0,)), "nothing else is held"


def test_raising_does_not_overtake_a_request_that_waits():
    permits = Permits(100)
    permits.request("holder", 60, (0,))
    permits.request("large", 90, (2,))

    assert not permits.try_raise(0, 1, (3,))
    assert permits.try_raise(0, 1, (1,))


def test_what_is_in_memory_already_counts_above_the_limit():
    permits = Permits(100)
    permits.request("holder", 90, (0,))
    permits.take(80)

    assert permits.held == 170
    assert permits.request("next", 10, (1,)) == []
    assert names(permits.release(90)) == ["next"]


class Users:
    """Threads that each ask for their own permits, and use whatever is granted to any."""

    def __init__(self, limit, count):
        self.permits = Permits(limit)
        self.above, self.done = [], []
        self._limit, self._count = limit, count
        # Not a SimpleQueue: in Python 3.11 its `get` can wait for ever if several threads share it.
        self._granted, self._held, self._lock = Queue(), [], threading.Lock()

    def run(self, threads):
        started = [
            threading.Thread(target=self._serve, args=(range(n, self._count, threads),))
            for n in range(threads)
        ]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join(30)

    def _serve(self, own):
        for n in own:
            self._queue(self.permits.request(n, 1 + n % 97, (n,)))
        while len(self.done) < self._count:
            try:
                self._use(self._granted.get(timeout=0.01)[1])
            except Empty:
                continue

    def _use(self, pixels):
        with self._lock:
            self._held.append(pixels)
            if sum(self._held) > self._limit and len(self._held) > 1:
                self.above.append(list(self._held))
        with self._lock:
            self._held.remove(pixels)
            self.done.append(pixels)
        self._queue(self.permits.release(pixels))

    def _queue(self, granted):
        for each in granted:
            self._granted.put(each)


@pytest.mark.parametrize("limit", [1, 50, 1000])
def test_with_many_threads_every_request_is_granted_and_the_limit_holds(limit):
    users = Users(limit, count=400)

    users.run(threads=8)

    assert len(users.done) == 400
    assert users.above == []
    assert (users.permits.held, len(users.permits._waiting)) == (0, 0)


URGENT, BULK = (False,), (True,)


def test_one_urgent_request_may_exceed_the_limit():
    """It does not wait until an item that is not urgent has passed the network."""
    permits = Permits(100, urgent_exceed=True)
    permits.request("bulk", 90, (*BULK, 1))
    assert permits.request("more bulk", 20, (*BULK, 2)) == []

    assert names(permits.request("urgent", 50, (*URGENT, 3))) == ["urgent"]
    assert permits.held == 140
    assert permits.request("second", 1, (*URGENT, 4)) == []

    assert names(permits.release(50)) == ["second"]
    assert names(permits.release(1)) == []
    assert names(permits.release(90)) == ["more bulk"]


def test_without_that_an_urgent_request_waits():
    permits = Permits(100)
    permits.request("bulk", 90, (*BULK, 1))

    assert permits.request("urgent", 50, (*URGENT, 2)) == []
