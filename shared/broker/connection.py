"""The way to the broker: tried again soon, waited for while it is full, proof against garbage.

Whoever can write to a queue can put anything there. kombu and Celery take a message's form on
trust: what they stumble over ends the worker, or (a `KeyError`) counts as a broken connection, so
that the same message is restored and met again for ever. Here it is dropped, and said to be.
"""

import logging
import time
from collections.abc import Hashable
from queue import Empty
from typing import Any, Final

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.transport import redis as kombu_redis
from redis.exceptions import DataError, OutOfMemoryError, RedisError

logger = logging.getLogger(__name__)

RECONNECT_MOST_S: Final = 5
"""Longest rest between two tries to reach the broker, in seconds. Celery has 30 fixed: after a
long outage a worker would idle for half a minute with Redis long back."""
_ROOM: Final = "rmbg:room"
"""A key of the broker's database that is written to see whether it takes writes."""
_CAUSE_CHARS: Final = 200


class _Channel(kombu_redis.Channel):
    """Drops what is no JSON; it has left its queue when that is found out."""

    def _brpop_read(self, **options: Any) -> bool | None:  # noqa: ANN401 - kombu's own
        try:
            found: bool | None = super()._brpop_read(**options)  # type: ignore[misc]  # not in the stubs
        except (Empty, OSError, RedisError):
            raise
        except Exception as err:  # noqa: BLE001 - kombu's decoders raise whatever the text provokes
            _say_dropped(err)
            return None
        return found


class _Transport(kombu_redis.Transport):
    """Drops JSON that is no message; see `kombu.transport.virtual.Transport`."""

    Channel = _Channel

    def _deliver(self, message: Any, queue: str | None) -> None:  # noqa: ANN401 - hostile
        """Hand a message to its consumer.

        Errors of the connection pass, so that it is made again. kombu's own list of these is of
        no use: a hostile message raises a `KeyError` or a `DataError` too.
        """
        try:
            super()._deliver(message, queue)
        except DataError as err:
            self._drop(message, err)
        except (OSError, RedisError):
            raise
        except Exception as err:  # noqa: BLE001 - Celery's handlers are in there
            self._drop(message, err)

    def _drop(self, message: Any, err: Exception) -> None:  # noqa: ANN401 - hostile
        """Forget a message, which may have been noted as unacknowledged before it failed."""
        _say_dropped(err)
        try:
            tag = message["properties"]["delivery_tag"]
        except (TypeError, LookupError):
            return
        channels: Any = self.channels or ()  # the stubs know too little of them
        for channel in channels:
            if isinstance(tag, Hashable) and tag in channel.qos._delivered:  # noqa: SLF001 - no other way to ask
                channel.basic_reject(tag, requeue=False)


def _say_dropped(err: Exception) -> None:
    cause = f"{type(err).__name__}: {err}"[:_CAUSE_CHARS]
    logger.warning("message dropped", extra={"cause": cause})


class Broker(Connection):
    """A connection that is tried again soon, however long it has been away."""

    def get_transport_cls(self) -> Any:  # noqa: ANN401 - kombu's own
        """See `kombu.Connection.get_transport_cls`."""
        found = super().get_transport_cls()
        return _Transport if found is kombu_redis.Transport else found

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - kombu's own
        """See `kombu.Connection.ensure_connection`.

        Who gives a *callback*, as a worker's consumer does, also waits until the broker takes
        writes: it would otherwise connect, be refused and begin anew, many times a second.
        """
        super().ensure_connection(*args, **{"interval_max": RECONNECT_MOST_S} | kwargs)
        while "callback" in kwargs and self._is_full():
            logger.warning("the broker is full: no ticket is taken")
            for _ in range(RECONNECT_MOST_S):
                kwargs["callback"]()  # raises when the worker shall leave
                time.sleep(1)
        return self

    def _is_full(self) -> bool:
        channel: Any = self.default_channel  # its stubs know no client
        try:
            channel.client.set(_ROOM, 1, px=1)
        except OutOfMemoryError:
            return True
        return False


class Amqp(AMQP):
    """Celery's own, over a `Broker`."""

    Connection = Broker
