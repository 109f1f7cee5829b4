"""Queues in which items wait for the threads of each executor.

No wait can become circular: items are bounded where they enter the engine, memory by permits (see
`holdings`), and no stage holds a thread while it waits for another stage.
"""

import heapq
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from worker.engine.batching import Batcher
from worker.engine.delay_queue import DelayQueue
from worker.engine.inflight import InFlight
from worker.engine.item import Rank
from worker.engine.stage import Executor, Step

IDLE_CHECK_S: Final = 0.5
"""Longest wait of the device thread, as a safeguard: every arrival wakes it."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Batch:
    """Steps of one model and one stage that run together."""

    steps: tuple[Step, ...]
    waited_s: float
    """How long the first of them waited for the batch to run."""


class _DelayingQueue(ABC):
    """What both kinds of queue have in common: delays, and an end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._closed = False
        self._delayed = DelayQueue()

    def put(self, step: Step, *, delay_s: float = 0.0) -> None:
        """Add a step; threads see it after *delay_s*."""
        with self._changed:
            if delay_s:
                self._delayed.push(step, self._clock() + delay_s)
            else:
                self._add(step)
            self._changed.notify()

    def hurry(self) -> None:
        """End all delays, present and later ones."""
        with self._changed:
            self._delayed.hurry()
            self._changed.notify_all()

    def close(self) -> None:
        """Let threads end once the queue is empty."""
        self._closed = True
        self.hurry()

    def _add_due(self, now_s: float) -> None:
        for step in self._delayed.pop_due(now_s):
            self._add(step)

    @abstractmethod
    def _add(self, step: Step) -> None:
        """Add a step that waits only for a thread."""


class StepQueue(_DelayingQueue):
    """Steps for one executor: urgent ones first, then in order of arrival."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._ready: list[tuple[Rank, Step]] = []

    def take(self) -> Step | None:
        """Wait for a step and remove it; None once the queue is closed and empty."""
        with self._changed:
            while True:
                now_s = self._clock()
                self._add_due(now_s)
                if self._ready:
                    return heapq.heappop(self._ready)[1]
                if self._closed:
                    return None
                self._changed.wait(self._delayed.wait_s(now_s))

    def _add(self, step: Step) -> None:
        heapq.heappush(self._ready, (step.rank, step))


class BatchQueue(_DelayingQueue):
    """Steps for the device, which takes them in batches of one model."""

    def __init__(self, inflight: InFlight, *, max_wait_s: float, clock: Clock) -> None:
        super().__init__(clock)
        self._inflight = inflight
        self._batcher: Batcher[tuple[float, Step]] = Batcher(max_wait_s)

    def take(self) -> Batch | None:
        """Wait for a batch and remove it; None once the queue is closed and empty.

        A batch does not wait for more items when none can come.
        """
        with self._changed:
            while True:
                now_s = self._clock()
                self._add_due(now_s)
                hurry = self._closed or self._inflight.upstream <= len(self._batcher)
                if taken := self._batcher.take(now_s, hurry=hurry):
                    first_s = min(since_s for since_s, _ in taken)
                    return Batch(tuple(step for _, step in taken), now_s - first_s)
                if self._closed:
                    return None
                waits_s = (self._batcher.wait_s(now_s), self._delayed.wait_s(now_s), IDLE_CHECK_S)
                self._changed.wait(min(wait_s for wait_s in waits_s if wait_s is not None))

    def nudge(self) -> None:
        """Check again: an item has ended, or passed, without coming to the device."""
        with self._changed:
            self._changed.notify()

    def withdraw(self) -> list[Step]:
        """Remove and return all steps that wait; the batch that runs goes on."""
        with self._changed:
            self._delayed.hurry()
            withdrawn = self._delayed.pop_due(self._clock())
            while taken := self._batcher.take(self._clock(), hurry=True):
                withdrawn += [step for _, step in taken]
            return withdrawn

    def _add(self, step: Step) -> None:
        now_s, model = self._clock(), step.item.request.model
        self._batcher.add(
            (step.stage.name, model.name),
            (now_s, step),
            rank=step.rank,
            max_items=model.segmenter.batch_size,
            now_s=now_s,
        )


class StageScheduler:
    """One queue per executor."""

    def __init__(
        self, inflight: InFlight, *, max_batch_wait_s: float, clock: Clock = time.monotonic
    ) -> None:
        self.batches = BatchQueue(inflight, max_wait_s=max_batch_wait_s, clock=clock)
        self._steps: dict[Executor, StepQueue] = {
            executor: StepQueue(clock) for executor in Executor if executor is not Executor.DEVICE
        }
        self._queues: dict[Executor, _DelayingQueue] = {
            **self._steps,
            Executor.DEVICE: self.batches,
        }

    def put(self, step: Step, *, delay_s: float = 0.0) -> None:
        """Queue a step for its stage's executor, after *delay_s*."""
        self._queues[step.stage.executor].put(step, delay_s=delay_s)

    def take(self, executor: Executor) -> Step | None:
        """Wait for a step of *executor*, not of the device; None once no more will come."""
        return self._steps[executor].take()

    def hurry(self) -> list[Step]:
        """End all delays, and remove and return the steps that wait for the device."""
        for queue in self._steps.values():
            queue.hurry()
        return self.batches.withdraw()

    def close(self) -> None:
        """Let the threads end once nothing waits for them."""
        for queue in self._queues.values():
            queue.close()
