"""What is said of an item: its record, and the text inside its pictures."""

from __future__ import annotations

from typing import Any

from shared.job.record import ItemRecord
from shared.job.spec import ImageOutput
from worker.engine.item import Flow
from worker.imaging.encode.encoder import png_texts
from worker.storage.item_ref import Work
from worker.storage.output_keys import keys_of

MAX_REASON_CHARS = 500


def done_record(flow: Flow, *, width: int, height: int, figures: dict[str, Any]) -> ItemRecord:
    """Return the record of a drawn item.

    Raises:
        InvalidKey: If no output key can be made from its image key.
    """
    work = flow.work
    hidden = work.spec.image_output is ImageOutput.HIDE
    keys = None if hidden else keys_of(work, width=width, height=height)
    return ItemRecord(
        index=work.index,
        image_key=work.image_key,
        state="done",
        cutout_key=keys.cutout if keys else None,
        mask_key=keys.mask if keys else None,
        width=width,
        height=height,
        device=work.model.segmenter.device,
        attempts=work.attempts_before + flow.attempts + 1,
        qc=figures,
        notes=flow.notes,
        model=work.model.name,
        weights_sha256=work.model.segmenter.weights_sha256,
        licence=work.model.licence,
    )


def failed_record(flow: Flow, err: BaseException) -> ItemRecord:
    """Return the record of an item that can never succeed, with its reason."""
    work = flow.work
    return ItemRecord(
        index=work.index,
        image_key=work.image_key,
        state="failed",
        error={"class": type(err).__name__, "reason": str(err)[:MAX_REASON_CHARS]},
        attempts=work.attempts_before + flow.attempts + 1,
        model=work.model.name,
    )


def picture_texts(work: Work, version: str) -> dict[str, str]:
    """Return the text chunks of an item's pictures: the node's, and one of ours."""
    about = {
        "model": work.model.name,
        "weights_sha256": work.model.segmenter.weights_sha256,
        "version": version,
        "params": work.spec.params_hash,
    }
    return png_texts(work.spec.prompt, work.spec.extra_pnginfo, about)
