"""Sort more rows than fit into memory, in a temporary SQLite database."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, TypeAlias

Row: TypeAlias = "tuple[str | int | None, ...]"


def in_order(rows: Iterable[Row], *, columns: int) -> Iterator[tuple[Any, ...]]:
    """Yield *rows* ordered by the UTF-8 bytes of their first column, as S3 orders keys.

    Rows are read to the end before the first one is yielded. At most about 2 MB are held in
    memory; the rest is in a file without a name, which disappears with the iterator.

    Args:
        rows: All of the same length, with text in the first column.
        columns: The number of values in a row.

    Raises:
        OSError: If the temporary file cannot be written, for example on a full disk.
    """
    names = ", ".join(f"c{n}" for n in range(columns))
    marks = ", ".join("?" * columns)
    # An empty name stands for a temporary file; the iterator may be closed by another thread.
    with closing(sqlite3.connect("", check_same_thread=False)) as database:
        try:
            database.execute(f"CREATE TABLE unsorted ({names})")
            insert = f"INSERT INTO unsorted VALUES ({marks})"  # noqa: S608 - question marks only
            database.executemany(insert, rows)
            yield from database.execute("SELECT * FROM unsorted ORDER BY c0")
        except sqlite3.Error as err:
            raise OSError(f"cannot sort in a temporary file: {err}; check TMPDIR") from err
