"""The thread of the device: it launches batches, and collects them in the same order."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from shared.errors import WorkerUnfit
from worker.engine.item_loop import ItemLoop
from worker.engine.pass_watch import PassWatch
from worker.engine.payloads import Payload
from worker.engine.scheduler import Batch, BatchQueue, Clock
from worker.engine.stage import BatchRun, BatchStage, Step


@dataclass(frozen=True)
class Launched:
    """Steps of one stage and one model that were launched together."""

    steps: Sequence[Step]
    run: BatchRun | BaseException
    """What the launch returned or raised."""


class DeviceThread:
    """Launches batches before the ones before them are collected, so that the device never waits.

    What Python does between two batches, moving the items of one on and launching the next, takes
    several milliseconds. A device that runs beside the caller has a second batch meanwhile. All
    calls come from one thread.
    """

    def __init__(
        self, batches: BatchQueue, loop: ItemLoop, *, clock: Clock = time.monotonic
    ) -> None:
        self._batches = batches
        self._loop = loop
        self._clock = clock
        self.passes = PassWatch(clock)
        """Times the batch that is on the device."""
        self._launched: deque[tuple[Launched, float, float]] = deque()
        """Each with how long it waited, and the time of its launch, in seconds."""
        self._collected_at_s = 0.0

    def serve(self) -> bool:
        """Collect one batch, after launching what follows it; return False once no more will come.

        Only a full batch is launched while another one runs: a partial one may still grow.
        """
        if not self._launched:
            batch = self._batches.take()
            if batch is None:
                return False
            self._launch(batch)
        while self._has_room() and (batch := self._batches.take_full()):
            self._launch(batch)
        if self._launched:
            self._collect(*self._launched.popleft())
        return True

    def _has_room(self) -> bool:
        """Return whether the device takes a batch besides those that it has."""
        if not self._launched:
            return False
        first = self._launched[0][0].steps[0].item.request.model
        return len(self._launched) < first.segmenter.in_flight

    def _launch(self, batch: Batch) -> None:
        steps = [step for step in batch.steps if not self._loop.must_defer(step)]
        if not steps:
            return
        if not self._launched:
            self._begin(steps)  # before the launch, which runs the batch on a CPU
        at_s = self._clock()
        for step in steps:
            self._loop.starts(step)
        self._launched.append((launch(steps), batch.waited_s, at_s))

    def _begin(self, steps: Sequence[Step]) -> None:
        self.passes.begin(steps[0].item.request.model.name, len(steps))

    def _collect(self, launched: Launched, waited_s: float, launched_at_s: float) -> None:
        """Move the items of a batch on."""
        steps, run = launched.steps, launched.run
        requests = [step.item.request for step in steps]
        began_s = max(launched_at_s, self._collected_at_s)
        try:
            self._loop.advance_each(collect(launched))
        except BaseException:
            # As after a crash: the item that triggers a bug here must not go through the fleet.
            self._loop.abandon(steps)
            raise
        finally:
            self.passes.end(0 if isinstance(run, BaseException) else run.images)
            if self._launched:
                self._begin(self._launched[0][0].steps)
        self._collected_at_s = self._clock()
        took_s = self._collected_at_s - began_s
        device_s = took_s if isinstance(run, BaseException) else run.device_s
        for each in self._loop.observers:
            each.batch(
                steps[0].stage.name, requests, wait_s=waited_s, took_s=took_s, device_s=device_s
            )


def launch(steps: Sequence[Step]) -> Launched:
    """Start the stage of *steps*, which are of one stage and one model."""
    stage = cast("BatchStage[Any]", steps[0].stage)
    try:
        items, payloads = [step.item for step in steps], [step.payload for step in steps]
        return Launched(steps, stage.launch(items, payloads))
    except BaseException as err:  # noqa: BLE001 - decided when its turn comes, item by item
        return Launched(steps, err)


def collect(launched: Launched) -> Iterator[tuple[Step, Payload | BaseException]]:
    """Yield what each step of a batch became, or its error.

    A batch that fails is run again item by item, so that each item has its own outcome. If the
    device itself is lost or full, there is nothing to run again.
    """
    ran, steps = _ended(launched), launched.steps
    if not isinstance(ran, BaseException):
        yield from ran
    elif len(steps) > 1 and not isinstance(ran, WorkerUnfit):
        for step in steps:
            yield from collect(launch([step]))
    else:
        for step in steps:
            yield step, ran


def _ended(launched: Launched) -> Sequence[tuple[Step, Payload]] | BaseException:
    """Wait for a batch; return what its steps became, or the error.

    Not in the generator: whoever gets the error may clear the frames of its traceback, which would
    end a generator among them.
    """
    if isinstance(launched.run, BaseException):
        return launched.run
    try:
        return list(zip(launched.steps, launched.run.collect(), strict=True))
    except BaseException as err:  # noqa: BLE001 - decided item by item
        return err
