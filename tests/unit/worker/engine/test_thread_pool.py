"""Threads over one priority queue."""

import threading

from support.stand_ins import Valve
from support.until import until

from worker.engine.thread_pool import Pool


def test_calls_of_lower_rank_go_first_then_in_order_of_arrival():
    pool, valve, ran = Pool("one", 1), Valve(), []
    pool.put((0,), valve)
    valve.wait_for_one()

    for name, rank in (("late", 2), ("first", 1), ("second", 1), ("urgent", 0)):
        pool.put((rank,), lambda name=name: ran.append(name))
    valve.open()

    until(lambda: len(ran) == 4)
    assert ran == ["urgent", "first", "second", "late"]
    pool.close()


def test_as_many_calls_run_at_once_as_there_are_threads():
    pool, together = Pool("three", 3), threading.Barrier(4)

    for n in range(3):
        pool.put((n,), lambda: together.wait(10))

    together.wait(10)  # broken, and raises, unless all three are in it
    pool.close()


def test_a_closed_pool_runs_what_is_queued_and_waits_for_its_threads_to_end():
    pool, valve, ran = Pool("one", 1), Valve(), []
    pool.put((0,), valve)
    pool.put((1,), lambda: ran.append("queued"))

    closing = threading.Thread(target=pool.close)
    closing.start()
    valve.open()
    closing.join(10)

    assert not any(thread.is_alive() for thread in pool._threads)
    assert ran == ["queued"]
    pool.close()
