"""A server that does not reply: calls end, and use a new connection if there is one."""

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
"""Replaces `ANSWER_S`, to keep the test short."""


@pytest.fixture
def silence():
    """A port that accepts connections and never replies."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        listener.settimeout(0)
        yield listener


def taken(listener):
    """Return the number of connections to the listener."""
    count = 0
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


def calls_of(store):
    return {
        "ping": store.ping,
        "a script": store.fleet.workers,
        "a command": lambda: store.queries.spec("j"),
        "a pipeline": lambda: store.queries.open_records("j"),
        "a transaction": lambda: store.submissions.stage("n", 0, [b"x"]),
        "a wait": lambda: store.submissions.durable(5),
    }


@pytest.mark.parametrize("call", calls_of(JobStore.connect("redis://127.0.0.1:9/1")))
def test_a_server_that_accepts_and_never_replies_is_asked_exactly_twice(silence, call):
    """The layers of redis-py retry within each other: by default they ask nine times."""
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
    """The connection is half-open: it carries no data, but a new one works."""
    with Proxy(redis_server.port) as way:
        store = JobStore.connect(f"redis://127.0.0.1:{way.port}/1", answer_s=ANSWER_HERE_S)
        submit(store, 3)
        way.freeze()

        assert first_lease(store)
        store.close()


def test_a_thread_waits_for_a_connection_and_then_gets_a_clear_error(redis_server):
    store = JobStore.connect(redis_server.url, answer_s=ANSWER_HERE_S, most=1)

    with store.connection.client.pubsub() as subscription:  # holds the only connection
        subscription.subscribe("somewhere")
        with pytest.raises(RedisUnavailable, match="all connections that this process may open"):
            store.ping()

    store.ping()
    store.close()
