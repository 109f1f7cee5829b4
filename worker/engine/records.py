"""The record of an item, and the text chunks of its PNG files."""

from collections.abc import Mapping
from typing import Final, Literal

from shared.errors import RenderFailed
from shared.job.output_keys import BUILT_IN
from shared.job.png_text import png_texts
from shared.job.record import ItemRecord, OutputFacts
from shared.job.spec import ImageOutput
from worker.engine.item import Item, ItemRequest
from worker.engine.payloads import MaskOrigin, Rendered
from worker.storage import keys_of

MAX_REASON_CHARS: Final = 500


def record_of(item: Item, rendered: Rendered) -> ItemRecord:
    """Return the record of a rendered item: failed if one of its outputs could not be rendered.

    Raises:
        InvalidKey: If no output key can be made from its image key.
    """
    request = item.request
    keys: Mapping[str, str] = {}
    if request.spec.image_output is not ImageOutput.HIDE:
        keys = keys_of(request, width=rendered.width_px, height=rendered.height_px)
    return ItemRecord(
        index=request.index,
        image_key=request.image_key,
        state="failed" if rendered.failed else "done",
        cutout_key=keys.get("cutout"),
        mask_key=keys.get("mask"),
        error=_render_error(rendered.failed),
        width=rendered.width_px,
        height=rendered.height_px,
        device=request.model.segmenter.device,
        attempts=_attempts(item),
        qc=dict(rendered.quality),
        notes=rendered.notes,
        outputs=_facts(rendered),
        mask=_noted(rendered.mask_origin),
        model=request.model.name,
        weights_sha256=request.model.segmenter.weights_sha256,
        licence=request.model.licence,
    )


def _noted(origin: MaskOrigin) -> Literal["reused", "shared"] | None:
    match origin:
        case "reused" | "shared":
            return origin
        case _:
            return None


def _render_error(failed: Mapping[str, str]) -> dict[str, str] | None:
    if not failed:
        return None
    reason = "; ".join(f"output {name} cannot be rendered: {why}" for name, why in failed.items())
    return {"class": RenderFailed.__name__, "reason": reason[:MAX_REASON_CHARS]}


def _facts(rendered: Rendered) -> dict[str, OutputFacts]:
    made = {each.name: each.facts for each in rendered.outputs if each.name not in BUILT_IN}
    return made | {
        name: OutputFacts(verdict="error", reason=why[:MAX_REASON_CHARS])
        for name, why in rendered.failed.items()
    }


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
