"""Decoded pixels held at once."""

import threading

import pytest
from support.until import until

from worker.engine.permits import PixelBudget
from worker.engine.thread_pool import Pool


def test_what_fits_is_admitted_at_once_and_the_rest_when_pixels_come_back():
    budget, admitted = PixelBudget(100), []
    for name, pixels in (("a", 60), ("b", 40), ("c", 1)):
        budget.admit(pixels, (0,), lambda name=name: admitted.append(name))
    assert (admitted, budget.held_px) == (["a", "b"], 100)

    budget.release(40)

    assert (admitted, budget.held_px) == (["a", "b", "c"], 61)


def test_a_picture_larger_than_the_whole_budget_is_admitted_alone():
    budget, admitted = PixelBudget(100), []
    budget.admit(10, (0,), lambda: admitted.append("small"))
    budget.admit(500, (1,), lambda: admitted.append("huge"))
    budget.admit(10, (2,), lambda: admitted.append("after"))
    assert admitted == ["small"]

    budget.release(10)
    assert admitted == ["small", "huge"]
    budget.release(500)

    assert admitted == ["small", "huge", "after"]


def test_who_waits_is_let_in_by_rank():
    """Urgent first; and a large one at the head is not passed by small ones for ever."""
    budget, admitted = PixelBudget(100), []
    budget.admit(100, (0,), lambda: admitted.append("holds"))
    for name, rank, pixels in (("small", 3, 1), ("large", 2, 100), ("urgent", 1, 1)):
        budget.admit(pixels, (rank,), lambda name=name: admitted.append(name))

    budget.release(100)
    assert admitted == ["holds", "urgent"]
    budget.release(1)

    assert admitted == ["holds", "urgent", "large"]


@pytest.mark.parametrize("budget_px", [1, 50, 1000])
def test_under_many_threads_everyone_gets_in_and_the_bound_is_kept(budget_px):
    budget, pool, lock = PixelBudget(budget_px), Pool("many", 8), threading.Lock()
    held, over, ended = [], [], []

    def work(pixels):
        with lock:
            held.append(pixels)
            if sum(held) > budget_px and len(held) > 1:
                over.append(list(held))
        with lock:
            held.remove(pixels)
        budget.release(pixels)
        ended.append(pixels)

    def ask(pixels, rank):
        budget.admit(pixels, (rank,), lambda: pool.put((rank,), lambda: work(pixels)))

    for n in range(400):
        pool.put((n,), lambda n=n: ask(1 + n % 97, n))

    until(lambda: len(ended) == 400)
    assert over == []
    assert budget.held_px == 0
    pool.close()
