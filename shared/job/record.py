"""The record of how one image ended."""

import json
from typing import Literal, Self

from pydantic import ConfigDict, ValidationError

from shared.document import Document, Text
from shared.job.spec import Json


class ItemRecord(Document):
    """How one image ended: a line of `results.jsonl`, about 400 bytes.

    Fields that a later version added are ignored. Lone surrogates are escaped in every text.
    """

    model_config = ConfigDict(extra="ignore")

    index: int
    image_key: Text
    state: Literal["done", "failed"]
    cutout_key: Text | None = None
    mask_key: Text | None = None
    error: dict[str, Text] | None = None
    """`{"class": ..., "reason": ...}` of a failed item."""
    width: int | None = None
    height: int | None = None
    device: str | None = None
    sizes: dict[str, int] | None = None
    """Size of each output in bytes; an object of another size is damaged."""
    attempts: int = 1
    existing: Literal["same", "kept", "superseded"] | None = None
    """What was found at the output key, if this job did not write it itself."""
    qc: dict[str, Json] | None = None
    """Quality figures; see `worker.imaging.quality`."""
    notes: tuple[Text, ...] = ()
    """Facts a user may want to know: damaged colour profile, first frame of several, ..."""
    model: str | None = None
    weights_sha256: str | None = None
    """SHA-256 of the file that the worker loaded."""
    licence: str | None = None

    @property
    def verdict(self) -> str | None:
        """Quality verdict of a done item; None for a failed one or without quality figures."""
        return (self.qc or {}).get("verdict") if self.state == "done" else None

    def to_json(self) -> str:
        """Return one line of ASCII JSON."""
        return self.model_dump_json(ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Parse a line that `to_json` wrote.

        Raises:
            ValueError: If it is not JSON or not a record.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            # Version 0.1 wrote lone surrogates as they were; only `json` reads them.
            return cls.model_validate(json.loads(text))
