"""A worker's connection to a broker that refuses writes waits until it accepts them."""

import contextlib
import logging

import pytest
from support.redis_server import RedisServer

from shared.broker.connection import Broker


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
