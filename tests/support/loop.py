"""An event loop in its own thread, for servers that run beside a test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")
RESULT_S: Final = 60.0
"""Time limit for each coroutine, in seconds."""


class Loop:
    """An event loop that runs from its creation until `close` or the end of the context."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel all tasks and end the thread."""
        self.run(_cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run *coroutine* in the loop and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(RESULT_S)

    def call(self, function: Callable[[], T]) -> T:
        """Call *function* in the loop's thread and return its result."""

        async def call() -> T:
            return function()

        return self.run(call())


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
