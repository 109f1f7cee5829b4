"""Two Redis servers: the primary, and one that replaces it in a failover."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import redis
from support.proxy import HOST, Proxy
from support.until import poll

from producer.local.binaries import valkey_binary, valkey_command
from producer.local.supervise import Server
from shared.errors import RedisUnavailable

SYNC_S: Final = 20.0
"""Longest time until a new replica has the primary's data."""
ACKNOWLEDGED_MS: Final = 1000
READ_ONLY_S: Final = 4.0
"""Longest time that the replica stays read-only; it usually refuses a write within a second."""
_MARKER: Final = "chaos:failover"


class RedisPair:
    """A primary, which clients reach through proxies, and a server that starts for a failover.

    After a failover the two have changed places: the old primary's data is never used again.
    """

    def __init__(
        self, first: Server, first_port: int, folder: Path, proxies: Sequence[Proxy]
    ) -> None:
        """Use the running server *first*, to which *proxies* lead, as the primary.

        The other one has its data in *folder*.
        """
        second_port = _free_port()
        second = Server(
            name="second Redis (Valkey)",
            command=valkey_command(valkey_binary(), second_port, ()),
            folder=folder,
            env={"PATH": os.defpath, "HOME": str(folder.parent), "LC_ALL": "C"},
            lock_fd=-1,
            is_ready=lambda: _answers(second_port),
            fault=RedisUnavailable,
        )
        self._servers = [(first, first_port), (second, second_port)]
        self._proxies = proxies

    @property
    def primary(self) -> Server:
        """The server that clients use."""
        return self._servers[0][0]

    @property
    def is_down(self) -> bool:
        """Whether the primary refuses connections."""
        with suppress(OSError), socket.create_connection((HOST, self._servers[0][1])):
            return False
        return True

    def stop(self) -> None:
        """Stop both servers."""
        for server, _ in self._servers:
            server.stop()

    def fail_over(
        self,
        *,
        while_syncing: Callable[[], None],
        before_kill: Callable[[], None],
        while_read_only: Callable[[], None],
    ) -> int:
        """Kill the primary and promote a replica that has acknowledged everything.

        Returns the number of commands that the replica refused because it was read-only, which
        clients sent through the proxies before *while_read_only* was called.
        """
        (old, old_port), (new, new_port) = self._servers
        new.start()
        with _client(old_port) as primary, _client(new_port) as replica:
            _follow(primary, replica, old_port, while_syncing)
            before_kill()
            _wait_acknowledged(primary)
            old.kill()
            for proxy in self._proxies:
                proxy.to_port = new_port
            refused = _count_refused(replica)
            while_read_only()
            replica.replicaof("NO", "ONE")
        self._servers.reverse()
        return refused


def _client(port: int) -> redis.Redis:
    return redis.Redis(HOST, port)


def _follow(
    primary: redis.Redis, replica: redis.Redis, port: int, meanwhile: Callable[[], None]
) -> None:
    """Make *replica* one of *primary*, and wait until it has the data."""
    primary.config_set("repl-diskless-sync-delay", 0)
    replica.replicaof(HOST, port)
    for _ in poll(within_s=SYNC_S, every_s=0.05):
        meanwhile()
        if replica.info("replication")["master_link_status"] == "up":
            return
    raise TimeoutError(f"the replica has no data after {SYNC_S} s")


def _wait_acknowledged(primary: redis.Redis) -> None:
    """Wait until the replica has acknowledged all writes before this call."""
    for _ in poll(within_s=SYNC_S):
        primary.incr(_MARKER)
        if primary.wait(1, ACKNOWLEDGED_MS):
            return
    raise TimeoutError(f"the replica has not acknowledged a write after {SYNC_S} s")


def _count_refused(replica: redis.Redis) -> int:
    """Return how many writes were refused because of the role, as soon as there is one."""
    for _ in poll(within_s=READ_ONLY_S, every_s=0.02):
        if refused := replica.info("errorstats").get("errorstat_READONLY"):
            return int(refused["count"])
    return 0


def _answers(port: int) -> bool:
    with suppress(redis.RedisError), _client(port) as client:
        return bool(client.ping())
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
