"""Queues in which items wait for the threads of each executor.

No wait can become circular: items are bounded where they enter the engine, memory by permits (see
`holdings`), and no stage holds a thread while it waits for another stage.
"""

import heapq
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
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
NewCondition = Callable[[], threading.Condition]
"""Makes what threads wait for in a queue; tests pass one whose waits end by the test's clock."""


@dataclass(frozen=True)
class Batch:
    """Steps of one model and one stage that run together."""

    steps: tuple[Step, ...]
    waited_s: float
    """How long the first of them waited for the batch to run."""


class _DelayingQueue(ABC):
    """What both kinds of queue have in common: delays, and an end."""

    def __init__(self, clock: Clock, condition: NewCondition) -> None:
        self._clock = clock
        self._changed = condition()
        self._closed = False
        self._delayed = DelayQueue()

    def put(self, step: Step, *, delay_s: float = 0.0) -> None:
        """Add a step; threads see it after *delay_s*."""
        with self._changed:
            if delay_s:
                step.waits_since_s = None
                self._delayed.push(step, self._clock() + delay_s)
            else:
                self._note(step)
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
            self._note(step)

    def _note(self, step: Step) -> None:
        """Add a step that waits from now on, unless it has waited before: for memory."""
        if step.waits_since_s is None:
            step.waits_since_s = self._clock()
        self._add(step)

    @abstractmethod
    def waiting(self) -> Iterable[Step]:
        """Return the steps that wait only for a thread."""

    @abstractmethod
    def _add(self, step: Step) -> None:
        """Add a step that waits only for a thread."""


class StepQueue(_DelayingQueue):
    """Steps for one executor: urgent ones first, then in order of arrival.

    Steps that share something (a bucket) run in at most half of the threads that other steps leave,
    so that one of them that never ends cannot take them all.
    """

    def __init__(self, clock: Clock, condition: NewCondition, threads: int) -> None:
        super().__init__(clock, condition)
        self._threads = threads
        self._ready: dict[Hashable, list[tuple[Rank, Step]]] = {}
        self._running: Counter[Hashable] = Counter()

    def take(self) -> Step | None:
        """Wait for a step and remove it; None once the queue is closed and empty.

        Call `done` when it has run.
        """
        with self._changed:
            while True:
                now_s = self._clock()
                self._add_due(now_s)
                if step := self._pop():
                    return step
                if self._closed and not self._ready:
                    self._changed.notify_all()
                    return None
                self._changed.wait(self._delayed.wait_s(now_s))

    def done(self, step: Step) -> None:
        """Note that a step has run, so that others may get its thread."""
        with self._changed:
            self._running[step.share] -= 1
            self._changed.notify()

    def waiting(self) -> list[Step]:
        """See `_DelayingQueue.waiting`."""
        with self._changed:
            return [step for steps in self._ready.values() for _, step in steps]

    def withdraw(self, share: Hashable) -> list[Step]:
        """Remove and return all steps of *share* that wait for a thread."""
        with self._changed:
            return [step for _, step in self._ready.pop(share, ())]

    def _add(self, step: Step) -> None:
        heapq.heappush(self._ready.setdefault(step.share, []), (step.rank, step))

    def _pop(self) -> Step | None:
        first = [(steps[0][0], key) for key, steps in self._ready.items() if self._has_thread(key)]
        if not first:
            return None
        key = min(first, key=lambda each: each[0])[1]
        step = heapq.heappop(self._ready[key])[1]
        if not self._ready[key]:
            del self._ready[key]
        self._running[key] += 1
        return step

    def _has_thread(self, key: Hashable) -> bool:
        """Return whether one more step of *key* may run."""
        running = self._running[key]
        if key is None or not running:
            return True
        others = self._running.total() - running
        return running < (self._threads - others) // 2


class BatchQueue(_DelayingQueue):
    """Steps for the device, which takes them in batches of one model."""

    def __init__(
        self, inflight: InFlight, *, max_wait_s: float, clock: Clock, condition: NewCondition
    ) -> None:
        super().__init__(clock, condition)
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
                    return _batch(taken, now_s)
                if self._closed:
                    return None
                waits_s = (self._batcher.wait_s(now_s), self._delayed.wait_s(now_s), IDLE_CHECK_S)
                self._changed.wait(min(wait_s for wait_s in waits_s if wait_s is not None))

    def take_full(self) -> Batch | None:
        """Remove a full batch; None if there is none now."""
        with self._changed:
            now_s = self._clock()
            self._add_due(now_s)
            taken = self._batcher.take(now_s, only_full=True)
            return _batch(taken, now_s) if taken else None

    def nudge(self) -> None:
        """Check again: an item has ended, or passed, without coming to the device."""
        with self._changed:
            self._changed.notify()

    def waiting(self) -> list[Step]:
        """See `_DelayingQueue.waiting`."""
        with self._changed:
            return [step for _, step in self._batcher]

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


def _batch(taken: Sequence[tuple[float, Step]], now_s: float) -> Batch:
    first_s = min(since_s for since_s, _ in taken)
    return Batch(tuple(step for _, step in taken), now_s - first_s)


class StageScheduler:
    """One queue per executor; *threads* says how many threads each of them has."""

    def __init__(
        self,
        inflight: InFlight,
        *,
        max_batch_wait_s: float,
        threads: Mapping[Executor, int],
        clock: Clock = time.monotonic,
        condition: NewCondition = threading.Condition,
    ) -> None:
        self.batches = BatchQueue(
            inflight, max_wait_s=max_batch_wait_s, clock=clock, condition=condition
        )
        self._steps: dict[Executor, StepQueue] = {
            executor: StepQueue(clock, condition, count) for executor, count in threads.items()
        }
        self._queues: dict[Executor, _DelayingQueue] = {
            **self._steps,
            Executor.DEVICE: self.batches,
        }

    def put(self, step: Step, *, delay_s: float = 0.0) -> None:
        """Queue a step for its stage's executor, after *delay_s*."""
        self._queues[step.stage.executor].put(step, delay_s=delay_s)

    def take(self, executor: Executor) -> Step | None:
        """Wait for a step of *executor*, not of the device; None once no more will come.

        Call `done` when it has run.
        """
        return self._steps[executor].take()

    def done(self, step: Step) -> None:
        """Note that a step from `take` has run."""
        self._steps[step.stage.executor].done(step)

    def waiting(self) -> list[Step]:
        """Return the steps that wait for a thread or a batch."""
        return [step for queue in self._queues.values() for step in queue.waiting()]

    def withdraw(self, step: Step) -> list[Step]:
        """Remove and return the steps that wait for a thread, and share something with *step*."""
        return self._steps[step.stage.executor].withdraw(step.share)

    def hurry(self) -> list[Step]:
        """End all delays, and remove and return the steps that wait for the device."""
        for queue in self._steps.values():
            queue.hurry()
        return self.batches.withdraw()

    def close(self) -> None:
        """Let the threads end once nothing waits for them."""
        for queue in self._queues.values():
            queue.close()
