"""Work on many things, a few at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

AHEAD: Final = 4
"""Things a thread that are taken ahead of the slowest: enough to keep all threads busy."""

_Thing = TypeVar("_Thing")
_Result = TypeVar("_Result")


def each(
    work: Callable[[_Thing], _Result], things: Iterable[_Thing], *, threads: int
) -> Iterator[_Result]:
    """Yield `work(thing)` for each of *things*, in their order.

    At most `AHEAD * threads` of them are held, where `Executor.map` would take all at once:
    1.6 kB each, measured. What *work* raises is raised here; what was not begun by then is not
    begun at all.
    """
    pool = ThreadPoolExecutor(threads)
    try:
        pending: deque[Future[_Result]] = deque()
        for thing in things:
            pending.append(pool.submit(work, thing))
            while pending and (pending[0].done() or len(pending) >= AHEAD * threads):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
