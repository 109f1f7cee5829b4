"""What `rmbg` asks of the tools of `rmbg-worker`, which have the image libraries."""

from typing import ClassVar

from pydantic import ConfigDict, Field

from shared.document import Document
from shared.job.outputs import RecipeOutput


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
