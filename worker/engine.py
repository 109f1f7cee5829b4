"""The one place that knows the order of an item's way, from its key to its record.

    download -> decode -> preprocess -> batch -> forward -> postprocess -> compose -> encode
    -> upload -> record

Stages overlap: each runs in threads of its own kind, and items of all tickets and jobs share
them. Nothing here can wait in a circle: items are bounded where they enter, decoded pixels by
the budget, and no stage holds a thread while it waits for another.
"""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shared.errors import (
    BucketUnavailable,
    ItemError,
    RetriesExhausted,
    StoreUnavailable,
    WorkerUnfit,
)
from shared.job import ImageOutput
from worker.breaker import Breaker
from worker.budget import PixelBudget
from worker.device import DeviceThread
from worker.effects import DOUBTFUL, Effects
from worker.flow import Ended, Flow, GivenBack, Outcome, Output, Work
from worker.later import Later
from worker.line import Stations
from worker.observe import STAGES, Observer, Observers
from worker.pool import Pool
from worker.records import done_record, failed_record, picture_texts
from worker.stations.compose import combine

logger = logging.getLogger(__name__)

DOWNLOAD: Final = 0
DECODE: Final = 1
FORWARD: Final = 2
UPLOAD: Final = 4
"""Places in the order below, which is that of `STAGES`."""


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
    """Takes work, hands back outcomes. One a process; safe to use from several threads."""

    def __init__(
        self,
        effects: Effects,
        stations: Stations,
        *,
        limits: EngineLimits,
        version: str,
        unfit: Callable[[BaseException], None],
        observer: Observer | None = None,
    ) -> None:
        self._effects = effects
        self._stations = stations
        self._limits = limits
        self._version = version
        self._unfit = unfit
        self._observer = observer or Observers()
        self._is_unfit = False
        self._order = itertools.count()
        self._room = threading.Semaphore(limits.max_items)
        self._lock = threading.Lock()
        self._inside = 0
        self._upstream = 0
        self.ended = 0
        """Items that are done or failed, since the start."""
        self._draining = False
        self.progressed_at_s = time.monotonic()
        self.breaker = Breaker()
        self.budget = PixelBudget(limits.budget_px)
        self._later = Later()
        self._download_pool = Pool("download", limits.io_threads)
        self._cpu_pool = Pool("cpu", limits.cpu_threads)
        self._upload_pool = Pool("upload", limits.io_threads)
        self.device = DeviceThread(
            max_wait_s=limits.max_batch_wait_s,
            upstream=lambda: self._upstream,
            ran=self._on_forward,
            broke=self._failed,
            observer=self._observer,
        )
        # The way of one image. Decode takes its turn in the budget first; forward is the
        # device thread's, which calls `_on_forward`.
        self._steps: tuple[tuple[Callable[[Flow], None], Callable[[Flow], None]], ...] = (
            (self._to_download, self._download),
            (self._to_decode, self._decode_and_prepare),
            (self._to_device, _nothing),
            (self._to_cpu_first, self._draw),
            (self._to_upload, self._upload),
        )

    # ---- what tickets use

    def offer(self, work: Work, done: Callable[[Work, Outcome], None], *, timeout_s: float) -> bool:
        """Take one item if there is room within *timeout_s*; return whether it was taken.

        *done* is called exactly once for an item taken, in a thread of the engine, and must be
        quick and not raise.
        """
        if not work.urgent and not self._room.acquire(timeout=timeout_s):
            return False
        flow = Flow(work, done, next(self._order), time.monotonic())
        with self._lock:
            self._inside += 1
            self._upstream += 1
        self._enter(flow)
        return True

    @property
    def inside(self) -> int:
        """Items taken and not ended."""
        return self._inside

    def is_progressing(self, stall_s: float) -> bool:
        """Return whether any stage ended any item within *stall_s*, or there is a reason not to.

        Idling is a reason, and so is an open breaker: a worker that waits for the store is well.
        """
        if self._inside == 0 or self.breaker.is_open:
            self.progressed_at_s = time.monotonic()
        return time.monotonic() - self.progressed_at_s < stall_s

    def longest_s(self) -> float:
        """Return how long the oldest picture has been decoding or drawing, in seconds."""
        return self._cpu_pool.longest_s()

    def drain(self) -> None:
        """Give back every item that has not been through the network; finish the others."""
        self._draining = True
        self._later.cut_short()
        for flow in self.device.withdraw():
            self._end(flow, GivenBack())

    # ---- the stages, in the order of an item's way

    def _download(self, flow: Flow) -> None:
        work = flow.work
        if work.redo:
            flow.record = self._effects.recall(work)
        if flow.record is not None:
            flow.verdict = (flow.record.qc or {}).get("verdict")
        else:
            body = self._effects.download(work)
            flow.body, flow.source_etag = body.data, body.etag
        self.breaker.succeeded()

    def _decode_and_prepare(self, flow: Flow) -> None:
        work, body = flow.work, flow.body
        decoded = self._stations.decode(body, work.spec.options, work.isolate)
        flow.prepared = work.model.segmenter.prepare(decoded.image)
        flow.image, flow.notes, flow.body = decoded.image, decoded.notes, b""
        if work.spec.options.alpha == "keep" and decoded.alpha is not None:
            # The network saw the picture flattened; the cutout is made of its own colours.
            flow.alpha, flow.image = decoded.alpha, decoded.straight

    def _on_forward(self, flow: Flow, output: Output) -> None:
        flow.prepared, flow.output = None, output
        self._past_device(flow)
        self._advance(flow)

    def _draw(self, flow: Flow) -> None:
        work, image, options = flow.work, flow.image, flow.work.spec.options
        if image is None:
            raise RuntimeError("an item came to be drawn without its picture")
        height, width = image.shape[:2]
        segmented = work.model.segmenter.finish(flow.output, height, width, stretch=options.stretch)
        mask = segmented.mask if flow.alpha is None else combine(segmented.mask, flow.alpha)
        figures, flow.verdict = self._stations.measure(
            mask, segmented.low, segmented.high, work.spec.thresholds
        )
        if work.spec.image_output is not ImageOutput.HIDE:
            texts = picture_texts(work, self._version)
            cutout = self._stations.compose(image, mask, options)
            flow.pictures = {
                "mask": self._stations.encode(mask, texts, options),
                "cutout": self._stations.encode(cutout, texts, options),
            }
        flow.record = done_record(flow, width=width, height=height, figures=figures)
        flow.image = flow.alpha = flow.output = None
        self._release_pixels(flow)

    def _upload(self, flow: Flow) -> None:
        if flow.record is None:
            raise RuntimeError("an item came to be uploaded without its record")
        if flow.pictures:
            flow.record = self._effects.publish(
                flow.work, flow.pictures, flow.record, source_etag=flow.source_etag
            )
            if flow.work.spec.review_prefix is not None and flow.verdict in DOUBTFUL:
                self._effects.copy_for_review(flow.work, flow.pictures["cutout"])
            self.breaker.succeeded()
        self._end(flow, Ended(flow.record, flow.verdict))

    # ---- from stage to stage

    def _enter(self, flow: Flow) -> None:
        self._steps[flow.step][0](flow)

    def _advance(self, flow: Flow) -> None:
        self.progressed_at_s = time.monotonic()
        flow.step = UPLOAD if flow.record is not None else flow.step + 1
        self._enter(flow)

    def _run(self, flow: Flow) -> None:
        if self._draining and flow.step < FORWARD:
            self._end(flow, GivenBack())
            return
        try:
            self._do_step(flow)
        except BaseException as err:  # noqa: BLE001 - the outermost loop of an item
            self._failed(flow, err)
            return
        if flow.step < UPLOAD:
            self._advance(flow)

    def _do_step(self, flow: Flow) -> None:
        started_s = time.monotonic()
        try:
            self._steps[flow.step][1](flow)
        finally:
            self._observer.stage(STAGES[flow.step], time.monotonic() - started_s)

    def _to_download(self, flow: Flow) -> None:
        self._download_pool.put(flow.rank, lambda: self._ask_store(flow))

    def _to_decode(self, flow: Flow) -> None:
        try:
            pixels = self._stations.peek(flow.body)
        except BaseException as err:  # noqa: BLE001 - sorted like any other
            self._failed(flow, err)
            return
        self.budget.admit(pixels, flow.rank, lambda: self._decode_admitted(flow, pixels))

    def _decode_admitted(self, flow: Flow, pixels: int) -> None:
        flow.pixels = pixels
        self._cpu_pool.put((1, *flow.rank), lambda: self._run(flow))

    def _to_device(self, flow: Flow) -> None:
        self.device.put(flow)

    def _to_cpu_first(self, flow: Flow) -> None:
        """Pictures that are nearly done go before those that would only fill the memory."""
        self._cpu_pool.put((0, *flow.rank), lambda: self._run(flow))

    def _to_upload(self, flow: Flow) -> None:
        self._upload_pool.put(flow.rank, lambda: self._ask_store(flow))

    def _ask_store(self, flow: Flow) -> None:
        if self._draining or (self.breaker.allows() and self._store_answers(flow)):
            self._run(flow)
        else:
            self._later.after(self.breaker.wait_s(), lambda: self._enter(flow))

    def _store_answers(self, flow: Flow) -> bool:
        """While the breaker is open, ask for something other than the item itself.

        Otherwise one object that the store will never hand out, left over at a job's end, would
        look like a store that is down, and its job would wait for ever.
        """
        if not self.breaker.is_open:
            return True
        try:
            self._effects.probe(flow.work, writing=flow.step == UPLOAD)
        except StoreUnavailable:
            self.breaker.failed()
            return False
        except BucketUnavailable:
            pass  # an answer; the item will get it too and say so
        self.breaker.succeeded()
        return True

    # ---- how items end

    def _failed(self, flow: Flow, err: BaseException) -> None:
        """Sort a failure by what is done about it."""
        match err:
            case ItemError():
                if flow.step in (DOWNLOAD, UPLOAD):
                    self.breaker.succeeded()
                self._end(flow, Ended(failed_record(flow, err)))
            case BucketUnavailable():
                self._end(flow, GivenBack(f"bucket: {err}"))
            case StoreUnavailable():
                self.breaker.failed()
                self._try_again(flow, err, counts=not self.breaker.is_open)
            case WorkerUnfit():
                self._end(flow, GivenBack())
                self._say_unfit(err)
            case MemoryError():
                self._try_again(flow, err, counts=True)
            case _:
                logger.error(
                    "a station failed unforeseen",
                    extra={"job_id": flow.work.job_id, "image_key": flow.work.image_key},
                    exc_info=err,
                )
                self._end(flow, Ended(failed_record(flow, err)))

    def _say_unfit(self, err: BaseException) -> None:
        """Tell it once, however many items of a batch have come back for the same reason."""
        with self._lock:
            told, self._is_unfit = self._is_unfit, True
        if not told:
            self._unfit(err)

    def _try_again(self, flow: Flow, err: BaseException, *, counts: bool) -> None:
        if self._draining:
            self._end(flow, GivenBack())
            return
        if flow.step == DECODE:
            self._release_pixels(flow)  # it asks for them again; later steps still hold the picture
        flow.attempts += counts
        if flow.attempts >= self._limits.max_attempts:
            reason = f"{flow.work.image_key}: {flow.attempts} attempts, the last: {err}"
            flow.attempts -= 1
            self._end(flow, Ended(failed_record(flow, RetriesExhausted(reason))))
            return
        self._observer.retried(flow.work, STAGES[flow.step], err)
        cap_s = min(self._limits.max_backoff_s, 0.25 * 2**flow.attempts)
        wait_s = random.uniform(0, cap_s)  # noqa: S311 - full jitter
        self._later.after(wait_s, lambda: self._enter(flow))

    def _past_device(self, flow: Flow) -> None:
        """Count the item out of those that the next batch could still wait for."""
        if flow.upstream:
            flow.upstream = False
            with self._lock:
                self._upstream -= 1

    def _release_pixels(self, flow: Flow) -> None:
        if flow.pixels:
            pixels, flow.pixels = flow.pixels, 0
            self.budget.release(pixels)

    def _end(self, flow: Flow, outcome: Outcome) -> None:
        self._release_pixels(flow)
        self._past_device(flow)
        self.progressed_at_s = time.monotonic()
        with self._lock:
            self._inside -= 1
            self.ended += isinstance(outcome, Ended)
        if not flow.work.urgent:
            self._room.release()
        self.device.nudge()
        self._observer.ended(flow.work, outcome, took_s=time.monotonic() - flow.started_at_s)
        flow.done(flow.work, outcome)


def _nothing(_flow: Flow) -> None:
    """The device thread does this step itself."""
