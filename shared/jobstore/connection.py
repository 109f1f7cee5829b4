"""The seam to Redis: the client, the scripts, and its errors turned into ours."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self

import redis
from redis.backoff import ConstantBackoff, NoBackoff
from redis.retry import Retry

from shared.errors import RedisFull, RedisUnavailable
from shared.job.spec import Json
from shared.job.ticket import Ticket
from shared.jobstore import loader
from shared.jobstore.rules import Rules
from shared.jobstore.values import Issued, Lease

ANSWER_S: Final = 6.0
"""Longest wait for one answer, in seconds. A server that never answers is asked twice: a call
fails in 12 s, so that a beat missed for that reason costs no lease of 30 s."""
CONNECT_S: Final = 3.0
"""Longest wait for a connection, in seconds."""
_AGAIN_S: Final = 0.1
_KEEPALIVE: Final = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}


class _Again(Retry):
    """Tries a call of redis-py once more, at the outermost of its layers only.

    It retries the connection, the handshake, the health check and the command each within the
    other: a server that accepts and never answers would hold a call for over a minute.
    """

    _inside = threading.local()

    def __init__(self) -> None:
        super().__init__(ConstantBackoff(_AGAIN_S), 1)

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
    """A client, the scripts it runs and the rules they run by.

    Safe to use from several threads. Every script may be sent twice, since a reply can be lost:
    each says at its top what a repetition does.
    """

    def __init__(self, client: redis.Redis, *, rules: Rules | None = None) -> None:
        """Use *client*, which must not decode responses: a manifest is bytes."""
        self._client = client
        self._rules = rules or Rules()
        scripts = map(loader.load, loader.names())
        self._scripts = {each.name: (each, client.register_script(each.source)) for each in scripts}

    @classmethod
    def connect(cls, url: str, *, rules: Rules | None = None, answer_s: float = ANSWER_S) -> Self:
        """Return a store over the server at *url*; nothing is connected yet.

        Timeouts and keepalive, because a half-open connection is otherwise never noticed; a
        second try, because after a restart the pooled connections are all dead. No pings before
        commands: a repetition of any is harmless, so the command itself finds out.
        """
        client = redis.Redis.from_url(
            url,
            socket_timeout=answer_s,
            socket_connect_timeout=min(CONNECT_S, answer_s),
            socket_keepalive=True,
            socket_keepalive_options=_KEEPALIVE,
            retry=_Again(),
            client_name="rmbg-store",
            protocol=2,  # one question less before the first command, which a slow line makes dear
        )
        return cls(client, rules=rules)

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._client.close()

    def ping(self) -> None:
        """Ask the server whether it is there.

        Raises:
            RedisUnavailable: If not, naming host, port and database.
        """
        with self._translated():
            self._client.ping()

    def _run(
        self, name: str, rows: Iterable[Sequence[loader.Arg]] = (), /, **args: loader.Arg
    ) -> Any:  # noqa: ANN401 - each script has its own
        """Run the script *name* with *rows* for its repeated group; return its answer.

        Raises:
            TypeError: If the arguments are not those that the script declares.
        """
        script, command = self._scripts[name]
        argv = script.argv(args, rows)
        with self._translated():
            return command(args=argv)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn Redis's errors into ours; whoever talks to it does so in here.

        Raises:
            RedisFull: If Redis is at its memory limit.
            RedisUnavailable: For anything else that it, or the way to it, has to say.
        """
        try:
            yield
        except redis.exceptions.OutOfMemoryError as err:
            raise RedisFull(f"{self._where()} is at its memory limit: {err}") from err
        except redis.RedisError as err:
            raise RedisUnavailable(f"{self._where()}: {err}") from err

    def _where(self) -> str:
        """Name the server without its password."""
        to = self._client.get_connection_kwargs()
        return f"Redis at {to.get('host', to.get('path'))}:{to.get('port', '')}/{to.get('db', 0)}"


def to_ms(seconds: float) -> int:
    """Return whole milliseconds, as the scripts count them."""
    return round(seconds * 1000)


def fence(lease: Lease) -> dict[str, loader.Arg]:
    """Return the arguments by which scripts check a lease."""
    ticket = lease.ticket
    return {"job": ticket.job_id, "unit": ticket.unit, "epoch": ticket.epoch, "owner": lease.owner}


def death_limits(rules: Rules) -> dict[str, loader.Arg]:
    """Return the arguments by which scripts judge the death of a worker."""
    return {"suspect_deaths": rules.suspect_deaths, "item_deaths": rules.item_deaths}


def to_bytes(value: bytes | str) -> bytes:
    """Return what is bytes already; the client's types leave that open."""
    return value if isinstance(value, bytes) else value.encode()


def issued_from(flat: Iterable[Json]) -> list[Issued]:
    """Read the tickets that a script issued: job, unit, epoch, queue, and so on."""
    walk = iter(flat)
    return [
        Issued(Ticket(job.decode(), unit.decode(), int(epoch)), queue.decode())
        for job, unit, epoch, queue in zip(walk, walk, walk, walk, strict=True)
    ]
