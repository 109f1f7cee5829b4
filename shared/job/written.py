"""The objects that a record says an item was written to."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shared.job.output_keys import CUTOUT, MASK, Slot, output_key
from shared.job.outputs import RecipeOutput
from shared.job.record import ItemRecord, OutputFacts
from shared.job.spec import JobSpec, Naming

FOREIGN: Final = frozenset({"kept", "superseded"})
"""What a record says of an output that another job wrote."""


@dataclass(frozen=True)
class WrittenObject:
    """One object of an item."""

    output: str
    key: str
    path: str
    """The key below the save prefix; with ComfyUI's naming the whole key."""
    size_bytes: int | None
    """None if the record does not know it."""
    is_ours: bool
    """Whether this job wrote it, or an equal one; else the record says what is there instead."""


def slots_of(output: RecipeOutput, *, held: bool) -> tuple[Slot, ...]:
    """Return the slots of *output*: one, or one for each of its widths.

    >>> from shared.recipes import Recipe
    >>> slots_of(RecipeOutput(name="shop", recipe=Recipe(widths=(320, 640))), held=False)[0]
    Slot(output='shop', ext='png', width_px=320, held=False)
    """
    recipe = output.recipe
    return tuple(Slot(output.name, recipe.format, w, held) for w in recipe.widths or (0,))


def written_objects(spec: JobSpec, job_id: str, record: ItemRecord) -> Iterator[WrittenObject]:
    """Yield the objects of a record, in the order in which they were written."""
    sizes = record.sizes or {}
    if record.mask_key is not None:
        yield _built_in(spec, record, MASK, record.mask_key, sizes.get(MASK))
    for output in spec.outputs:
        facts = record.outputs.get(output.name)
        if facts is not None and facts.verdict != "error":
            yield from _made(spec, job_id, record, output, facts)
    if record.cutout_key is not None:
        yield _built_in(spec, record, CUTOUT, record.cutout_key, sizes.get(CUTOUT))


def localised(spec: JobSpec, job_id: str, record: ItemRecord) -> ItemRecord:
    """Return *record* with paths below a folder in place of keys, for files of its outputs."""
    paths = {each.key: each.path for each in written_objects(spec, job_id, record)}
    return record.model_copy(
        update={
            "cutout_key": paths.get(record.cutout_key or "", record.cutout_key),
            "mask_key": paths.get(record.mask_key or "", record.mask_key),
        }
    )


def _built_in(
    spec: JobSpec, record: ItemRecord, output: str, key: str, size_bytes: int | None
) -> WrittenObject:
    slot = Slot(output, key.rpartition(".")[2])
    path, is_ours = _path(spec, record, slot, key), record.existing not in FOREIGN
    return WrittenObject(output, key, path, size_bytes, is_ours)


def _made(
    spec: JobSpec, job_id: str, record: ItemRecord, output: RecipeOutput, facts: OutputFacts
) -> Iterator[WrittenObject]:
    for slot in slots_of(output, held=output.is_held and facts.verdict == "review"):
        key = output_key(
            spec,
            slot,
            job_id=job_id,
            index=record.index,
            image_key=record.image_key,
            width=record.width or 0,
            height=record.height or 0,
        )
        size_bytes = facts.widths.get(slot.width_px, facts.bytes)
        path, is_ours = _path(spec, record, slot, key), facts.existing not in FOREIGN
        yield WrittenObject(slot.output, key, path, size_bytes, is_ours)


def _path(spec: JobSpec, record: ItemRecord, slot: Slot, key: str) -> str:
    if spec.naming is Naming.COMFYUI:
        return key
    return f"{slot.folder}/{record.image_key}.{slot.ext}"
