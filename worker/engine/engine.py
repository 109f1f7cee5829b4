"""Takes items through the pipeline, many at once, and hands back how each ended.

What a stage does, and which comes next, stands in `pipeline`; where it waits and in which thread
it runs in `lanes`; what a failure leads to in `failures`; how many items are inside in `inflight`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from worker.engine.circuit_breaker import Breaker
from worker.engine.device_thread import DeviceThread
from worker.engine.failure_policy import Failures
from worker.engine.inflight import InFlight
from worker.engine.item import Ended, Flow, GivenBack, Outcome, Stage
from worker.engine.observer import STAGES, Observer, Observers
from worker.engine.permits import PixelBudget
from worker.engine.scheduler import Lanes
from worker.engine.stages import Pipeline
from worker.imaging.operations import Stations
from worker.inference.api import Output
from worker.storage.item_ref import Work
from worker.storage.output_writer import Effects


@dataclass(frozen=True, kw_only=True)
class EngineLimits:
    """How much the engine holds and how patient it is."""

    max_items: int = 48
    """Items inside at once; urgent ones come in above it."""
    budget_px: int = 150_000_000
    """Decoded pixels held at once; each costs up to 8 bytes."""
    io_threads: int = 16
    cpu_threads: int = 2
    max_batch_wait_s: float = 0.05
    max_attempts: int = 8
    """Attempts of one item at a transient fault; while the breaker is open none is counted."""
    max_backoff_s: float = 30.0


class Engine:
    """Takes work, hands back outcomes. One a process; safe to use from several threads.

    Stages overlap, and items of all tickets and jobs share their threads.
    """

    def __init__(
        self,
        effects: Effects,
        stations: Stations,
        *,
        limits: EngineLimits,
        version: str,
        unfit: Callable[[BaseException], None],
        observer: Observer | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self._observer = observer or Observers()
        self._inflight = InFlight(limits.max_items)
        self.budget = PixelBudget(limits.budget_px)
        self.breaker = breaker or Breaker()
        self._pipeline = Pipeline(
            effects, stations, version=version, answered=self.breaker.succeeded
        )
        self._failures = Failures(
            inflight=self._inflight,
            breaker=self.breaker,
            max_attempts=limits.max_attempts,
            max_backoff_s=limits.max_backoff_s,
            end=self._end,
            again=self._again,
            unfit=unfit,
        )
        self.device = DeviceThread(
            max_wait_s=limits.max_batch_wait_s,
            upstream=lambda: self._inflight.upstream,
            ran=self._on_forward,
            broke=self._failures.sort,
            observer=self._observer,
        )
        self._lanes = Lanes(
            effects,
            self._pipeline,
            io_threads=limits.io_threads,
            cpu_threads=limits.cpu_threads,
            budget=self.budget,
            device=self.device,
            breaker=self.breaker,
            inflight=self._inflight,
            run=self._run,
            failed=self._failures.sort,
        )

    # ---- what tickets use

    def offer(self, work: Work, done: Callable[[Work, Outcome], None], *, timeout_s: float) -> bool:
        """Take one item if there is room within *timeout_s*; return whether it was taken.

        *done* is called exactly once for an item taken, in a thread of the engine, and must be
        quick and not raise.
        """
        flow = self._inflight.enter(work, done, timeout_s=timeout_s)
        if flow is None:
            return False
        self._lanes.put(flow)
        return True

    @property
    def inside(self) -> int:
        """Items taken and not ended."""
        return self._inflight.items

    @property
    def ended(self) -> int:
        """Items that are done or failed, since the start."""
        return self._inflight.ended

    @property
    def progressed_at_s(self) -> float:
        """When anything last went on, in seconds of the monotonic clock."""
        return self._inflight.moved_at_s

    def is_progressing(self, stall_s: float) -> bool:
        """Return whether any stage ended any item within *stall_s*, or there is a reason not to.

        Idling is a reason, and so is an open breaker: a worker that waits for the store is well.
        """
        if self.inside == 0 or self.breaker.is_open:
            self._inflight.moved()
        return time.monotonic() - self.progressed_at_s < stall_s

    def longest_s(self) -> float:
        """Return how long the oldest picture has been decoding or drawing, in seconds."""
        return self._lanes.longest_s()

    def drain(self) -> None:
        """Give back every item that has not been through the network; finish the others."""
        self._inflight.is_draining = True
        self._lanes.stop_waiting()
        for flow in self.device.withdraw():
            self._end(flow, GivenBack())

    def close(self) -> None:
        """End the threads once nothing is inside, and wait for them a few seconds at most."""
        self._lanes.close()
        self.device.close()

    # ---- from stage to stage

    def _run(self, flow: Flow) -> None:
        if self._inflight.is_draining and flow.step < Stage.FORWARD:
            self._end(flow, GivenBack())
            return
        try:
            ended = self._run_timed(flow)
        except BaseException as err:  # noqa: BLE001 - the outermost loop of an item
            self._release_spent(flow)
            self._failures.sort(flow, err)
            return
        self._release_spent(flow)
        if ended is None:
            self._advance(flow)
        else:
            self._end(flow, ended)

    def _run_timed(self, flow: Flow) -> Ended | None:
        started_s = time.monotonic()
        try:
            return self._pipeline.run(flow)
        finally:
            self._observer.stage(STAGES[flow.step], time.monotonic() - started_s)

    def _on_forward(self, flow: Flow, output: Output) -> None:
        self._pipeline.take_output(flow, output)
        self._inflight.pass_device(flow)
        self._advance(flow)

    def _advance(self, flow: Flow) -> None:
        self._inflight.moved()
        flow.step += 1
        self._lanes.put(flow)

    def _again(self, flow: Flow, err: BaseException, wait_s: float) -> None:
        self._observer.retried(flow.work, STAGES[flow.step], err)
        self._lanes.put_later(flow, wait_s)

    def _release_spent(self, flow: Flow) -> None:
        """Give pixels back as soon as there is no picture: drawn, or to be decoded once more."""
        if flow.image is None:
            self._release(flow)

    def _release(self, flow: Flow) -> None:
        if flow.pixels:
            pixels, flow.pixels = flow.pixels, 0
            self.budget.release(pixels)

    def _end(self, flow: Flow, outcome: Outcome) -> None:
        self._release(flow)
        self._inflight.leave(flow, outcome)
        self.device.nudge()
        self._observer.ended(flow.work, outcome, took_s=time.monotonic() - flow.started_at_s)
        flow.done(flow.work, outcome)
