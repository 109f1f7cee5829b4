"""A job store whose server keeps silent: calls end, and find a path that is there."""

import socket
from contextlib import suppress

import pytest
from support.jobs import first_lease, submit
from support.proxy import Proxy

from shared.errors import RedisUnavailable
from shared.jobstore.connection import ANSWER_S
from shared.jobstore.store import JobStore
from worker.settings import WorkerSettings

ANSWER_HERE_S = 0.2
"""What stands for `ANSWER_S` here, so that the test need not wait that long."""


@pytest.fixture
def silence():
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        listener.settimeout(0)
        yield listener


def taken(listener):
    """How many connections have come to the listener."""
    count = 0
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


def calls_of(store):
    return {
        "ping": store.ping,
        "a script": store.workers,
        "a command": lambda: store.spec("j"),
        "a pipeline": lambda: store.open_records("j"),
        "a transaction": lambda: store.stage("n", 0, [b"x"]),
        "a wait": lambda: store.durable(5),
    }


@pytest.mark.parametrize("call", calls_of(JobStore.connect("redis://127.0.0.1:9/1")))
def test_a_server_that_accepts_and_never_answers_is_asked_twice_and_no_more(silence, call):
    """Redis-py's layers retry within each other: left alone, they ask nine times."""
    port = silence.getsockname()[1]
    store = JobStore.connect(f"redis://127.0.0.1:{port}/1", answer_s=ANSWER_HERE_S)

    with pytest.raises(RedisUnavailable, match="Timeout"):
        calls_of(store)[call]()

    assert taken(silence) == 2


def test_two_answers_that_do_not_come_cost_no_lease():
    """A beat comes every third of a lease; the one that fails may take another third."""
    lease_s = WorkerSettings.model_fields["lease_s"].default

    assert lease_s / 3 + 2 * ANSWER_S < lease_s


def test_a_dead_connection_is_replaced_within_the_call(redis_server, redis_client):
    """Half-open: what is connected carries nothing any more, what connects anew does."""
    with Proxy(redis_server.port) as way:
        store = JobStore.connect(f"redis://127.0.0.1:{way.port}/1", answer_s=ANSWER_HERE_S)
        submit(store, 3)
        way.freeze()

        assert first_lease(store)
        store.close()
