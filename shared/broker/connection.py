"""Connect to the broker: reconnect soon, wait while Redis is full, drop malformed messages.

A queue can contain anything, and kombu and Celery do not validate messages. A malformed one stops
the worker, or (a `KeyError`) counts as a lost connection, so that the message is restored and
delivered again without end. The classes here drop such a message and log a warning.
"""

import logging
import time
from collections.abc import Callable, Hashable
from queue import Empty
from typing import Any, Final

from celery.app.amqp import AMQP
from kombu import Connection
from kombu.transport import redis as kombu_redis
from kombu.utils.scheduling import priority_cycle
from redis.exceptions import DataError, OutOfMemoryError, RedisError, ResponseError

from shared.broker.queues import INTERACTIVE
from shared.jobstore.faults import fault_of

logger = logging.getLogger(__name__)

RECONNECT_MOST_S: Final = 5
"""Longest delay between two attempts to connect, in seconds. Celery's is fixed at 30: a worker
would stay idle for half a minute after a long outage has ended."""
FULL_WAIT_S: Final = 0.25
"""Longest time for which a shared slot stays free although a ticket waits for it, in seconds. A
worker whose shared slots are in use asks Redis that often."""
_ROOM: Final = "rmbg:room"
"""Key that is written to check whether the broker accepts writes."""
_CAUSE_CHARS: Final = 200


class _OpenQueues(priority_cycle):  # type: ignore[type-arg]  # not generic when it runs
    """The queues in the order of their priority; only the interactive one while *is_full*."""

    def __init__(self, is_full: Callable[[], bool]) -> None:
        super().__init__()
        self._is_full = is_full

    def consume(self, n: int) -> Any:  # noqa: ANN401 - as in kombu
        """Return the first *n* queues that may be read."""
        return [name for name in super().consume(n) if name == INTERACTIVE or not self._is_full()]


class _Channel(kombu_redis.Channel):
    """Channel that leaves slots to interactive tickets, and drops messages that are not JSON.

    Messages of other queues than the interactive one are read up to `shared_slots` without an
    acknowledgement, so that the other slots of a worker stay free for interactive ones. Messages
    that are not JSON have already left their queue.
    """

    from_transport_options = (*kombu_redis.Channel.from_transport_options, "shared_slots")
    shared_slots = 0
    """0: any number."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as in kombu
        super().__init__(*args, **kwargs)
        self._queue_cycle = _OpenQueues(self._is_full)

    def _is_full(self) -> bool:
        qos: Any = self.qos
        held = (
            message.delivery_info["routing_key"] != INTERACTIVE
            for tag, message in list(qos._delivered.items())  # noqa: SLF001 - not public
            if tag not in qos._dirty  # noqa: SLF001 - acknowledged
        )
        return bool(0 < self.shared_slots <= sum(held))

    def _brpop_start(self, timeout: float | None = None) -> None:
        # A wait for interactive tickets alone is short: it does not end when a slot gets free.
        super()._brpop_start(FULL_WAIT_S if self._is_full() else timeout)  # type: ignore[misc]  # not in the stubs

    def _brpop_read(self, **options: Any) -> bool | None:  # noqa: ANN401 - as in kombu
        try:
            found: bool | None = super()._brpop_read(**options)  # type: ignore[misc]  # not in the stubs
        except (Empty, OSError, RedisError):
            raise
        except Exception as err:  # noqa: BLE001 - kombu's decoders raise many types of errors
            _log_dropped(err)
            return None
        return found


class _Transport(kombu_redis.Transport):
    """Transport that drops JSON that is not a message."""

    Channel = _Channel

    def _deliver(self, message: Any, queue: str | None) -> None:  # noqa: ANN401 - hostile
        """Deliver a message to its consumer.

        Connection errors pass through, so that the worker reconnects. kombu's own list of these
        is too wide: a malformed message raises a `KeyError` or a `DataError` too.
        """
        try:
            super()._deliver(message, queue)
        except DataError as err:
            self._drop(message, err)
        except (OSError, RedisError):
            raise
        except Exception as err:  # noqa: BLE001 - includes Celery's handlers
            self._drop(message, err)

    def _drop(self, message: Any, err: Exception) -> None:  # noqa: ANN401 - hostile
        """Drop a message, also from the unacknowledged ones if it is among them."""
        _log_dropped(err)
        try:
            tag = message["properties"]["delivery_tag"]
        except (TypeError, LookupError):
            return
        channels: Any = self.channels or ()  # the stubs lack `qos`
        for channel in channels:
            if isinstance(tag, Hashable) and tag in channel.qos._delivered:  # noqa: SLF001 - not public
                channel.basic_reject(tag, requeue=False)


def _log_dropped(err: Exception) -> None:
    logger.warning(
        "message dropped", extra={"cause": f"{type(err).__name__}: {err}"[:_CAUSE_CHARS]}
    )


class Broker(Connection):
    """A connection whose reconnection delay stays short, even after a long outage."""

    def get_transport_cls(self) -> Any:  # noqa: ANN401 - kombu's own
        """See `kombu.Connection.get_transport_cls`."""
        found = super().get_transport_cls()
        return _Transport if found is kombu_redis.Transport else found

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - kombu's own
        """See `kombu.Connection.ensure_connection`.

        With a *callback*, as from a worker's consumer, also wait until the broker accepts writes.
        Otherwise the worker would connect, be refused and start again many times a second. Each
        attempt opens a new connection: after a failover, the address names another server.
        """
        options = {"interval_max": RECONNECT_MOST_S} | kwargs
        super().ensure_connection(*args, **options)
        while "callback" in kwargs and self._is_refused():
            for _ in range(RECONNECT_MOST_S):
                kwargs["callback"]()  # raises if the worker is stopping
                time.sleep(1)
            self.close()
            super().ensure_connection(*args, **options)
        return self

    def _is_refused(self) -> bool:
        """Return whether the broker refuses a write, and log why."""
        channel: Any = self.default_channel  # the stubs lack `client`
        try:
            channel.client.set(_ROOM, 1, px=1)
        except OutOfMemoryError:
            logger.warning("the broker is full: no ticket is taken")
        except ResponseError as err:
            logger.warning(
                "the broker refuses writes: no ticket is taken",
                extra={"cause": str(fault_of(err, "broker"))},
            )
        else:
            return False
        return True


class Amqp(AMQP):
    """Celery's AMQP class with `Broker` as its connection."""

    Connection = Broker
