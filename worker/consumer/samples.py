"""The records and previews that a job's report shows."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from shared.errors import BucketUnavailable, ItemError, StoreUnavailable
from shared.job.preview_keys import preview_key
from shared.job.record import ItemRecord
from shared.job.spec import JobSpec
from shared.objects import ObjectStore
from worker.consumer.report import MAX_CELLS, MAX_FAILURES, Cell

MAX_PREVIEW_BYTES: Final = 2**18
"""Larger objects are no previews; the largest preview has about 50 kB."""
READERS: Final = 8
"""Previews that are read at once."""


@dataclass(frozen=True)
class Samples:
    """The records that the report shows: some of the done ones, the first of the failed ones."""

    done: tuple[ItemRecord, ...]
    failed: tuple[ItemRecord, ...]

    @classmethod
    def of(cls, lines: Iterable[bytes], *, total: int, every: int) -> "Samples":
        """Return the samples of the records in *lines*.

        Args:
            lines: The records of a job.
            total: Items of the job.
            every: Stride of its previews; see `JobSpec.preview_stride`. With 0 no done one is
                shown.
        """
        step = every * max(1, -(-total // max(1, every)) // MAX_CELLS)
        done: list[ItemRecord] = []
        failed: list[ItemRecord] = []
        for line in lines:
            record = ItemRecord.from_json(line)
            if record.state == "failed":
                if len(failed) < MAX_FAILURES:
                    failed.append(record)
            elif step and record.index % step == 0 and len(done) < MAX_CELLS:
                done.append(record)
        return cls(tuple(done), tuple(failed))

    def cells(
        self, objects: ObjectStore, spec: JobSpec, job_id: str, check: Callable[[], None]
    ) -> list[Cell]:
        """Return the done images with their previews, as far as these can be read now.

        Only bytes are read: no image is decoded. *check* is called before each; what it raises
        ends the call.
        """

        def cell(record: ItemRecord) -> Cell:
            check()
            return Cell(record, _preview(objects, spec, job_id, record.index))

        with ThreadPoolExecutor(READERS, "previews") as pool:
            return list(pool.map(cell, self.done))


def _preview(objects: ObjectStore, spec: JobSpec, job_id: str, index: int) -> bytes | None:
    key = preview_key(spec, job_id, index)
    try:
        with objects.open(spec.output_bucket, key) as opened:
            return opened.read() if opened.size_bytes <= MAX_PREVIEW_BYTES else None
    except (ItemError, BucketUnavailable, StoreUnavailable):
        return None
