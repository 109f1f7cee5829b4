"""The record of an item, and the text chunks of its PNG files."""

from typing import Final

from shared.job.png_text import png_texts
from shared.job.record import ItemRecord
from shared.job.spec import ImageOutput
from worker.engine.item import Item, ItemRequest
from worker.engine.payloads import Rendered
from worker.storage import keys_of

MAX_REASON_CHARS: Final = 500


def done_record(item: Item, rendered: Rendered) -> ItemRecord:
    """Return the record of a rendered item.

    Raises:
        InvalidKey: If no output key can be made from its image key.
    """
    request = item.request
    keys: dict[str, str] = {}
    if request.spec.image_output is not ImageOutput.HIDE:
        keys = keys_of(request, width=rendered.width_px, height=rendered.height_px)
    return ItemRecord(
        index=request.index,
        image_key=request.image_key,
        state="done",
        cutout_key=keys.get("cutout"),
        mask_key=keys.get("mask"),
        width=rendered.width_px,
        height=rendered.height_px,
        device=request.model.segmenter.device,
        attempts=_attempts(item),
        qc=dict(rendered.quality),
        notes=rendered.notes,
        model=request.model.name,
        weights_sha256=request.model.segmenter.weights_sha256,
        licence=request.model.licence,
    )


def failed_record(item: Item, err: BaseException) -> ItemRecord:
    """Return the record of an item that cannot succeed, with the reason."""
    request = item.request
    return ItemRecord(
        index=request.index,
        image_key=request.image_key,
        state="failed",
        error={"class": type(err).__name__, "reason": str(err)[:MAX_REASON_CHARS]},
        attempts=_attempts(item),
        model=request.model.name,
    )


def png_texts_of(request: ItemRequest, version: str, *, params_hash: str) -> dict[str, str]:
    """Return the text chunks of an item's PNG files: those of the job, and one about its making."""
    spec = request.spec
    about = {
        "model": request.model.name,
        "weights_sha256": request.model.segmenter.weights_sha256,
        "version": version,
        "params": params_hash,
    }
    return png_texts(spec.prompt, spec.extra_pnginfo, about)


def _attempts(item: Item) -> int:
    """Return the attempts of all generations, the one that ended the item included."""
    return item.request.attempts_before + item.attempts + 1
