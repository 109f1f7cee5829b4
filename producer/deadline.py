"""A call that must answer in time, or be given up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_Answer = TypeVar("_Answer")


def within(limit_s: float, call: Callable[[], _Answer], *, late: Exception) -> _Answer:
    """Return what *call* returns, or raise what it raises, or raise *late* after *limit_s*.

    A client's own timeouts hold for each try of each step, and add up to more than a person
    waits where a server takes connections and never answers. A call that is given up goes on in
    a thread that keeps no process from ending.
    """
    future: Future[_Answer] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as err:  # noqa: BLE001 - handed over to whoever waits
            future.set_exception(err)

    threading.Thread(target=run, daemon=True).start()
    try:
        return future.result(limit_s)
    except TimeoutError:
        raise late from None
