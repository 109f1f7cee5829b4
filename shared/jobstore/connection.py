"""Connect to Redis, run scripts by name, and translate its errors."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

import redis
from redis.backoff import ConstantBackoff, NoBackoff
from redis.retry import Retry

from shared.errors import UnknownJob
from shared.jobstore import loader
from shared.jobstore.faults import fault_of
from shared.jobstore.rules import Rules
from shared.jobstore.shared_wait import SharedWait

ANSWER_S: Final = 6.0
"""Longest wait for a reply, in seconds. A server that never replies is asked twice, so a call
fails after 12 s: a heartbeat missed for that reason does not cost a lease of 30 s."""
CONNECT_S: Final = 3.0
"""Longest wait for a connection, in seconds."""
MOST_CONNECTIONS: Final = 100
"""Connections of one process that are open at once, where nobody names fewer."""
_POOL_WAITS: Final = 3
"""Longest wait for a connection that is in use, in waits for a reply: a busy process needs more
time to give one back than the server needs to answer."""
_DISK_WAITS: Final = 2
"""Connections that wait for the server's disk at once; each may take a second."""
_AGAIN_S: Final = 0.1
KEEPALIVE: Final = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}
"""Socket options that detect a half-open connection within 30 s."""


class _OutermostRetry(Retry):
    """Retry of a call at the outermost layer of redis-py only.

    redis-py retries the connection, the handshake, the health check and the command, each within
    the other: a server that accepts and never replies would block a call for over a minute.
    """

    _inside = threading.local()

    def call_with_retry(self, do: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - redis-py's
        """See `Retry.call_with_retry`."""
        if getattr(self._inside, "a_call", False):
            return Retry(NoBackoff(), 0).call_with_retry(do, *args, **kwargs)
        self._inside.a_call = True
        try:
            return super().call_with_retry(do, *args, **kwargs)
        finally:
            self._inside.a_call = False


class Connection:
    """A Redis client and the scripts it runs. Thread-safe.

    A command may be sent twice, since a reply can get lost; the header of each script says what a
    repetition does.
    """

    def __init__(self, client: redis.Redis) -> None:
        """Use *client*, which must not decode replies: a manifest is bytes."""
        self.client = client
        self.disk_waits: Final = SharedWait(_DISK_WAITS)
        self._scripts = {
            each.name: (each, client.register_script(each.source))
            for each in map(loader.load, loader.names())
        }

    @classmethod
    def connect(cls, url: str, *, answer_s: float = ANSWER_S, most: int = MOST_CONNECTIONS) -> Self:
        """Return a connection to the server at *url*; the first command opens it.

        It sets timeouts and keepalive because a half-open connection would otherwise never be
        noticed, and retries once because all pooled connections are dead after a restart. It
        sends no pings before commands: repeating a command is harmless.

        Args:
            url: Address of the server.
            answer_s: Longest wait for a reply, in seconds.
            most: Connections that are open at once; a thread that needs one more waits, at most
                three times as long.
        """
        return cls(
            redis.Redis.from_pool(
                redis.BlockingConnectionPool.from_url(
                    url,
                    max_connections=most,
                    timeout=_POOL_WAITS * answer_s,
                    socket_timeout=answer_s,
                    socket_connect_timeout=min(CONNECT_S, answer_s),
                    socket_keepalive=True,
                    socket_keepalive_options=KEEPALIVE,
                    retry=_OutermostRetry(ConstantBackoff(_AGAIN_S), 1),
                    client_name="rmbg-store",
                    protocol=2,  # saves a round trip before the first command
                )
            )
        )

    def run(
        self, name: str, rows: Iterable[Sequence[loader.Arg]] = (), /, **args: loader.Arg
    ) -> Any:  # noqa: ANN401 - each script has its own
        """Run the script *name* with *args* and, for its repeated group, *rows*; return its reply.

        Raises:
            TypeError: If the arguments are not those that the script declares.
            RedisFull: See `commands`, also for `RedisUnavailable`.
        """
        script, command = self._scripts[name]
        argv = script.argv(args, rows)
        with self.commands():
            return command(args=argv)

    @contextmanager
    def commands(self) -> Iterator[redis.Redis]:
        """Yield the client for plain commands and translate the errors of redis-py.

        Raises:
            RedisFull: If Redis is at its memory limit.
            RedisUnavailable: For every other error.
        """
        try:
            yield self.client
        except redis.exceptions.ReadOnlyError as err:
            # After a failover the address may name another server, so open new connections.
            self.client.connection_pool.disconnect(inuse_connections=False)
            raise fault_of(err, self.where()) from err
        except redis.RedisError as err:
            raise fault_of(err, self.where()) from err

    def where(self) -> str:
        """Return the server's host, port and database, without its password."""
        to = self.client.get_connection_kwargs()
        return f"Redis at {to.get('host', to.get('path'))}:{to.get('port', '')}/{to.get('db', 0)}"

    def unknown_job(self, job_id: str) -> UnknownJob:
        """Return the error for a job that is not in Redis."""
        return UnknownJob(f"job {job_id} not found in {self.where()}; list all with `rmbg jobs`")


@dataclass(frozen=True)
class StorePart:
    """Base class of the parts of `JobStore`."""

    connection: Connection
    rules: Rules


def to_ms(seconds: float) -> int:
    """Return whole milliseconds, the unit of the scripts."""
    return round(seconds * 1000)


def to_bytes(value: bytes | str) -> bytes:
    """Return *value*, which is always bytes; the client's types do not say so."""
    return value if isinstance(value, bytes) else value.encode()
