"""Make the standard streams of a command usable, and text fit for one line of output."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Final, TextIO

_OUTPUTS: Final = {"stdout": "standard output", "stderr": "standard error"}
"""Name in `sys` and name in messages."""


def prepare() -> None:
    """Replace closed outputs by the null device, and let any text be written to the others.

    The next file or socket would otherwise take a closed descriptor, and receive what is meant for
    the stream. A closed standard input stays None, so that a command can refuse to read it.
    Characters that the encoding of an output does not have are written as escapes.
    """
    if sys.stdin is None:
        _open_null(0)
    for descriptor, (name, title) in enumerate(_OUTPUTS.items(), 1):
        given = getattr(sys, name)
        is_closed = given is None
        if is_closed:
            _open_null(descriptor)
            given = open(descriptor, "w", closefd=False)  # noqa: SIM115 - stays open
        setattr(sys, name, _Output(given, title, is_closed=is_closed))


def was_closed(stream: TextIO) -> bool:
    """Return whether *stream* was closed when the process began, so that nobody reads it."""
    return isinstance(stream, _Output) and stream.is_closed


def release() -> bool:
    """Flush the outputs before the process exits; return whether one of them failed.

    That one is connected to the null device: Python flushes it again at exit, and would print a
    traceback.
    """
    failed = False
    for descriptor, name in enumerate(_OUTPUTS, 1):
        stream = getattr(sys, name)
        try:
            stream.flush()
        except OSError:
            failed = True
            _open_null(descriptor)
            with suppress(OSError):
                stream.flush()
    return failed


def printable(text: str) -> str:
    r"""Return *text* with escapes in place of characters that no line can show.

    The name of a file may hold line breaks, and bytes that are not valid Unicode.

    >>> printable("a\nb")
    'a\\nb'
    """
    if text.isprintable():
        return text
    escaped = (char if char.isprintable() else repr(char)[1:-1] for char in text)
    return "".join(escaped)


class _Output(TextIOWrapper):
    """An output stream whose errors name it, as those of files do."""

    def __init__(self, given: TextIOWrapper, title: str, *, is_closed: bool) -> None:
        encoding, is_line_buffered = given.encoding, given.line_buffering
        super().__init__(
            given.detach(),
            encoding=encoding,
            errors="backslashreplace",
            line_buffering=is_line_buffered,
        )
        self._title = title
        self.is_closed = is_closed

    def write(self, text: str) -> int:
        with self._named():
            return super().write(text)

    def flush(self) -> None:
        with self._named():
            super().flush()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as err:
            err.filename = self._title
            raise


def _open_null(descriptor: int) -> None:
    """Make *descriptor* refer to the null device."""
    null = os.open(os.devnull, os.O_RDWR)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)
