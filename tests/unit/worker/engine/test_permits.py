"""Permits for decoded pixels."""

import threading
from queue import Empty, SimpleQueue

import pytest

from worker.engine.permits import Permits


def names(granted):
    return [holder for holder, _ in granted]


def test_requests_that_fit_are_granted_at_once_and_the_rest_after_a_release():
    permits = Permits(100)
    assert permits.request("a", 60, (0,)) == [("a", 60)]
    assert permits.request("b", 40, (0,)) == [("b", 40)]
    assert permits.request("c", 1, (0,)) == []
    assert (permits.held, permits.waiting) == (100, 1)

    assert permits.release(40) == [("c", 1)]
    assert (permits.held, permits.waiting) == (61, 0)


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
    assert (permits.held, permits.waiting) == (0, 0)


@pytest.mark.parametrize("limit", [1, 50, 1000])
def test_with_many_threads_every_request_is_granted_and_the_limit_holds(limit):
    permits, lock = Permits(limit), threading.Lock()
    granted, held, above, done = SimpleQueue(), [], [], []

    def use(pixels):
        with lock:
            held.append(pixels)
            if sum(held) > limit and len(held) > 1:
                above.append(list(held))
        with lock:
            held.remove(pixels)
            done.append(pixels)
        for each in permits.release(pixels):
            granted.put(each)

    def serve(own):
        for n in own:
            for each in permits.request(n, 1 + n % 97, (n,)):
                granted.put(each)
        while len(done) < 400:
            try:
                _, pixels = granted.get(timeout=0.01)
            except Empty:
                continue
            use(pixels)

    threads = [threading.Thread(target=serve, args=(range(k, 400, 8),)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(done) == 400
    assert above == []
    assert (permits.held, permits.waiting) == (0, 0)
