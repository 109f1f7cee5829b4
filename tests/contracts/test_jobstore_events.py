"""Waiting for the end of a job."""

from support.jobs import run_to_end, submit

from shared.jobstore.events import Events

LONG_S = 5.0
SHORT_S = 0.01


def test_an_end_is_seen_once_also_if_it_comes_before_the_wait(store):
    events = Events(store.connection)
    submit(store, 1)
    assert not events.wait(SHORT_S)

    run_to_end(store)

    assert events.wait(LONG_S)
    assert not events.wait(SHORT_S)


def test_earlier_ends_are_not_seen(store):
    submit(store, 1, keys="a")
    run_to_end(store)
    events = Events(store.connection)
    assert not events.wait(SHORT_S)

    submit(store, 1, keys="b")
    run_to_end(store)

    assert events.wait(LONG_S)


def test_several_ends_wake_once(store):
    events = Events(store.connection)
    for name in "abc":
        submit(store, 1, keys=name)
    run_to_end(store)

    assert events.wait(LONG_S)
    assert not events.wait(SHORT_S)
