"""Run items through the stages, many at once, and report how each one left."""

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Final

from worker.engine.circuit_breaker import CircuitBreakers
from worker.engine.device_state import DeviceState
from worker.engine.device_thread import DeviceThread
from worker.engine.failure_policy import RetryLimits
from worker.engine.holdings import Holdings
from worker.engine.inflight import InFlight
from worker.engine.item import ItemRequest, ItemResult
from worker.engine.item_loop import ItemLoop
from worker.engine.observer import Observer
from worker.engine.scheduler import Clock, NewCondition, StageScheduler
from worker.engine.stage import Executor
from worker.engine.stages import Stages, first_step
from worker.engine.store_access import StoreAccess
from worker.lifecycle import FailureCounter, Shutdown, start_loop, start_pool

WATCH_S: Final = 0.1
"""Interval at which buckets that do not answer are looked for, in seconds."""
CLOSE_S: Final = 1.0
"""How long `close` waits for threads that still run."""


@dataclass(frozen=True, kw_only=True)
class EngineLimits:
    """How much the engine holds, and how often it retries."""

    max_items: int = 48
    """Items inside at once; urgent items come in above it."""
    budget_px: int = 150_000_000
    """Decoded pixels held at once; each costs up to 8 bytes."""
    budget_bytes: int = 2**29
    """Bytes of encoded images held at once: sources and outputs."""
    io_threads: int = 16
    """Requests to one bucket at once, in each direction."""
    cpu_threads: int = 2
    max_batch_wait_s: float = 0.05
    retries: RetryLimits = field(default_factory=RetryLimits)


class Engine:
    """Takes item requests and puts their results; one per process.

    Stages overlap, and items of all tickets and jobs share their threads. Safe to use from several
    threads.
    """

    def __init__(
        self,
        stages: Stages,
        *,
        limits: EngineLimits,
        shutdown: Shutdown,
        observers: Sequence[Observer] = (),
        breakers: CircuitBreakers | None = None,
        device: DeviceState | None = None,
        rng: random.Random | None = None,
        clock: Clock = time.monotonic,
        condition: NewCondition = threading.Condition,
    ) -> None:
        self.inflight = InFlight(limits.max_items)
        self.access = StoreAccess(
            breakers or CircuitBreakers(), FailureCounter("probe of a bucket", shutdown), clock
        )
        self.device = device or DeviceState(lambda: True)
        threads = {
            # A bucket gets at most half of them: the other half is for the other buckets.
            Executor.DOWNLOAD: 2 * limits.io_threads,
            Executor.CPU: limits.cpu_threads,
            Executor.UPLOAD: 2 * limits.io_threads,
        }
        self.scheduler = StageScheduler(
            self.inflight,
            max_batch_wait_s=limits.max_batch_wait_s,
            threads=threads,
            clock=clock,
            condition=condition,
        )
        self.holdings = Holdings(
            self.scheduler, budget_px=limits.budget_px, budget_bytes=limits.budget_bytes
        )
        self._loop = ItemLoop(
            stages=stages,
            scheduler=self.scheduler,
            inflight=self.inflight,
            holdings=self.holdings,
            access=self.access,
            device=self.device,
            retries=limits.retries,
            shutdown=shutdown,
            observers=observers,
            rng=rng or random.Random(),  # noqa: S311 - spreads retries, protects nothing
            clock=clock,
        )
        self._device_thread = DeviceThread(self.scheduler.batches, self._loop, clock=clock)
        self._stages = stages
        self._is_closed = False
        self._cpu_since_s: dict[int, float] = {}
        self._threads = [
            thread
            for executor, count in threads.items()
            for thread in start_pool(executor, count, self._serve_step, executor, shutdown=shutdown)
        ] + [start_loop("device", self._device_thread.serve, shutdown=shutdown)]
        start_loop("stores", self._watch_stores, shutdown=shutdown, every_s=WATCH_S)

    def offer(
        self, request: ItemRequest, results: SimpleQueue[ItemResult], *, timeout_s: float
    ) -> bool:
        """Take one item if there is room within *timeout_s*; return whether it was taken.

        *results* gets exactly one result for an item that was taken.
        """
        item = self.inflight.enter(request, results, timeout_s=timeout_s)
        if item is None:
            return False
        self.scheduler.put(first_step(self._stages, item))
        return True

    def is_progressing(self, stall_s: float) -> bool:
        """Return whether an item moved within *stall_s*, or there is a reason that none does.

        Having no items is a reason, and so is that all of them wait for buckets that are down.
        """
        if self.inflight.waiting >= self.inflight.items:
            self.inflight.moved()
        return time.monotonic() - self.inflight.moved_at_s < stall_s

    def longest_s(self) -> float:
        """Return how long the oldest image has been decoding or rendering, in seconds."""
        since_s = list(self._cpu_since_s.values())
        return time.monotonic() - min(since_s) if since_s else 0.0

    def waiting(self) -> Counter[str]:
        """Return how many items wait for each stage: for memory, a thread or a batch."""
        steps = (*self.scheduler.waiting(), *self.holdings.waiting())
        return Counter(step.stage.name for step in steps)

    def overdue_pass(self) -> str | None:
        """Return a reason if the batch on the device takes much longer than usual."""
        return self._device_thread.passes.overdue()

    def drain(self) -> None:
        """Defer every item that has not been through the network; finish the others.

        Call it once the process is draining.
        """
        self._loop.defer_all((*self.scheduler.hurry(), *self.holdings.withdraw()))

    def close(self) -> None:
        """End the threads once no item is inside, and wait for them a little.

        A thread that is still in C++ when the interpreter ends takes the process with it
        (``terminate called without an active exception``).
        """
        self._is_closed = True
        self.scheduler.close()
        deadline_s = time.monotonic() + CLOSE_S
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline_s - time.monotonic()))

    def _serve_step(self, executor: Executor) -> bool:
        """Run one step of *executor*; return False once no more will come."""
        step = self.scheduler.take(executor)
        if step is None:
            return False
        thread = threading.get_ident()
        if executor is Executor.CPU:
            self._cpu_since_s[thread] = time.monotonic()
        try:
            self._loop.run_step(step)
        finally:
            self._cpu_since_s.pop(thread, None)
            self.scheduler.done(step)
        return True

    def _watch_stores(self) -> bool:
        """Defer the items that wait for a bucket that does not answer; return whether to go on.

        Its requests may hang for a minute before they fail and its breaker opens. Until then, its
        items would take the places of others, and its tickets their slots.
        """
        for step in self.access.silent():
            if reason := self.access.fault_of(step):
                self._loop.defer_all(self.scheduler.withdraw(step), reason, is_outage=True)
        return not self._is_closed
