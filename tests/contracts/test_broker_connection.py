"""A worker's connection to a broker that refuses writes waits until it accepts them."""

import contextlib
import logging

import pytest
from kombu import Consumer, Queue
from support.redis_server import RedisServer

from shared.broker.connection import FULL_WAIT_S, Broker
from shared.broker.queues import BULK, INTERACTIVE, QUEUES, RECOVERY


class Stopped(Exception):
    """The worker is asked to leave while it waits."""


def stop():
    raise Stopped


@contextlib.contextmanager
def connection(server, login=""):
    with contextlib.closing(Broker(f"redis://{login}127.0.0.1:{server.port}/0")) as broker:
        yield broker


def cause(caplog):
    [record] = [each for each in caplog.records if "refuses writes" in each.message]
    return record.cause


def test_a_worker_waits_for_a_replica_to_become_a_primary(caplog):
    caplog.set_level(logging.WARNING)
    with RedisServer() as primary:
        options = ("--replicaof", "127.0.0.1", str(primary.port))
        with (
            RedisServer(options=options) as replica,
            connection(replica) as broker,
            pytest.raises(Stopped),
        ):
            broker.ensure_connection(callback=stop)

    assert "read-only replica; set RMBG_REDIS_URL to the primary" in cause(caplog)


def test_a_worker_waits_for_its_rights(caplog):
    caplog.set_level(logging.WARNING)
    options = ("--user", "lim", "on", ">pw", "~*", "&*", "+@all", "-set")
    with (
        RedisServer(options=options, login="lim:pw@") as server,
        connection(server, "lim:pw@") as broker,
        pytest.raises(Stopped),
    ):
        broker.ensure_connection(callback=stop)

    assert "lacks a right" in cause(caplog)


def test_a_broker_that_accepts_writes_is_used_at_once():
    with RedisServer() as server, connection(server) as broker:
        assert broker.ensure_connection(callback=stop) is broker


# --- slots for interactive tickets


@pytest.fixture
def queues():
    """A worker's channel with two shared slots and one more, and the messages that it got."""
    options = {"shared_slots": 2, "priority_steps": [0], "queue_order_strategy": "priority"}
    with (
        RedisServer() as server,
        contextlib.closing(
            Broker(f"redis://127.0.0.1:{server.port}/0", transport_options=options)
        ) as broker,
    ):
        yield QueuesHarness(broker)


class QueuesHarness:
    def __init__(self, broker):
        self._broker = broker
        self.got = []
        channel = broker.channel()
        channel.basic_qos(prefetch_count=3)
        queues = [Queue(name)(channel) for name in QUEUES]
        self._consumer = Consumer(channel, queues, callbacks=[lambda _, found: self._take(found)])
        self._consumer.consume()

    def _take(self, message):
        self.got.append(message)

    def send(self, queue, *bodies):
        with self._broker.Producer() as producer:
            for body in bodies:
                producer.publish(body, routing_key=queue)

    def bodies(self):
        """Return the bodies of all messages that come before nothing more does."""
        with contextlib.suppress(TimeoutError):
            while True:
                self._broker.drain_events(timeout=3 * FULL_WAIT_S)
        return [message.payload for message in self.got]


def test_shared_slots_are_filled_and_the_others_left_to_interactive_tickets(queues):
    queues.send(BULK, "a", "b", "c")
    queues.send(RECOVERY, "r")
    assert queues.bodies() == ["r", "a"]

    queues.send(INTERACTIVE, "i", "j")

    assert queues.bodies() == ["r", "a", "i"]


def test_a_slot_that_gets_free_takes_the_next_ticket(queues):
    queues.send(BULK, "a", "b", "c")
    assert queues.bodies() == ["a", "b"]

    queues.got[0].ack()

    assert queues.bodies() == ["a", "b", "c"]


def test_interactive_tickets_take_any_slot(queues):
    queues.send(BULK, "a")
    queues.send(INTERACTIVE, "i", "j", "k")

    assert queues.bodies() == ["i", "j", "k"]
