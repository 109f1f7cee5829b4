"""Where items wait for each stage, and the threads that take them from there.

Nothing here can wait in a circle: items are bounded where they enter the engine, decoded pixels
by the budget, and no stage holds a thread while it waits for another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shared.errors import BucketUnavailable, StoreUnavailable
from worker.engine.circuit_breaker import Breaker
from worker.engine.delay_queue import Later
from worker.engine.device_thread import DeviceThread
from worker.engine.inflight import InFlight
from worker.engine.item import Flow, Stage
from worker.engine.permits import PixelBudget
from worker.engine.stages import Pipeline
from worker.engine.thread_pool import Pool
from worker.storage.output_writer import Effects


class Lanes:
    """One lane a stage; urgent items overtake in each, then those that came first.

    *run* runs an item's stage in the thread that it is called in, and *failed* is told of what
    went wrong before there was one to run.
    """

    def __init__(
        self,
        effects: Effects,
        pipeline: Pipeline,
        *,
        io_threads: int,
        cpu_threads: int,
        budget: PixelBudget,
        device: DeviceThread,
        breaker: Breaker,
        inflight: InFlight,
        run: Callable[[Flow], None],
        failed: Callable[[Flow, BaseException], None],
    ) -> None:
        self._effects = effects
        self._pipeline = pipeline
        self._budget = budget
        self._breaker = breaker
        self._inflight = inflight
        self._run = run
        self._failed = failed
        self._later = Later()
        self._download_pool = Pool("download", io_threads)
        self._cpu_pool = Pool("cpu", cpu_threads)
        self._upload_pool = Pool("upload", io_threads)
        self._lanes: Mapping[Stage, Callable[[Flow], None]] = {
            Stage.DOWNLOAD: self._to_download,
            Stage.DECODE: self._to_decode,
            Stage.FORWARD: device.put,
            Stage.DRAW: self._to_draw,
            Stage.UPLOAD: self._to_upload,
        }

    def put(self, flow: Flow) -> None:
        """Queue an item for the stage that it has come to."""
        self._lanes[Stage(flow.step)](flow)

    def put_later(self, flow: Flow, wait_s: float) -> None:
        """Queue an item in *wait_s* seconds, or as soon as nothing is waited for any more."""
        self._later.after(wait_s, lambda: self.put(flow))

    def stop_waiting(self) -> None:
        """Queue at once what was put for later, and from now on everything: the process leaves."""
        self._later.cut_short()

    def longest_s(self) -> float:
        """Return how long the oldest picture has been decoding or drawing, in seconds."""
        return self._cpu_pool.longest_s()

    def close(self) -> None:
        """End the threads of the stages once nothing waits in any lane."""
        for pool in (self._download_pool, self._cpu_pool, self._upload_pool):
            pool.close()

    def _to_download(self, flow: Flow) -> None:
        self._download_pool.put(flow.rank, lambda: self._ask_store(flow))

    def _to_decode(self, flow: Flow) -> None:
        """A picture takes its turn in the budget before it gets a thread."""
        try:
            pixels = self._pipeline.count_pixels(flow)
        except BaseException as err:  # noqa: BLE001 - sorted like any other
            self._failed(flow, err)
            return
        self._budget.admit(pixels, flow.rank, lambda: self._decode_admitted(flow, pixels))

    def _decode_admitted(self, flow: Flow, pixels: int) -> None:
        flow.pixels = pixels
        self._cpu_pool.put((1, *flow.rank), lambda: self._run(flow))

    def _to_draw(self, flow: Flow) -> None:
        """Pictures that are nearly done go before those that would only fill the memory."""
        self._cpu_pool.put((0, *flow.rank), lambda: self._run(flow))

    def _to_upload(self, flow: Flow) -> None:
        self._upload_pool.put(flow.rank, lambda: self._ask_store(flow))

    def _ask_store(self, flow: Flow) -> None:
        is_draining = self._inflight.is_draining
        if is_draining or (self._breaker.allows() and self._store_answers(flow)):
            self._run(flow)
        else:
            self.put_later(flow, self._breaker.wait_s())

    def _store_answers(self, flow: Flow) -> bool:
        """While the breaker is open, ask for something other than the item itself.

        Otherwise one object that the store will never hand out, left over at a job's end, would
        look like a store that is down, and its job would wait for ever.
        """
        if not self._breaker.is_open:
            return True
        try:
            self._effects.probe(flow.work, writing=flow.step == Stage.UPLOAD)
        except StoreUnavailable:
            self._breaker.failed()
            return False
        except BucketUnavailable:
            pass  # an answer; the item will get it too and say so
        self._breaker.succeeded()
        return True
