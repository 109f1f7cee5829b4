"""Which previews are in the page, and their bytes."""

import heapq
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final

from shared.errors import BucketUnavailable, ItemError, StoreUnavailable
from shared.job.preview_keys import preview_key
from shared.job.record import ItemRecord
from shared.job.spec import JobSpec
from shared.objects import ObjectStore

MAX_EMBEDDED: Final = 200
MAX_BYTES: Final = 2_800_000
"""Of all embedded previews: 3.8 MB as base64."""
MAX_PREVIEW_BYTES: Final = 2**18
"""Larger objects are no previews; the largest preview has about 50 kB."""
READERS: Final = 8
"""Previews that are read at once."""
_BATCH: Final = 40
"""Previews that are read before their sizes are added up: at most 10 MB."""
_SEVERITY: Final = {"reject": 2, "review": 1}


class Choice:
    """Chooses the images whose previews a page has: the worst first, then an even sample."""

    def __init__(self, *, total: int, every: int) -> None:
        """Choose from *total* items with previews at a stride of *every*; none with 0.

        See `JobSpec.preview_stride`.
        """
        self._every = every
        self._step = every * max(1, -(-total // (max(1, every) * MAX_EMBEDDED)))
        self._worst: list[tuple[float, float, int]] = []
        self._sample: list[int] = []

    def add(self, record: ItemRecord, found: int) -> None:
        """Consider *record*, which has that many findings."""
        if not self._every or record.state == "failed":
            return
        if severity := _SEVERITY.get(record.verdict or ""):
            # Not every doubtful image of a large job has a preview, so twice as many are kept.
            rank = severity + min(found, 99) / 100
            entry = (rank, _uncertainty(record), -record.index)
            add = heapq.heappush if len(self._worst) < 2 * MAX_EMBEDDED else heapq.heappushpop
            add(self._worst, entry)
        if record.index % self._step == 0 and len(self._sample) < MAX_EMBEDDED:
            self._sample.append(record.index)

    def indices(self) -> list[int]:
        """Return the items in the order in which their previews are wanted."""
        worst = [-index for *_, index in sorted(self._worst, reverse=True)]
        return list(dict.fromkeys(worst + self._sample))


def _uncertainty(record: ItemRecord) -> float:
    value = (record.qc or {}).get("uncertainty")
    return float(value) if isinstance(value, int | float) else 0.0


@dataclass(frozen=True)
class PreviewReader:
    """Reads the previews of a job. Only bytes are read: no image is decoded."""

    objects: ObjectStore
    spec: JobSpec
    job_id: str
    check: Callable[[], None]
    """Called before each preview; what it raises ends the reading."""

    def read(self, indices: list[int]) -> dict[int, bytes]:
        """Return the first previews of *indices* that can be read now, up to both limits."""
        found: dict[int, bytes] = {}
        room = MAX_BYTES
        wanted = iter(indices)
        with ThreadPoolExecutor(READERS, "previews") as pool:
            while batch := list(islice(wanted, min(_BATCH, MAX_EMBEDDED - len(found)))):
                for index, preview in self._present(pool, batch):
                    if len(preview) > room:
                        return found
                    room -= len(preview)
                    found[index] = preview
        return found

    def _present(self, pool: ThreadPoolExecutor, batch: list[int]) -> Iterator[tuple[int, bytes]]:
        for index, preview in zip(batch, pool.map(self._one, batch), strict=True):
            if preview is not None:
                yield index, preview

    def _one(self, index: int) -> bytes | None:
        self.check()
        key = preview_key(self.spec, self.job_id, index)
        try:
            with self.objects.open(self.spec.output_bucket, key) as opened:
                return opened.read() if opened.size_bytes <= MAX_PREVIEW_BYTES else None
        except (ItemError, BucketUnavailable, StoreUnavailable):
            return None
