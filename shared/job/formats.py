"""File formats of outputs."""

from enum import StrEnum


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
