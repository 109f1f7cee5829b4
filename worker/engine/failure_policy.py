"""What is done about an item's failure: it ends, it is given back, or it is tried again."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import Final

from shared.errors import (
    BucketUnavailable,
    ItemError,
    RetriesExhausted,
    StoreUnavailable,
    WorkerUnfit,
)
from worker.engine.circuit_breaker import Breaker
from worker.engine.inflight import InFlight
from worker.engine.item import Ended, Flow, GivenBack, Outcome, Stage
from worker.engine.records import failed_record

logger = logging.getLogger(__name__)

FIRST_BACKOFF_S: Final = 0.25
"""Doubled with each attempt that counts."""


class Failures:
    """Sorts failures; safe to use from several threads.

    *end* ends an item, *again* has its stage run again after a delay in seconds, *unfit* is told
    once that this process is of no use any more.
    """

    def __init__(
        self,
        *,
        inflight: InFlight,
        breaker: Breaker,
        max_attempts: int,
        max_backoff_s: float,
        end: Callable[[Flow, Outcome], None],
        again: Callable[[Flow, BaseException, float], None],
        unfit: Callable[[BaseException], None],
    ) -> None:
        self._inflight = inflight
        self._breaker = breaker
        self._max_attempts = max_attempts
        self._max_backoff_s = max_backoff_s
        self._end = end
        self._again = again
        self._unfit = unfit
        self._is_unfit = False
        self._lock = threading.Lock()

    def sort(self, flow: Flow, err: BaseException) -> None:
        """Do about a failed stage what its error stands for."""
        match err:
            case ItemError():
                if flow.step in (Stage.DOWNLOAD, Stage.UPLOAD):
                    self._breaker.succeeded()
                self._end(flow, Ended(failed_record(flow, err)))
            case BucketUnavailable():
                self._end(flow, GivenBack(f"bucket: {err}"))
            case StoreUnavailable():
                self._breaker.failed()
                self._try_again(flow, err, counts=not self._breaker.is_open)
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
        if self._inflight.is_draining:
            self._end(flow, GivenBack())
            return
        flow.attempts += counts
        if flow.attempts >= self._max_attempts:
            reason = f"{flow.work.image_key}: {flow.attempts} attempts, the last: {err}"
            flow.attempts -= 1
            self._end(flow, Ended(failed_record(flow, RetriesExhausted(reason))))
            return
        cap_s = min(self._max_backoff_s, FIRST_BACKOFF_S * 2**flow.attempts)
        self._again(flow, err, random.uniform(0, cap_s))  # noqa: S311 - full jitter
