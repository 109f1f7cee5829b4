"""Log what the engine does: one line per item and one per batch."""

import logging
from collections.abc import Sequence
from typing import Final

from worker.engine import Finished, ItemRequest, Observer, Outcome

logger = logging.getLogger(__name__)

DIGITS: Final = 4
"""Decimals of seconds: the clock is no more exact than a tenth of a millisecond."""


class EventLog(Observer):
    """Logs batches and items, not single stages; `shared/logging.py` explains the fields."""

    def batch(
        self,
        name: str,
        requests: Sequence[ItemRequest],
        *,
        wait_s: float,
        took_s: float,
        device_s: float,
    ) -> None:
        """See `Observer.batch`."""
        facts = {
            "job_ids": sorted({request.job_id for request in requests}),
            "model": requests[0].model.name,
            "batch_size": len(requests),
            "wait_s": round(wait_s, DIGITS),
            f"{name}_s": round(took_s, DIGITS),
            "device_s": round(device_s, DIGITS),
        }
        logger.info("batch done", extra=facts)

    def retried(self, request: ItemRequest, stage: str, err: BaseException) -> None:
        """See `Observer.retried`."""
        reason = {"stage": stage, "cause": type(err).__name__, "reason": str(err)}
        logger.warning("item retried", extra=_named(request) | reason)

    def ended(self, request: ItemRequest, outcome: Outcome, *, took_s: float) -> None:
        """See `Observer.ended`."""
        facts = _named(request) | {"took_s": round(took_s, DIGITS)}
        if not isinstance(outcome, Finished):
            logger.info("item deferred", extra=facts | {"waiting_for": outcome.waiting_for})
            return
        facts["attempts"] = outcome.record.attempts
        if (error := outcome.record.error) is None:
            logger.info("item done", extra=facts)
        else:
            why = {"cause": error["class"], "reason": error["reason"]}
            logger.info("item failed", extra=facts | why)


def _named(request: ItemRequest) -> dict[str, object]:
    return {"job_id": request.job_id, "index": request.index, "image_key": request.image_key}
