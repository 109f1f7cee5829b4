"""From the bucket to a folder: finished pictures as they come, then the job's documents."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from producer.bounded import each
from shared.errors import InvalidOption, ObjectMissing
from shared.job.record import ItemRecord
from shared.job.spec import Naming
from shared.objects import ObjectStore

DOWNLOADS: Final = 8


class Collector:
    """Writes a job's results below a folder. Files appear whole: a temporary name, then the final.

    Doing anything here twice writes the same files again. Everything here raises `InvalidOption`
    if a file cannot be written.
    """

    def __init__(self, objects: ObjectStore, bucket: str, out: Path, naming: Naming) -> None:
        self._objects = objects
        self._bucket = bucket
        self._out = out
        self._naming = naming
        self._failure: InvalidOption | None = None

    def pictures(self, records: Iterable[ItemRecord]) -> None:
        """Fetch the pictures of *records*, several at a time, as the iterable yields them.

        A failure is raised when the next record comes, or the last; `check` knows of it at once.
        """
        for _ in each(self._fetch, records, threads=DOWNLOADS):
            pass

    def check(self) -> None:
        """Raise what kept a picture from being written, if something did; from any thread."""
        if self._failure is not None:
            raise self._failure

    def results(self, records: Iterable[ItemRecord]) -> None:
        """Write `results.jsonl`, in which the keys are paths below the folder.

        A record is written as it comes: none is held.
        """
        lines = (f"{json.dumps(self._localised(record).model_dump())}\n" for record in records)
        _write(self._out / "results.jsonl", (line.encode() for line in lines))

    def document(self, key: str, name: str) -> None:
        """Fetch one of the job's documents as *name*.

        Raises:
            ObjectMissing: If the job has none.
        """
        _write(self._out / name, [self._objects.get(self._bucket, key).data])

    def _fetch(self, record: ItemRecord) -> None:
        local = self._localised(record)
        for key, path in ((record.cutout_key, local.cutout_key), (record.mask_key, local.mask_key)):
            if key is None or path is None:
                continue
            try:
                _write(self._out / path, [self._objects.get(self._bucket, key).data])
            except ObjectMissing:
                continue  # removed from the bucket since; its record still says what it was
            except InvalidOption as err:
                self._failure = err
                raise

    def _localised(self, record: ItemRecord) -> ItemRecord:
        """Return the record with paths below the folder for keys of the bucket."""
        if self._naming is Naming.COMFYUI or record.cutout_key is None:
            return record
        name = f"{record.image_key}.png"
        return record.model_copy(
            update={"cutout_key": f"cutout/{name}", "mask_key": f"mask/{name}"}
        )


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    """Write *pieces* one after the other; the file appears when all of them are written.

    Raises:
        InvalidOption: If the file cannot be written; the text names it and the reason.
    """
    # Hashed, as a name may be as long as a file system takes; and another's part is not ours.
    name = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    part = path.with_name(f".{name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.writelines(pieces)
        os.replace(part, path)  # noqa: PTH105 - names both ends, as `Path.replace` does not
    except OSError as err:
        with suppress(OSError):
            part.unlink()
        raise InvalidOption(f"{path} cannot be written: {err.strerror or err}") from err
