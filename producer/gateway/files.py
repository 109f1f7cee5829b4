"""Find and read the objects of an item: its outputs, source and preview."""

import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from producer.gateway.light import media_type_of
from producer.gateway.problems import not_found
from producer.results import reader
from producer.services import Services
from shared.errors import ObjectMissing
from shared.job.preview_keys import preview_key
from shared.job.record import ItemRecord
from shared.job.spec import JobSpec
from shared.job.written import written_objects

SOURCE: Final = "source"
PREVIEW: Final = "preview"
LINK_S: Final = 3600
"""How long a signed link is valid, in seconds."""


@dataclass(frozen=True)
class StoredFile:
    """One object of an item."""

    bucket: str
    key: str
    media_type: str
    """By the name that we gave the object; a source has no type that we vouch for."""

    @property
    def name(self) -> str:
        """File name for the caller: ASCII without quotes."""
        return re.sub(r"[^A-Za-z0-9._ -]", "_", self.key.rpartition("/")[2]) or "file"


def record_of(services: Services, job_id: str, index: int) -> ItemRecord:
    """Return the record of item *index*.

    Raises:
        Problem: If the item does not exist or has not ended.
    """
    record = reader.record(services, job_id, index)
    if record is None:
        raise not_found(f"a record of item {index} of job {job_id}")
    return record


def find(spec: JobSpec, job_id: str, record: ItemRecord, name: str, width_px: int) -> StoredFile:
    """Return the object of a record that *name* names.

    Args:
        spec: The document of the job.
        job_id: The job.
        record: The record of the item.
        name: An output, `source` or `preview`.
        width_px: For an output of several widths: which; 0 for the first.

    Raises:
        Problem: If the item has no such object.
    """
    if name == SOURCE:
        return StoredFile(spec.input_bucket, record.image_key, "application/octet-stream")
    if name == PREVIEW:
        key = preview_key(spec, job_id, record.index)
        return StoredFile(spec.output_bucket, key, "image/webp")
    written = [each for each in written_objects(spec, job_id, record) if each.output == name]
    of_width = [each for each in written if f"/{width_px}/" in each.path] if width_px else written
    if not of_width:
        raise not_found(f"output {name!r} of item {record.index}")
    key = of_width[0].key
    return StoredFile(spec.output_bucket, key, media_type_of(key))


def downloaded(services: Services, file: StoredFile) -> tuple[Path, Callable[[], None]]:
    """Download an object; return the path of the copy and a function that deletes it.

    Raises:
        Problem: If the object is not there any more.
    """
    with tempfile.NamedTemporaryFile(prefix="rmbg-gateway-", delete=False) as copy:
        path = Path(copy.name)

        def forget() -> None:
            with suppress(FileNotFoundError):
                path.unlink()

        try:
            services.objects.download(file.bucket, file.key, copy)
        except ObjectMissing as err:
            forget()
            raise not_found(f"the object {file.key}") from err
        except BaseException:
            forget()
            raise
    return path, forget
