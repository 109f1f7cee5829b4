"""Wait for the end of a job, in place of asking often."""

from typing import Any, Final

from shared.jobstore.connection import Connection, to_ms
from shared.jobstore.layout import EVENTS


class Events:
    """The events of jobs, from the construction on; for one thread.

    An event may come late or twice after a failover, so callers also ask from time to time.
    """

    def __init__(self, connection: Connection) -> None:
        """Begin after the latest event.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        self._connection: Final = connection
        with connection.commands() as client:
            latest: Any = client.xrevrange(EVENTS, count=1)
        self._seen: bytes = latest[0][0] if latest else b"0-0"

    def wait(self, longest_s: float) -> bool:
        """Return whether an event came, as soon as there is one, or after *longest_s*.

        Args:
            longest_s: In seconds; below `shared.jobstore.connection.ANSWER_S`.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        with self._connection.commands() as client:
            found: Any = client.xread({EVENTS: self._seen}, block=to_ms(longest_s))
        if not found:
            return False
        [[_, events]] = found
        self._seen = events[-1][0]
        return True
