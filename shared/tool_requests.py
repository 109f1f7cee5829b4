"""What `rmbg` asks of the tools of `rmbg-worker`, which have the image libraries."""

import os
from typing import ClassVar, Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import ConfigDict, Field

from shared.document import Document
from shared.job.outputs import RecipeOutput
from shared.job.spec import JobSpec

STREAM: Final = "-"
"""Standard input or output, in place of a path."""


def quoted(path: str) -> str:
    """Return *path*, which may hold bytes that are no text, as ASCII; see `unquoted`."""
    return quote_from_bytes(os.fsencode(path))


def unquoted(path: str) -> str:
    r"""Return the path that was `quoted`.

    >>> unquoted(quoted("b\udc80d.jpg")) == "b\udc80d.jpg"
    True
    """
    return os.fsdecode(unquote_to_bytes(path))


class CheckRequest(Document):
    """Check images that exist already against recipes."""

    tool: ClassVar[str] = "check"
    files: tuple[str, ...] = ()
    """Paths of files and folders."""
    bucket: str = ""
    """Bucket of the images in place of files, or ""."""
    prefix: str = ""
    """Prefix of their keys."""
    outputs: tuple[RecipeOutput, ...]
    as_json: bool = False


class PreviewRequest(Document):
    """Show one image and its outputs side by side."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    tool: ClassVar[str] = "preview"
    image: str
    """Path of the image."""
    folder: str
    """Path of the folder for the outputs and the page."""
    outputs: tuple[RecipeOutput, ...]
    rem_mode: str
    assets: dict[str, bytes] = Field(default_factory=dict)
    """Images that the recipes name as backgrounds, by SHA-256."""
    open_page: bool = False


class RecheckRequest(Document):
    """Check the outputs of a job's records anew; the records come on standard input."""

    tool: ClassVar[str] = "recheck"
    job_id: str
    spec: JobSpec


class RemoveImage(Document):
    """One image of `RemoveRequest`."""

    key: str
    """Its key in the record and in the names of its outputs, quoted."""
    path: str
    """Path of the file, quoted, or `STREAM`."""
    is_named: bool = True
    """Whether the user named it; else it was found in a folder."""


class RemoveRequest(Document):
    """Remove the background of a few images."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    tool: ClassVar[str] = "remove"
    images: tuple[RemoveImage, ...]
    spec: JobSpec
    """What a job over these images would be."""
    assets: dict[str, bytes] = Field(default_factory=dict)
    """Images that its recipes name as backgrounds, by SHA-256."""
    folder: str = ""
    """Folder of the outputs, quoted, or "" for a single file."""
    file: str = ""
    """File of the only output of the only image, quoted, or `STREAM`."""
    records: str = ""
    """File of the records as JSON lines, quoted, or ""."""
