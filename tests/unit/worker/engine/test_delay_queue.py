"""Entries that become due after a delay."""

from worker.engine.delay_queue import DelayQueue


def queue_of(*entries):
    queue = DelayQueue()
    for entry, due_s in entries:
        queue.push(entry, due_s)
    return queue


def test_entries_come_in_the_order_in_which_they_are_due():
    queue = queue_of(("third", 30), ("first", 10), ("second", 20))

    assert queue.pop_due(25) == ["first", "second"]
    assert queue.pop_due(29) == []
    assert queue.pop_due(30) == ["third"]


def test_entries_due_at_the_same_time_keep_their_order():
    assert queue_of(("b", 1), ("a", 1)).pop_due(1) == ["b", "a"]


def test_the_wait_lasts_until_the_first_entry_is_due():
    queue = queue_of(("late", 30), ("early", 10))

    assert queue.wait_s(4) == 6
    assert queue.wait_s(11) == 0
    assert queue_of().wait_s(0) is None


def test_hurry_makes_present_and_later_entries_due_at_once():
    queue = queue_of(("present", 3600))

    queue.hurry()
    queue.push("later", 7200)

    assert queue.pop_due(0) == ["present", "later"]
    assert queue.wait_s(0) is None
