"""Run one item through an engine, for tools without a queue."""

from queue import Empty, SimpleQueue

from worker.engine.engine import Engine
from worker.engine.item import ItemRequest, ItemResult
from worker.engine.payloads import Outcome


def run_single(engine: Engine, request: ItemRequest, *, timeout_s: float) -> Outcome | None:
    """Return how the item left the engine, or None if it has not after *timeout_s*."""
    results: SimpleQueue[ItemResult] = SimpleQueue()
    engine.offer(request, results, timeout_s=1)
    try:
        return results.get(timeout=timeout_s).outcome
    except Empty:
        return None
