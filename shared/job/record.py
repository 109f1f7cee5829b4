"""The record of how one image ended."""

import json
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, cast

from pydantic import (
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    WithJsonSchema,
    model_serializer,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from shared.document import Document, Text
from shared.job.spec import Json

_NUMBER: Final = {"type": "number"}
_COUNT: Final = {"type": "integer", "minimum": 0}
CheckValue: TypeAlias = Annotated[
    Json,
    WithJsonSchema(
        {"type": ["number", "string", "boolean", "null", "array"], "items": {"type": "string"}}
    ),
]
"""What a check of an output found, or its limit."""
Quality: TypeAlias = Annotated[
    dict[str, Json],
    WithJsonSchema(
        {
            "type": "object",
            "properties": {
                "coverage": _NUMBER,
                "box": {
                    "anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]
                },
                "touches": {"type": "array", "items": {"type": "string"}},
                "soft": _NUMBER,
                "parts": _COUNT,
                "holes": _COUNT,
                "uncertainty": _NUMBER,
                "low": _NUMBER,
                "high": _NUMBER,
                "verdict": {"enum": ["ok", "review", "reject"]},
                "reasons": {"type": "string"},
            },
        }
    ),
]
"""Quality figures; see `worker.imaging.quality`. A later version may add some."""


class OutputFacts(Document):
    """How one output of an item that is made by a recipe ended. Its key is derived on reading."""

    model_config = ConfigDict(extra="ignore")

    bytes: int = 0
    """Size of the file; of the widest, if there are several."""
    width: int = 0
    height: int = 0
    format: str = ""
    verdict: Literal["ok", "review", "error"] = "ok"
    """`review`: a check that must pass failed; `error`: it was not made, see `reason`."""
    failed: dict[str, tuple[CheckValue, CheckValue]] = Field(default_factory=dict)
    """Checks that must pass and failed, each with its value and limit."""
    noted: dict[str, tuple[CheckValue, CheckValue]] = Field(default_factory=dict)
    """Checks that should pass and failed."""
    fixes: tuple[str, ...] = ()
    """What was changed so that a check passes."""
    upscaled: float = 1.0
    """How much the subject was enlarged."""
    widths: dict[int, int] = Field(default_factory=dict)
    """Size in bytes of each width, if the output is written in several."""
    existing: Literal["same", "kept", "superseded"] | None = None
    reason: Text = ""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe what is written as what is read: `_compact` only leaves out defaults."""
        described = {**core_schema}
        described.pop("serialization", None)
        return handler(cast("CoreSchema", described))

    @model_serializer(mode="wrap")
    def _compact(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        defaults = type(self).model_construct()
        return {
            name: value
            for name, value in dump(self).items()
            if getattr(self, name) != getattr(defaults, name)
        }


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
    qc: Quality | None = None
    notes: tuple[Text, ...] = ()
    """Facts a user may want to know: damaged colour profile, first frame of several, ..."""
    outputs: dict[str, OutputFacts] = Field(default_factory=dict)
    """Facts about the outputs that are made by recipes."""
    mask: Literal["reused", "shared"] | None = None
    """Where the mask is from, if the network did not run for it: `reused`, a mask in the bucket;
    `shared`, an image of equal bytes that the worker had processed."""
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
        unused = {name for name in ("outputs", "mask") if not getattr(self, name)}
        return self.model_dump_json(ensure_ascii=True, exclude=unused)

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
