"""Hashes of what determines an output's bytes, computed once, at submission.

A worker that does not know a field could not compute them. Device, precision, version, batch, job
id and priority are left out; otherwise a mixed fleet would overwrite its own outputs.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from shared.job.options import PictureOptions
from shared.job.outputs import RecipeOutput
from shared.recipes import output_hash

MASK_OPTIONS = ("stretch", "alpha", "truncated")
"""Options that change the mask."""


def digest(body: Mapping[str, Any]) -> str:
    """Return the SHA-256 of *body* as JSON, in hex digits."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Hashes(BaseModel):
    """The hashes of a job; those with `_alpha` are "" unless `options.alpha` is `auto`.

    Opaque images keep the hashes of earlier versions, which did not know `auto`, so that an
    upgrade does not rewrite them.
    """

    params_hash: str
    params_hash_alpha: str
    mask_hash: str
    mask_hash_alpha: str
    outputs: tuple[RecipeOutput, ...]

    @classmethod
    def of(
        cls,
        model: Mapping[str, str],
        options: PictureOptions,
        texts: Mapping[str, Any],
        outputs: Iterable[RecipeOutput],
    ) -> "Hashes":
        """Return the hashes of a job.

        Args:
            model: Name and weights of the model.
            options: Options of cutout and mask.
            texts: Text chunks of their PNG files.
            outputs: The outputs that are made by recipes.
        """
        written = options.model_dump()
        cutout = {**model, **written, **texts}
        mask = {**model, **{name: written[name] for name in MASK_OPTIONS}}
        is_auto = options.alpha == "auto"
        mask_hash = digest(mask)[:16]
        mask_hash_alpha = digest({**mask, "alpha": "auto"})[:16] if is_auto else ""
        return cls(
            params_hash=digest(cutout)[:16],
            params_hash_alpha=digest({**cutout, "alpha": "auto"})[:16] if is_auto else "",
            mask_hash=mask_hash,
            mask_hash_alpha=mask_hash_alpha,
            outputs=tuple(
                each.model_copy(
                    update={
                        "hash": output_hash(mask_hash, each.recipe),
                        "hash_alpha": output_hash(mask_hash_alpha, each.recipe) if is_auto else "",
                    }
                )
                for each in outputs
            ),
        )
