"""Keys of the outputs of one item."""

from __future__ import annotations

from dataclasses import dataclass

from shared.job.keys import output_key
from worker.storage.item_ref import Work


@dataclass(frozen=True)
class Keys:
    """Where an item's two pictures go."""

    cutout: str
    mask: str


def keys_of(work: Work, *, width: int, height: int) -> Keys:
    """Return the item's output keys.

    Raises:
        InvalidKey: If no output key can be made from its image key.
    """

    def key(output: str) -> str:
        return output_key(
            work.spec,
            job_id=work.job_id,
            output=output,
            index=work.index,
            image_key=work.image_key,
            width=width,
            height=height,
        )

    return Keys(cutout=key("cutout"), mask=key("mask"))
