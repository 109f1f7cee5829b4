"""The type of options that name a file to read, and waiting for what a pipe has not sent yet."""

import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Final

import click

from shared.streams import printable

_SILENT_S: Final = 2.0
"""How long a command waits for input before it says so."""


class InputFile(click.File):
    """A file that is read as bytes, once, so it may be a pipe; `-` is standard input."""

    def __init__(self) -> None:
        super().__init__("rb")

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> IO[Any]:
        """Open the file; refuse a standard input that is closed."""
        if value == "-" and sys.stdin is None:
            self.fail("standard input is closed", param, ctx)
        if not _is_named_pipe(value):
            return super().convert(value, param, ctx)
        # A named pipe opens once another program opens it for writing.
        with _announced(f"a program that writes to {printable(str(value))}, a named pipe"):
            return super().convert(value, param, ctx)


def wait_for_input(stream: IO[bytes], what: str) -> None:
    """Wait until *stream* has its first byte or ends; say so if that takes long.

    Args:
        stream: Nothing has been read of it yet.
        what: The input and where it comes from, in messages.
    """
    if isinstance(stream, BufferedReader):
        with _announced(what):
            stream.peek(1)


def _is_named_pipe(value: object) -> bool:
    try:
        return isinstance(value, str) and stat.S_ISFIFO(Path(value).stat().st_mode)
    except (OSError, ValueError):
        return False


@contextmanager
def _announced(what: str) -> Iterator[None]:
    """Say what the command waits for if the block takes longer than `_SILENT_S`."""
    text = f"waiting for {what}; press Ctrl-C to stop"
    timer = threading.Timer(_SILENT_S, click.echo, [text], {"err": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
