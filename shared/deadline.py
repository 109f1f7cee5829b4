"""Limit the time of a call."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_Answer = TypeVar("_Answer")


def within(limit_s: float, call: Callable[[], _Answer], *, late: Exception) -> _Answer:
    """Return the result of *call*, or raise *late* if it takes longer than *limit_s*.

    A client's own timeouts apply to each attempt of each step. Their sum is longer than a person
    waits if a server accepts connections and never answers. After *limit_s* the call goes on in a
    daemon thread, which does not keep the process from exiting.
    """
    future: Future[_Answer] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as err:  # noqa: BLE001 - passed on to the caller
            future.set_exception(err)

    threading.Thread(target=run, daemon=True).start()
    try:
        return future.result(limit_s)
    except TimeoutError:
        raise late from None
