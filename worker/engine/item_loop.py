"""The loop that owns the items: it runs a stage, and decides on what the stage returned or raised.

Threads call it with what they took from the scheduler. Stages return; nothing calls back.
"""

import logging
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import DeviceFull, DeviceLost, RmbgError, WorkerUnfit
from shared.objects.protocol import WAITING_FOR
from worker.engine.circuit_breaker import BreakerState
from worker.engine.device_state import Blame, DeviceState
from worker.engine.failure_policy import (
    Defer,
    End,
    Leave,
    Retry,
    RetryLimits,
    Wait,
    decide,
)
from worker.engine.holdings import Holdings, Unread
from worker.engine.inflight import InFlight
from worker.engine.item import Item, ItemResult
from worker.engine.observer import Observer
from worker.engine.payloads import (
    BEFORE_NETWORK,
    Deferred,
    Finished,
    Outcome,
    Payload,
    has_run,
)
from worker.engine.records import failed_record
from worker.engine.scheduler import Clock, StageScheduler
from worker.engine.stage import BatchStage, Step, StoreStage
from worker.engine.stages import Stages, stage_after
from worker.engine.store_access import StoreAccess
from worker.lifecycle import UNFIT_EXIT, Shutdown, log_unexpected

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemLoop:
    """Moves items from stage to stage. Safe in several threads; each item is in one at a time."""

    stages: Stages
    scheduler: StageScheduler
    inflight: InFlight
    holdings: Holdings
    access: StoreAccess
    device: DeviceState
    retries: RetryLimits
    shutdown: Shutdown
    observers: Sequence[Observer]
    rng: random.Random
    clock: Clock = time.monotonic

    def run_step(self, step: Step) -> None:
        """Run one stage for one item, and move the item on."""
        try:
            self._process(step)
        except BaseException:
            # As after a crash: the item that triggers a bug here must not go through the fleet.
            self._leave(step.item, Deferred(died=True))
            raise

    def advance_each(self, results: Iterable[tuple[Step, Payload | BaseException]]) -> None:
        """Move the items of a batch on."""
        for step, result in results:
            if not isinstance(result, BaseException) and has_run(result):
                self.device.ran()
            self._advance(step, result)

    def abandon(self, steps: Iterable[Step]) -> None:
        """Let the items of *steps* that are still inside leave as after a crash."""
        for step in steps:
            self._leave(step.item, Deferred(died=True))

    def must_defer(self, step: Step) -> bool:
        """Defer the item if the process is leaving; return whether it did."""
        if not (self.shutdown.is_draining and isinstance(step.payload, BEFORE_NETWORK)):
            return False
        self.defer(step.item)
        return True

    def defer(self, item: Item, waiting_for: str | None = None, *, is_outage: bool = False) -> None:
        """Let an item leave without a record."""
        reason = waiting_for or self.device.fault
        self._leave(item, Deferred(reason, is_outage, died=self.shutdown.blames_items))

    def defer_all(
        self, steps: Iterable[Step], waiting_for: str | None = None, *, is_outage: bool = False
    ) -> None:
        """Let the items of *steps* leave without a record, whatever an observer raises."""
        for step in steps:
            try:
                self.defer(step.item, waiting_for, is_outage=is_outage)
            except BaseException as err:  # noqa: BLE001 - the others must leave, too
                log_unexpected("observer failed", err)

    def _process(self, step: Step) -> None:
        if self.must_defer(step):
            return
        if isinstance(step.stage, StoreStage) and not self._may_ask_store(step.stage, step):
            return
        try:
            is_covered = self.holdings.cover(step)
        except BaseException as err:  # noqa: BLE001 - as in `_run`
            self._advance(step, err)
            return
        if is_covered:
            self._run(step)

    def starts(self, step: Step) -> None:
        """Note that the stage of a step starts now, perhaps to wait again after a failure."""
        since_s, step.waits_since_s = step.waits_since_s, None
        now_s = self.clock()
        for each in self.observers:
            each.started(step.stage.name, now_s - (now_s if since_s is None else since_s))

    def _run(self, step: Step) -> None:
        self.starts(step)
        started_s = time.monotonic()
        try:
            with self.access.asking(step):
                result = self.holdings.run(step)
        except BaseException as err:  # noqa: BLE001 - whatever a stage raises ends its item only
            self._observe_stage(step, started_s)
            self._advance(step, err)
            return
        if breaker := self.access.breaker_of(step):
            breaker.answered()
        if isinstance(result, Unread):
            step.waits_since_s = self.clock()
            self.holdings.read_later(step, result)
            return
        self._observe_stage(step, started_s)
        self._advance(step, result)

    def _advance(self, step: Step, result: Payload | Finished | BaseException) -> None:
        """Move an item on according to what its stage returned or raised."""
        item = step.item
        match result:
            case BaseException():
                self.holdings.settle(item, step.payload)
                self._act_on(step, result)
            case Finished():
                step.forget_payload()
                self._leave(item, result)
            case _:
                step.forget_payload()
                self.inflight.moved()
                self.inflight.resume(item)
                self.holdings.settle(item, result)
                if not isinstance(result, BEFORE_NETWORK):
                    self.inflight.pass_device(item)
                    self.scheduler.batches.nudge()
                stage = stage_after(self.stages, step.stage, result)
                self.scheduler.put(Step(item, stage, result))

    def _act_on(self, step: Step, error: BaseException) -> None:
        """Do what the failure policy says about *error*."""
        item, breaker = step.item, self.access.breaker_of(step, error)
        decision = decide(
            step.stage,
            error,
            item.attempts,
            self.retries,
            is_draining=self.shutdown.is_draining,
            breaker_after=breaker.state_after_failure if breaker else BreakerState.CLOSED,
            device_full_s=self.device.full_s() if isinstance(error, DeviceFull) else 0.0,
            blame=self._blame_for(step, error),
        )
        if breaker:
            self.access.note(breaker, decision.breaker, error)
        match decision.action:
            case Retry(cap_s):
                item.attempts += 1
                self._retry(step, error, delay_s=self.rng.uniform(0, cap_s))
            case Wait():
                self.inflight.wait(item)
                again_s = breaker.wait_s() if breaker else self.retries.device_again_s
                self._retry(step, error, delay_s=again_s)
            case End(reason):
                if not isinstance(reason, RmbgError):
                    facts = {"job_id": item.request.job_id, "image_key": item.request.image_key}
                    logger.error("unexpected error in a stage", extra=facts, exc_info=reason)
                step.forget_payload(error)
                self._leave(item, Finished(failed_record(item, reason)))
            case Defer(reason, is_outage):
                self.defer(item, reason, is_outage=is_outage)
            case Leave(unfit):
                self._leave_process(item, unfit)

    def _blame_for(self, step: Step, error: BaseException) -> Blame:
        """Return what is to blame if the network failed on the item alone."""
        if not isinstance(step.stage, BatchStage) or isinstance(error, WorkerUnfit | MemoryError):
            return Blame.IMAGE
        step.item.is_suspect = True
        return self.device.failed_on((step.item.request.job_id, step.item.request.index))

    def _leave_process(self, item: Item, error: WorkerUnfit) -> None:
        """Make the process leave; suspect the item if the device works without it."""
        if not self.shutdown.is_unfit:
            logger.critical("worker unfit", exc_info=error)
        is_device = isinstance(error, DeviceLost | DeviceFull)
        is_leaving = self.shutdown.is_draining and not self.shutdown.is_unfit
        is_suspect = is_device and not is_leaving and self.device.leave(error)
        self.shutdown.drain(str(error), UNFIT_EXIT, blames_items=not is_device)
        if is_suspect:
            self._leave(item, Deferred(died=True))
        else:
            self.defer(item)

    def _retry(self, step: Step, error: BaseException, *, delay_s: float) -> None:
        for each in self.observers:
            each.retried(step.item.request, step.stage.name, error)
        self.scheduler.put(step, delay_s=delay_s)

    def _observe_stage(self, step: Step, started_s: float) -> None:
        for each in self.observers:
            each.stage(step.stage.name, time.monotonic() - started_s)

    def _may_ask_store(self, stage: StoreStage[Any], step: Step) -> bool:
        """Return whether the item's bucket may be asked; else let the item wait, or defer it."""
        item, breaker = step.item, self.access.breakers.of(stage.target(step.item))
        state = BreakerState.CLOSED
        if not self.shutdown.is_draining:
            state = self.access.state_of(breaker, stage, item)
        match state:
            case BreakerState.CLOSED:
                self.inflight.resume(item)
                return True
            case BreakerState.OPEN:
                self.holdings.settle(item, step.payload)
                self.inflight.wait(item)
                self.scheduler.put(step, delay_s=breaker.wait_s())
            case BreakerState.OVERDUE:
                self.defer(item, f"{WAITING_FOR}: {breaker.reason}", is_outage=True)
        return False

    def _leave(self, item: Item, outcome: Outcome) -> None:
        """Put the result of an item, once."""
        self.holdings.release(item)
        if not self.inflight.leave(item, outcome):
            return
        self.scheduler.batches.nudge()
        try:
            took_s = time.monotonic() - item.started_at_s
            for each in self.observers:
                each.ended(item.request, outcome, took_s=took_s)
        finally:
            item.results.put(ItemResult(item.request, outcome))
