"""An event loop in a thread of its own, for servers that stand beside a test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")
ANSWER_S: Final = 30.0
"""How long what runs there may take."""


class Loop:
    """Runs servers from its making until the context is left, or `close` is called."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel whatever runs there, and end the thread."""
        self.run(_cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run *coroutine* there and return what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(ANSWER_S)

    def call(self, function: Callable[[], T]) -> T:
        """Run *function* there and return what it returns."""

        async def call() -> T:
            return function()

        return self.run(call())


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
