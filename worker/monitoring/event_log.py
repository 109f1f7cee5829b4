"""The log of what the engine does: a line an item, a line a batch."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from worker.engine.item import Ended, Outcome
from worker.storage.item_ref import Work

logger = logging.getLogger(__name__)

DIGITS = 4
"""Of seconds: a tenth of a millisecond is as much as is known."""


class Journal:
    """Writes what it observes; `shared/log.py` says what the fields mean."""

    def stage(self, name: str, took_s: float) -> None:
        """See `Observer.stage`: an item's line says enough."""

    def batch(self, works: Sequence[Work], *, wait_s: float, forward_s: float) -> None:
        """See `Observer.batch`."""
        facts = {
            "job_ids": sorted({work.job_id for work in works}),
            "model": works[0].model.name,
            "batch_size": len(works),
            "wait_s": round(wait_s, DIGITS),
            "forward_s": round(forward_s, DIGITS),
        }
        logger.info("batch done", extra=facts)

    def retried(self, work: Work, stage: str, err: BaseException) -> None:
        """See `Observer.retried`."""
        reason = {"stage": stage, "cause": type(err).__name__, "reason": str(err)}
        logger.warning("item tried again", extra=_named(work) | reason)

    def ended(self, work: Work, outcome: Outcome, *, took_s: float) -> None:
        """See `Observer.ended`."""
        facts = _named(work)
        facts["took_s"] = round(took_s, DIGITS)
        if not isinstance(outcome, Ended):
            logger.info("item given back", extra=facts | {"waiting_for": outcome.waiting_for})
            return
        facts["attempts"] = outcome.record.attempts
        if outcome.record.error is None:
            logger.info("item done", extra=facts)
        else:
            facts["cause"] = outcome.record.error["class"]
            facts["reason"] = outcome.record.error["reason"]
            logger.info("item failed", extra=facts)


def _named(work: Work) -> dict[str, object]:
    return {"job_id": work.job_id, "index": work.index, "image_key": work.image_key}
