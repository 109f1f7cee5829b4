"""The one thread that runs the network: batch after batch, whatever model they are for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from shared.errors import WorkerUnfit
from worker.engine.batching import Batcher
from worker.engine.item import Flow
from worker.engine.observer import Observer, Observers
from worker.engine.thread_pool import CLOSE_S
from worker.inference.api import Output

Ran = Callable[[Flow, Output], None]
Broke = Callable[[Flow, BaseException], None]
IDLE_CHECK_S: Final = 0.5
"""How long the thread sleeps at most; it is woken by every arrival, so this is only a safety."""


class DeviceThread:
    """Gathers prepared pictures and runs the network over them.

    *upstream* tells how many items may still arrive: when there are none, a batch does not wait
    for company that cannot come.
    """

    def __init__(
        self,
        *,
        max_wait_s: float,
        upstream: Callable[[], int],
        ran: Ran,
        broke: Broke,
        observer: Observer | None = None,
    ) -> None:
        self._batcher: Batcher[Flow] = Batcher(max_wait_s)
        self._upstream = upstream
        self._ran = ran
        self._broke = broke
        self._observer = observer or Observers()
        self._changed = threading.Condition()
        self._closed = False
        self.busy_s = 0.0
        self.batches = 0
        self.items = 0
        self._thread = threading.Thread(target=self._serve, name="device", daemon=True)
        self._thread.start()

    def put(self, flow: Flow) -> None:
        """Add one prepared picture."""
        model = flow.work.model
        flow.at_device_s = time.monotonic()
        with self._changed:
            self._batcher.add(
                model.name,
                flow,
                rank=flow.rank,
                max_items=model.segmenter.batch_size,
                now_s=flow.at_device_s,
            )
            self._changed.notify()

    def nudge(self) -> None:
        """Look again: something upstream has ended without arriving here."""
        with self._changed:
            self._changed.notify()

    def withdraw(self) -> list[Flow]:
        """Take out and return all that waits; what the device is working on goes on."""
        withdrawn: list[Flow] = []
        with self._changed:
            while batch := self._batcher.take(time.monotonic(), hurry=True):
                withdrawn += batch
        return withdrawn

    def close(self) -> None:
        """End the thread once nothing waits, and wait for it a little; see `Pool.close`."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not threading.current_thread():
            self._thread.join(CLOSE_S)

    def _serve(self) -> None:
        while (batch := self._next()) is not None:
            started_s = time.monotonic()
            waited_s = started_s - min(flow.at_device_s for flow in batch)
            works = [flow.work for flow in batch]
            self._forward(batch)
            forward_s = time.monotonic() - started_s
            self.busy_s += forward_s
            self.batches += 1
            self.items += len(batch)
            del batch  # the pictures must not live until the next batch is there
            self._observer.batch(works, wait_s=waited_s, forward_s=forward_s)

    def _next(self) -> list[Flow] | None:
        with self._changed:
            while True:
                now_s = time.monotonic()
                hurry = self._closed or self._upstream() <= len(self._batcher)
                if batch := self._batcher.take(now_s, hurry=hurry):
                    return batch
                if self._closed:
                    return None
                wait_s = self._batcher.wait_s(now_s)
                self._changed.wait(IDLE_CHECK_S if wait_s is None else min(wait_s, IDLE_CHECK_S))

    def _forward(self, batch: Sequence[Flow]) -> None:
        """Run one batch; one that fails is run again picture by picture, so each has its own end.

        Where the device itself is lost, there is nothing to try again.
        """
        segmenter = batch[0].work.model.segmenter
        try:
            outputs = segmenter.forward([flow.prepared for flow in batch])
            ran = list(zip(batch, outputs, strict=True))
        except BaseException as err:  # noqa: BLE001 - the engine sorts it, item by item
            again = len(batch) > 1 and not isinstance(err, WorkerUnfit)
            for flow in batch:
                if again:
                    self._forward([flow])
                else:
                    self._broke(flow, err)
            return
        for flow, output in ran:
            self._ran(flow, output)
