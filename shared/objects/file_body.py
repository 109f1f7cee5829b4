"""A file from its current position, as the body of a request."""

import io
from typing import IO, Any


class FileBody(io.RawIOBase):
    """The rest of a file: its position 0 is where the file stood.

    botocore seeks to 0 before it sends a body again, and would send the whole file.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._start = file.tell()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - typeshed's WriteableBuffer
        """Read up to the length of *buffer* into it; return how many bytes."""
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to *offset*, counted from where the file stood; return the new position."""
        if whence == io.SEEK_SET:
            offset += self._start
        return self._file.seek(offset, whence) - self._start
