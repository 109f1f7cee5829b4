"""The lock that tickets share, and that a suspect ticket holds alone."""

import threading
from contextlib import suppress

from support.until import until

from worker.consumer.exclusive_lock import ExclusiveLock


class Holder:
    """A thread that takes a lock and holds it until told to release it."""

    def __init__(self, hold):
        self.holds, self._release = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(hold,), daemon=True)
        self._thread.start()

    def _run(self, hold):
        with hold():
            self.holds.set()
            self._release.wait(30)

    def release(self):
        self._release.set()
        self._thread.join(10)
        assert not self._thread.is_alive()


def wait_for_exclusive_waiter(lock):
    until(lambda: lock._exclusive_waiting == 1)


def test_many_threads_share_the_lock():
    lock = ExclusiveLock()
    holders = [Holder(lock.shared) for _ in range(3)]

    for holder in holders:
        assert holder.holds.wait(10)
    for holder in holders:
        holder.release()


def test_an_exclusive_holder_waits_for_shared_ones():
    lock = ExclusiveLock()
    shared = Holder(lock.shared)
    assert shared.holds.wait(10)

    exclusive = Holder(lock.exclusive)
    wait_for_exclusive_waiter(lock)
    assert not exclusive.holds.is_set()
    shared.release()

    assert exclusive.holds.wait(10)
    exclusive.release()


def test_nothing_runs_beside_an_exclusive_holder():
    lock = ExclusiveLock()
    first = Holder(lock.exclusive)
    assert first.holds.wait(10)

    second, shared = Holder(lock.exclusive), Holder(lock.shared)
    wait_for_exclusive_waiter(lock)
    assert not second.holds.is_set()
    assert not shared.holds.is_set()
    first.release()

    assert second.holds.wait(10)
    assert not shared.holds.is_set()
    second.release()
    assert shared.holds.wait(10)
    shared.release()


def test_a_waiting_exclusive_holder_keeps_new_shared_ones_out():
    """Otherwise a suspect ticket would never run on a busy worker."""
    lock = ExclusiveLock()
    shared = Holder(lock.shared)
    assert shared.holds.wait(10)
    exclusive = Holder(lock.exclusive)
    wait_for_exclusive_waiter(lock)

    late = Holder(lock.shared)
    shared.release()

    assert exclusive.holds.wait(10)
    assert not late.holds.is_set()
    exclusive.release()
    assert late.holds.wait(10)
    late.release()


def test_an_exception_releases_the_lock():
    lock = ExclusiveLock()
    for hold in (lock.shared, lock.exclusive):
        with suppress(KeyError), hold():
            raise KeyError

    with lock.exclusive():
        pass


def test_an_exclusive_holder_sees_that_an_urgent_one_waits():
    lock = ExclusiveLock()
    exclusive = Holder(lock.exclusive)
    assert exclusive.holds.wait(10)
    other = Holder(lock.shared)
    assert not lock.is_wanted

    urgent = Holder(lambda: lock.shared(urgent=True))
    until(lambda: lock.is_wanted)
    exclusive.release()

    assert urgent.holds.wait(10)
    assert not lock.is_wanted
    urgent.release()
    other.release()


def test_an_urgent_holder_goes_before_exclusive_ones_that_wait():
    """Two suspect tickets in turn would otherwise keep an urgent one out until both end."""
    lock = ExclusiveLock()
    first = Holder(lock.exclusive)
    assert first.holds.wait(10)
    second = Holder(lock.exclusive)
    wait_for_exclusive_waiter(lock)
    urgent = Holder(lambda: lock.shared(urgent=True))
    until(lambda: lock.is_wanted)

    first.release()

    assert urgent.holds.wait(10)
    assert not second.holds.is_set()
    urgent.release()
    assert second.holds.wait(10)
    second.release()
