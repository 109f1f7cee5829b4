"""To sort more than fits into memory: sorted runs on disk, merged as they are read."""

from __future__ import annotations

import heapq
import json
import tempfile
from contextlib import ExitStack
from itertools import islice
from operator import itemgetter
from typing import IO, TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shared.job.spec import Json

Row: TypeAlias = "list[Json]"
"""What JSON can hold; rows are sorted by their first column, a text, as S3 sorts keys."""
RUN_ROWS: Final = 100_000
"""Rows held at once: about 50 MB."""


def in_order(rows: Iterable[Row], *, run_rows: int = RUN_ROWS) -> Iterator[Row]:
    """Yield *rows* in the order of their first column's bytes; temporary files go with the end."""
    source = iter(rows)
    with ExitStack() as files:
        runs: list[Iterator[Row]] = []
        while run := sorted(islice(source, run_rows), key=_place):
            if len(run) < run_rows and not runs:
                yield from run  # it fits: no need of a file
                return
            file = files.enter_context(tempfile.TemporaryFile("w+"))
            file.writelines(f"{json.dumps(row)}\n" for row in run)
            file.seek(0)
            runs.append(_read(file))
        yield from heapq.merge(*runs, key=_place)


def _read(file: IO[str]) -> Iterator[Row]:
    return (json.loads(line) for line in file)


def _place(row: Row) -> bytes:
    text: str = itemgetter(0)(row)
    return text.encode()
