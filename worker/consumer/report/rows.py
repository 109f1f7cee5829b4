"""The rows of the list of images: the columns that it shows, compressed in blocks."""

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from shared.job.findings import MAX_TEXT, Finding
from shared.job.record import ItemRecord
from shared.job.spec import Json

MAX_BYTES: Final = 4_000_000
"""Of all compressed blocks: 5.4 MB as base64."""
MAX_ROWS: Final = 250_000
"""The list is 64 px a row high, and Firefox draws no element above 17.8 million px."""
BLOCK_ROWS: Final = 1_000
"""Rows that are compressed together: more than the window of deflate, 32 kB, can refer to."""
MAX_NAMES: Final = 2_000
"""Different texts that rows refer to; further ones are `other`."""

Row: TypeAlias = tuple[Json, ...]


@dataclass
class _Blocks:
    """Rows in compressed blocks, up to a number of bytes."""

    done: list[bytes] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    is_full: bool = False

    def add(self, row: Row) -> None:
        if not self.is_full:
            self.rows.append(row)
            if len(self.rows) == BLOCK_ROWS:
                self.close()

    def close(self) -> None:
        if self.rows:
            # By columns: equal values of neighbours compress to almost nothing.
            columns = json.dumps(list(zip(*self.rows, strict=True)), separators=(",", ":"))
            self.done.append(zlib.compress(columns.encode(), 9))
            self.rows = []
            self.is_full = (
                sum(map(len, self.done)) > MAX_BYTES or len(self.done) * BLOCK_ROWS >= MAX_ROWS
            )


class Rows:
    """Collects the rows of a job's images, in bounded memory."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._doubtful, self._others = _Blocks(), _Blocks()

    def add(self, record: ItemRecord, found: Iterable[Finding]) -> None:
        """Add the row of *record* with its findings."""
        error = record.error or {}
        verdict = "failed" if record.state == "failed" else record.verdict or ""
        row: Row = (
            record.index,
            record.image_key,
            self._name(verdict),
            record.width,
            record.height,
            self._name(error["class"]) if "class" in error else None,
            error.get("reason", "")[:MAX_TEXT],
            [
                [self._name(one.output), self._name(one.check), one.value, one.limit, one.is_must]
                for one in found
            ],
        )
        (self._others if verdict in ("ok", "") else self._doubtful).add(row)

    def _name(self, text: str) -> int:
        if len(self._names) >= MAX_NAMES and text not in self._names:
            text = "other"
        return self._names.setdefault(text[:MAX_TEXT], len(self._names))

    @property
    def names(self) -> list[str]:
        """The texts that rows refer to by number."""
        return list(self._names)

    def blocks(self) -> list[bytes]:
        """Return the blocks that fit: images that need a look first, others while there is room.

        A block is the JSON of a list of columns, compressed in zlib's format.
        """
        self._doubtful.close()
        self._others.close()
        fitting: list[bytes] = []
        room = MAX_BYTES
        for block in self._doubtful.done + self._others.done:
            room -= len(block)
            if room < 0 or len(fitting) * BLOCK_ROWS >= MAX_ROWS:
                break
            fitting.append(block)
        return fitting
