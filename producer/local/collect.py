"""Download the results of a job from the bucket to a folder."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from producer.bounded import each
from shared.errors import InvalidOption, ObjectMissing
from shared.files import write_whole
from shared.job.record import ItemRecord
from shared.job.spec import JobSpec
from shared.job.written import localised, written_objects
from shared.objects import ObjectStore

DOWNLOADS: Final = 8


class Collector:
    """Writer of a job's results below a folder.

    Each file is written under a temporary name and then renamed, so that it appears whole. A
    repeated call writes the same files again. Every method raises `InvalidOption` if a file
    cannot be written.
    """

    def __init__(self, objects: ObjectStore, out: Path, spec: JobSpec, job_id: str) -> None:
        self._objects = objects
        self._out = out
        self._spec = spec
        self._job_id = job_id
        self._failure: InvalidOption | None = None

    def images(self, records: Iterable[ItemRecord]) -> None:
        """Download the images of *records*, several at a time, as the iterable yields them.

        An error is raised with the next record or after the last; `check` raises it at once.
        """
        for _ in each(self._fetch, records, threads=DOWNLOADS):
            pass

    def check(self) -> None:
        """Raise the error that kept an image from being written, if any; from any thread."""
        if self._failure is not None:
            raise self._failure

    def results(self, records: Iterable[ItemRecord]) -> None:
        """Write `results.jsonl`, in which keys are paths below the folder.

        Records are written one by one, so that they are not held in memory.
        """
        lines = (f"{localised(self._spec, self._job_id, record).to_json()}\n" for record in records)
        write_whole(self._out / "results.jsonl", (line.encode() for line in lines))

    def download(self, key: str, name: str) -> None:
        """Download the object *key* as the file *name*.

        Raises:
            ObjectMissing: If the bucket does not have it.
        """
        write_whole(self._out / name, [self._objects.get(self._spec.output_bucket, key).data])

    def _fetch(self, record: ItemRecord) -> None:
        try:
            for written in written_objects(self._spec, self._job_id, record):
                with suppress(ObjectMissing):  # deleted; its record still describes it
                    self.download(written.key, written.path)
        except InvalidOption as err:
            self._failure = err
            raise
