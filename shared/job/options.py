"""The options of a job that change pixels or verdicts."""

from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from shared.document import Document

_FIRST_OPTIONS: Final = frozenset({"edges", "stretch", "alpha", "truncated", "png"})
"""Options of schema 1, which every document and hash contains."""


class OutputFormat(StrEnum):
    """A format that cutouts and masks are written in; `worker.imaging.encode` encodes it."""

    PNG = "png"

    @property
    def extension(self) -> str:
        """Extension of the file name, without the dot."""
        return self.value

    @property
    def media_type(self) -> str:
        """MIME type of the file."""
        return f"image/{self.value}"


class PictureOptions(Document):
    """The options that change pixels or verdicts; all of them are hashed.

    Each is also an option of `rmbg submit` and `rmbg run`, with its description as help text.
    """

    edges: Literal["estimate", "source", "seed"] = Field(
        default="estimate",
        description="Colours of soft edges: estimate the subject's (estimate), keep the image's "
        "(source), or darken them as the original ComfyUI node does (seed).",
    )
    stretch: Literal["guarded", "seed"] = Field(
        default="guarded",
        description="Mask of an image without a subject: leave it empty (guarded), or stretch it "
        "to full range as the original ComfyUI node does (seed).",
    )
    alpha: Literal["auto", "multiply", "ignore", "keep"] = Field(
        default="auto",
        description="Transparency of the image itself: use that of a cutout as the mask and "
        "multiply any other into the mask (auto), always multiply it (keep is its old name), or "
        "ignore it.",
    )
    truncated: Literal["fail", "accept"] = Field(
        default="fail",
        description="Image files that end too early: fail them, or accept the part that is there.",
    )
    png: Literal["fast", "small"] = Field(
        default="fast", description="PNG compression level; the pixels are the same."
    )
    format: OutputFormat = Field(
        default=OutputFormat.PNG, description="File format of cutouts and masks."
    )
    metadata: Literal["copyright", "none"] = Field(
        default="copyright",
        description="Metadata of the image that cutouts and masks keep: resolution, copyright and "
        "author (copyright), or none.",
    )
    solid: Literal["off", "on"] = Field(
        default="off",
        description="Make nearly opaque parts of cutouts opaque and nearly transparent ones "
        "transparent; soft edges and the mask stay as they are.",
    )

    @field_validator("alpha", mode="before")
    @classmethod
    def _renamed(cls, value: object) -> object:
        return "multiply" if value == "keep" else value

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out options that came after schema 1 and have their defaults.

        So documents and hashes of jobs that do not use them stay as they were. For the same reason
        `auto` and `multiply` are both written as `keep`, which version 0.1 reads; see
        `JobSpec.params_hash_alpha`.
        """
        fields = type(self).model_fields
        kept = {
            name: value
            for name, value in dump(self).items()
            if name in _FIRST_OPTIONS or value != fields[name].default
        }
        return kept if self.alpha == "ignore" else kept | {"alpha": "keep"}
