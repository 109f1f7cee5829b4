"""One open stream of a job's events."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from typing import Final

from producer.gateway.messages import Message
from shared.access import ApiKey
from shared.jobstore.item_events import Position

BEHIND_MOST: Final = 2000
"""Messages that wait for a slow caller; with more its stream ends, and it may resume."""
_numbers: Final = count()


class Listener:
    """What waits for one caller; used from the event loop only.

    A change reaches the caller with the next `wake`.
    """

    def __init__(self, key: ApiKey) -> None:
        self.key = key
        self.number = next(_numbers)
        self._waiting: list[Message] = []
        self._is_over = False
        self._changed = asyncio.Event()

    def put(self, message: Message) -> None:
        """Add a message."""
        self._waiting.append(message)
        if len(self._waiting) > BEHIND_MOST:
            self._waiting.clear()
            self._is_over = True

    def end(self) -> None:
        """End the stream after what waits."""
        self._is_over = True

    @property
    def has_news(self) -> bool:
        """Whether something waits for the caller."""
        return bool(self._waiting) or self._is_over

    def wake(self) -> None:
        """Let the caller have what waits."""
        self._changed.set()

    async def messages(self, at: Position) -> AsyncIterator[bytes]:
        """Yield what comes, without events up to *at*, which the caller has."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            taken, self._waiting = self._waiting, []
            for message in taken:
                if message.at is None or message.is_reset or message.at > at:
                    at = message.at or at
                    yield message.data
            if self._is_over and not self._waiting:
                return
