"""The keys that an item's outputs are written at."""

from shared.errors import InvalidKey
from shared.job.output_keys import BUILT_IN, Slot, output_key
from worker.storage.item_ref import ItemRef


def keys_of(item: ItemRef, *, width: int, height: int) -> dict[str, str]:
    """Return the keys of the item's outputs by name.

    Raises:
        InvalidKey: If no output key can be made from its image key.
    """
    return {
        output: output_key(
            item.spec,
            Slot(output, item.spec.options.format.extension),
            job_id=item.job_id,
            index=item.index,
            image_key=item.image_key,
            width=width,
            height=height,
        )
        for output in BUILT_IN
    }


def depend_on_size(item: ItemRef) -> bool:
    """Return whether the item's keys are known only once its source is decoded.

    Raises:
        InvalidKey: See `keys_of`.
    """
    return keys_of(item, width=1, height=1) != keys_of(item, width=2, height=2)


def review_key(item: ItemRef) -> str:
    """Return the key of the copy of a doubtful cutout.

    Raises:
        InvalidKey: If the job has no review prefix.
    """
    if item.spec.review_prefix is None:
        raise InvalidKey(f"job {item.job_id} has no review prefix")
    return f"{item.spec.review_prefix}/{item.image_key}.{item.spec.options.format.extension}"
