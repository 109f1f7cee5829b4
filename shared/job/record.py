"""The record of how one image ended, to and from JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from shared.job.spec import Json


@dataclass(frozen=True, kw_only=True)
class ItemRecord:
    """How one image ended: a line of `results.jsonl`, about 400 bytes."""

    index: int
    image_key: str
    state: Literal["done", "failed"]
    cutout_key: str | None = None
    mask_key: str | None = None
    error: dict[str, str] | None = None
    """`{"class": ..., "reason": ...}` of a failed item."""
    width: int | None = None
    height: int | None = None
    device: str | None = None
    sizes: dict[str, int] | None = None
    """Bytes of each output; what lies at its key with another length is damaged."""
    attempts: int = 1
    existing: Literal["same", "kept", "superseded"] | None = None
    """What was found at the output key, where this job did not write it itself."""
    qc: dict[str, Json] | None = None
    """Quality figures; see `worker.imaging.quality`."""
    notes: tuple[str, ...] = ()
    """Things a user may want to know: colour profile damaged, first frame of several, ..."""
    model: str | None = None
    weights_sha256: str | None = None
    """Of the file that the worker really loaded."""
    licence: str | None = None

    @property
    def verdict(self) -> str | None:
        """Quality verdict of a done item; None for a failed one or without quality figures."""
        return (self.qc or {}).get("verdict") if self.state == "done" else None

    def to_json(self) -> str:
        """Return one line of JSON."""
        # Not `asdict`, which copies: this is called for every image.
        return json.dumps(vars(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> ItemRecord:
        """Read what `to_json` wrote; fields of a later version are left out."""
        body = json.loads(text)
        known = {name: body[name] for name in cls.__dataclass_fields__ if name in body}
        return cls(**known | {"notes": tuple(known.get("notes", ()))})
