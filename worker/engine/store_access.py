"""Control access to buckets: circuit breakers, probes and requests in progress."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from shared.deadline import within
from shared.errors import BucketUnavailable, StoreUnavailable
from shared.job.spec import JobSpec
from shared.objects.protocol import WAITING_FOR
from worker.engine.circuit_breaker import (
    BreakerState,
    CircuitBreaker,
    CircuitBreakers,
    Direction,
    Target,
)
from worker.engine.failure_policy import BreakerSignal
from worker.engine.item import Item
from worker.engine.stage import Step, StoreStage
from worker.lifecycle import FailureCounter

SLOW_S: Final = 5.0
"""How long a request may take before a job without progress shows it."""
SILENT_S: Final = 2.0
"""How long a bucket may answer nothing before it is probed."""
PROBE_S: Final = 2.0
"""How long such a probe may take."""
FAULT_S: Final = 60.0
"""How long a failed probe counts, unless a request is answered."""
RECENT_S: Final = 60.0
"""Age of a failure from which on it is no reason any more: retries come at least every 30 s."""
_DOING: Final = {Direction.READ: "reading from", Direction.WRITE: "writing to"}


@dataclass(frozen=True, eq=False)
class StoreAccess:
    """The circuit breakers, and the requests in progress. Safe to use from several threads."""

    breakers: CircuitBreakers
    probe_failures: FailureCounter
    clock: Callable[[], float] = time.monotonic
    _asking: dict[int, tuple[Step, Target, float]] = field(default_factory=dict)
    """What each thread asks of which bucket, and since when."""
    _ended_at_s: dict[Target, float] = field(default_factory=dict)
    """When a request to each bucket last ended, whether well or not."""
    _faults: dict[Target, tuple[str, float]] = field(default_factory=dict)
    """What a probe of a silent bucket failed with last, and when."""

    def state_of(self, breaker: CircuitBreaker, stage: StoreStage[Any], item: Item) -> BreakerState:
        """Return whether *stage* may ask its bucket; probe the bucket if that is due.

        A probe asks for something other than the item. Otherwise one object that the store never
        delivers, left over at the end of a job, would look like a store that is down, and its job
        would wait for ever.
        """
        if breaker.take_probe():
            self._probe(breaker, stage, item)
        return breaker.state

    def breaker_of(self, step: Step, error: BaseException | None = None) -> CircuitBreaker | None:
        """Return the breaker of the bucket that the step asked; None if it asks none.

        With *error*, which the stage raised, it is the bucket of that request.
        """
        if not isinstance(step.stage, StoreStage):
            return None
        return self.breakers.of(step.stage.target(step.item, error))

    def note(self, breaker: CircuitBreaker, signal: BreakerSignal, error: BaseException) -> None:
        """Note what *error* shows about a bucket."""
        match signal:
            case BreakerSignal.ANSWERED:
                breaker.answered()
            case BreakerSignal.FAILED:
                breaker.failed(str(error))

    @contextmanager
    def asking(self, step: Step) -> Iterator[None]:
        """Note the request of this thread while the step runs."""
        if not isinstance(step.stage, StoreStage):
            yield
            return
        thread, target = threading.get_ident(), step.stage.target(step.item)
        self._asking[thread] = (step, target, self.clock())
        try:
            yield
            self._faults.pop(target, None)
        finally:
            del self._asking[thread]
            self._ended_at_s[target] = self.clock()

    def silent(self) -> list[Step]:
        """Return one request of each bucket that has answered none for `SILENT_S`."""
        late_s = self.clock() - SILENT_S
        return list(
            {
                target: step
                for step, target, since_s in list(self._asking.values())
                if max(since_s, self._ended_at_s.get(target, since_s)) <= late_s
            }.values()
        )

    def fault_of(self, step: Step) -> str | None:
        """Probe the bucket that *step* asks; return why its items cannot go on, or None.

        Requests that take long may be large, and their bucket well. A fault counts for
        `FAULT_S` or until an answer, so that items that come later are not kept during a probe.
        """
        if not isinstance(stage := step.stage, StoreStage):
            return None
        target = stage.target(step.item)
        reason, at_s = self._faults.get(target, ("", -math.inf))
        if self.clock() - at_s < FAULT_S:
            return reason
        doing = f"{_DOING[target.direction]} bucket {target.bucket}"
        late = StoreUnavailable(f"{doing}: no answer, nor to a probe within {PROBE_S:g} s")
        try:
            within(PROBE_S, lambda: stage.probe(step.item), late=late)
        except StoreUnavailable as err:
            self._faults[target] = f"{WAITING_FOR}: {err}", self.clock()
            return self._faults[target][0]
        except BucketUnavailable:
            return None  # the request itself raises the same error
        return None

    def trouble(self, spec: JobSpec) -> str | None:
        """Return what the buckets of a job failed with last, or that they do not respond."""
        targets = [
            Target(spec.output_bucket, Direction.WRITE),
            Target(spec.input_bucket, Direction.READ),
            Target(spec.output_bucket, Direction.READ),
        ]
        for target in targets:
            breaker = self.breakers.of(target)
            if breaker.reason is not None and breaker.age_s() < RECENT_S:
                return f"{WAITING_FOR}: {breaker.reason}"
        slow_since_s = self.clock() - SLOW_S
        for _, target, since_s in list(self._asking.values()):
            if target in targets and since_s < slow_since_s:
                doing = f"{_DOING[target.direction]} bucket {target.bucket}"
                return f"{WAITING_FOR}: {doing} has taken {self.clock() - since_s:.0f} s so far"
        return None

    def _probe(self, breaker: CircuitBreaker, stage: StoreStage[Any], item: Item) -> None:
        try:
            stage.probe(item)
        except StoreUnavailable as err:
            breaker.failed(str(err))
        except BucketUnavailable:
            breaker.answered()  # the item's own request raises the same error
        except BaseException as err:  # noqa: BLE001 - a bug in a probe is not the item's
            breaker.failed(f"{type(err).__name__}: {err}")
            self.probe_failures.note(err)
            return
        else:
            breaker.answered()
        self.probe_failures.clear()
