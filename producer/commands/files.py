"""The type of options that name a file to read."""

import sys
from typing import IO, Any

import click


class InputFile(click.File):
    """A file that is read as bytes; `-` is standard input."""

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
        return super().convert(value, param, ctx)
