"""The records and images that a job's report shows."""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from shared.errors import BucketUnavailable, ItemError, StoreUnavailable
from shared.job.record import ItemRecord
from shared.job.spec import ImageOutput, JobSpec
from shared.objects import ObjectStore
from worker.consumer.report import MAX_FAILURES, MAX_PAIRS, Pair
from worker.imaging.thumbnail import thumbnail

logger = logging.getLogger(__name__)

MAX_SHOWN_PX: Final = 25_000_000
"""Larger images are left out of the report: no permit counts what is decoded here."""
THUMBNAIL_THREADS: Final = 2
"""Images decoded at once for the report; by then nothing else of the job runs."""


@dataclass(frozen=True)
class Samples:
    """The records that the report shows: some of the done ones, the first of the failed ones."""

    done: tuple[ItemRecord, ...]
    failed: tuple[ItemRecord, ...]

    @classmethod
    def of(cls, lines: Iterable[bytes], *, total: int) -> "Samples":
        """Return the samples of the records in *lines*, of a job with *total* items."""
        every = max(1, total // MAX_PAIRS)
        done: list[ItemRecord] = []
        failed: list[ItemRecord] = []
        for line in lines:
            record = ItemRecord.from_json(line)
            if record.state == "failed":
                if len(failed) < MAX_FAILURES:
                    failed.append(record)
            elif record.index % every == 0 and len(done) < MAX_PAIRS and _is_shown(record):
                done.append(record)
        return cls(tuple(done), tuple(failed))

    def pairs(self, objects: ObjectStore, spec: JobSpec, check: Callable[[], None]) -> list[Pair]:
        """Return the done images before and after, without those that cannot be shown now.

        *check* is called before each image; what it raises ends the call.
        """
        if spec.image_output in (ImageOutput.HIDE, ImageOutput.HIDE_SAVE):
            return []

        def pair(record: ItemRecord) -> Pair | None:
            check()
            return _pair(objects, spec, record)

        with ThreadPoolExecutor(THUMBNAIL_THREADS, "thumbnail") as pool:
            return [found for found in pool.map(pair, self.done) if found is not None]


def _pair(objects: ObjectStore, spec: JobSpec, record: ItemRecord) -> Pair | None:
    try:
        before = objects.get(spec.input_bucket, record.image_key).data
        after = objects.get(spec.output_bucket, record.cutout_key or "").data
        return Pair(record, thumbnail(before), thumbnail(after))
    except (ItemError, BucketUnavailable, StoreUnavailable):
        return None
    except Exception:
        logger.exception("image left out of the report", extra={"image_key": record.image_key})
        return None


def _is_shown(record: ItemRecord) -> bool:
    pixels = (record.width or 0) * (record.height or 0)
    return record.cutout_key is not None and pixels <= MAX_SHOWN_PX
