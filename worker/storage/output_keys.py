"""The keys that an item's outputs are written at."""

from collections.abc import Mapping

from shared.errors import InvalidKey
from shared.job.output_keys import BUILT_IN, Slot, output_key
from shared.job.written import slots_of
from worker.storage.item_ref import ItemRef


def slots(item: ItemRef, output: str, *, held: bool = False) -> tuple[Slot, ...]:
    """Return the slots of one of the item's outputs: one, or one for each width."""
    if output in BUILT_IN:
        return (Slot(output, item.spec.options.format.extension),)
    made = next(each for each in item.spec.outputs if each.name == output)
    return slots_of(made, held=held and made.is_held)


def key_of(item: ItemRef, slot: Slot, *, width: int, height: int) -> str:
    """Return the key of *slot*, for a source of this size.

    Raises:
        InvalidKey: If no output key can be made from its image key.
    """
    return output_key(
        item.spec,
        slot,
        job_id=item.job_id,
        index=item.index,
        image_key=item.image_key,
        width=width,
        height=height,
    )


def keys_of(item: ItemRef, *, width: int, height: int) -> Mapping[str, str]:
    """Return the keys of the item's cutout and mask by name, as far as the job writes them.

    Raises:
        InvalidKey: See `key_of`.
    """
    return {
        output: key_of(item, slots(item, output)[0], width=width, height=height)
        for output in BUILT_IN
        if output in item.spec.output_names
    }


def depend_on_size(item: ItemRef) -> bool:
    """Return whether the item's keys are known only once its source is decoded.

    Raises:
        InvalidKey: See `key_of`.
    """
    slot = slots(item, item.spec.output_names[-1])[0]
    return key_of(item, slot, width=1, height=1) != key_of(item, slot, width=2, height=2)


def review_key(item: ItemRef) -> str:
    """Return the key of the copy of a doubtful cutout.

    Raises:
        InvalidKey: If the job has no review prefix.
    """
    if item.spec.review_prefix is None:
        raise InvalidKey(f"job {item.job_id} has no review prefix")
    return f"{item.spec.review_prefix}/{item.image_key}.{item.spec.options.format.extension}"
