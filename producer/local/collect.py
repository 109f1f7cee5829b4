"""From the bucket to a folder: finished pictures as they come, then the job's documents."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from shared.errors import ObjectMissing
from shared.job import ItemRecord, Naming
from shared.objects import ObjectStore

DOWNLOADS: Final = 8


class Collector:
    """Writes a job's results below a folder. Files appear whole: a temporary name, then the final.

    Doing anything here twice writes the same files again.
    """

    def __init__(self, objects: ObjectStore, bucket: str, out: Path, naming: Naming) -> None:
        self._objects = objects
        self._bucket = bucket
        self._out = out
        self._naming = naming

    def pictures(self, records: Iterable[ItemRecord]) -> None:
        """Fetch the pictures of *records*, several at a time, as the iterable yields them."""
        with ThreadPoolExecutor(DOWNLOADS) as pool:
            fetching: deque[Future[None]] = deque()
            for record in records:
                fetching.append(pool.submit(self._fetch, record))
                while fetching[0].done() or len(fetching) > 4 * DOWNLOADS:
                    fetching.popleft().result()
                    if not fetching:
                        break
            for future in fetching:
                future.result()

    def results(self, records: Iterable[ItemRecord]) -> None:
        """Write `results.jsonl`, in which the keys are paths below the folder."""
        lines = (json.dumps(asdict(self._localised(record))) for record in records)
        _write(self._out / "results.jsonl", "".join(f"{line}\n" for line in lines).encode())

    def document(self, key: str, name: str) -> None:
        """Fetch one of the job's documents as *name*.

        Raises:
            ObjectMissing: If the job has none.
        """
        _write(self._out / name, self._objects.get(self._bucket, key).data)

    def _fetch(self, record: ItemRecord) -> None:
        local = self._localised(record)
        for key, path in ((record.cutout_key, local.cutout_key), (record.mask_key, local.mask_key)):
            if key is None or path is None:
                continue
            try:
                _write(self._out / path, self._objects.get(self._bucket, key).data)
            except ObjectMissing:
                continue  # removed from the bucket since; its record still says what it was

    def _localised(self, record: ItemRecord) -> ItemRecord:
        """Return the record with paths below the folder for keys of the bucket."""
        if self._naming is Naming.COMFYUI or record.cutout_key is None:
            return record
        name = f"{record.image_key}.png"
        return replace(record, cutout_key=f"cutout/{name}", mask_key=f"mask/{name}")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    os.replace(part, path)  # noqa: PTH105 - names both ends, as `Path.replace` does not
