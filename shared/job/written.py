"""The objects that a record says an item was written to."""

from collections.abc import Iterator
from dataclasses import dataclass

from shared.job.output_keys import Slot, output_key
from shared.job.outputs import RecipeOutput
from shared.job.record import ItemRecord, OutputFacts
from shared.job.spec import JobSpec


@dataclass(frozen=True)
class WrittenObject:
    """One object of an item."""

    output: str
    key: str
    size_bytes: int | None
    """None if the record does not know it."""


def slots_of(output: RecipeOutput, *, held: bool) -> tuple[Slot, ...]:
    """Return the slots of *output*: one, or one for each of its widths.

    >>> from shared.recipes import Recipe
    >>> slots_of(RecipeOutput(name="shop", recipe=Recipe(widths=(320, 640))), held=False)[0]
    Slot(output='shop', ext='png', width_px=320, held=False)
    """
    recipe = output.recipe
    return tuple(Slot(output.name, recipe.format, w, held) for w in recipe.widths or (0,))


def written_objects(spec: JobSpec, job_id: str, record: ItemRecord) -> Iterator[WrittenObject]:
    """Yield the objects of a record, in the order in which they were written.

    Outputs that this job did not write, since others are there, are left out.
    """
    sizes = record.sizes or {}
    is_ours = record.existing not in ("kept", "superseded")
    if record.mask_key is not None and is_ours:
        yield WrittenObject("mask", record.mask_key, sizes.get("mask"))
    for output in spec.outputs:
        facts = record.outputs.get(output.name)
        if facts is not None and facts.verdict != "error" and facts.existing in (None, "same"):
            yield from _of_recipe(spec, job_id, record, output, facts)
    if record.cutout_key is not None and is_ours:
        yield WrittenObject("cutout", record.cutout_key, sizes.get("cutout"))


def _of_recipe(
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
        yield WrittenObject(slot.output, key, facts.widths.get(slot.width_px, facts.bytes))
