"""`rmbg-worker --check`: one made picture through all stages, without Redis and without S3."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from typing import IO, Unpack

import click
import numpy as np

from shared.errors import ObjectMissing
from shared.job.record import ItemRecord
from shared.job.spec import JobSpec
from shared.models.registry import get
from shared.objects import Body, ObjectInfo, PutOptions
from worker.app import limits_of, stations_of
from worker.engine.engine import Engine
from worker.engine.item import Ended, Outcome
from worker.imaging.encode.encoder import encode_png
from worker.imaging.types import RgbImage
from worker.inference.loader import Loader
from worker.settings import WorkerSettings
from worker.storage.item_ref import Work
from worker.storage.output_writer import Effects

SIDE_PX = 640
TIMEOUT_S = 300.0


class Shelf:
    """An object store of this process alone, for one picture and what becomes of it."""

    def __init__(self, picture: bytes) -> None:
        self._picture = picture
        self.written: dict[str, bytes] = {}

    def get(self, bucket: str, key: str, *, max_bytes: int | None = None) -> Body:
        """See `ObjectStore.get`: the picture, whatever the key."""
        return Body(self._picture, "made")

    def download(self, bucket: str, key: str, into: IO[bytes]) -> None:
        """See `ObjectStore.download`."""
        into.write(self._picture)

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """See `ObjectStore.head`."""
        if key not in self.written:
            return None
        size_bytes = len(self.written[key])
        return ObjectInfo(key=key, size_bytes=size_bytes, etag="", modified_at=datetime.now(UTC))

    def put(
        self, bucket: str, key: str, data: bytes | IO[bytes], **options: Unpack[PutOptions]
    ) -> str:
        """See `ObjectStore.put`; nothing else writes here, so conditions always hold."""
        self.written[key] = data if isinstance(data, bytes) else data.read()
        return ""

    def list(self, bucket: str, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        yield from ()

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """See `ObjectStore.delete`."""

    def sign(self, bucket: str, key: str, *, expires_s: int) -> str:
        """See `ObjectStore.sign`."""
        raise ObjectMissing(f"{key}: the self-check's pictures have no address")

    def check(self, bucket: str) -> None:
        """See `ObjectStore.check`."""


def check(settings: WorkerSettings) -> int:
    """Say what was loaded, what came out and how long it took; return 0 if all is well."""
    model = Loader(settings).load(settings.models[0])
    shelf = Shelf(encode_png(made_picture(), texts={}, level="fast"))
    ended: list[Outcome] = []
    arrived = threading.Event()

    def done(_work: Work, outcome: Outcome) -> None:
        ended.append(outcome)
        arrived.set()

    engine = Engine(
        Effects(shelf, max_bytes=settings.max_bytes),
        stations_of(settings),
        limits=limits_of(settings),
        version=version("rmbg-queue"),
        unfit=lambda err: click.echo(f"the device cannot be used: {err}", err=True),
    )
    spec = JobSpec(
        input_bucket="in",
        output_bucket="out",
        rem_mode=model.name,
        weights_sha256=get(model.name).sha256,
    )
    work = Work(job_id="check", sequence=1, spec=spec, index=0, image_key="made.png", model=model)
    started_s = time.monotonic()
    engine.offer(work, done, timeout_s=1)
    arrived.wait(TIMEOUT_S)
    engine.close()
    return _tell(ended, shelf, time.monotonic() - started_s)


def made_picture() -> RgbImage:
    """Return a ``(640, 640, 3)`` uint8 picture: a bright disc with a highlight on a soft ground."""
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX].astype(np.float32) / SIDE_PX - 0.5
    disc = np.clip((0.3 - np.hypot(x, y)) * 80, 0, 1)[..., None]
    ground = np.stack([0.55 + 0.2 * y, 0.6 + 0.2 * y, 0.65 + 0.1 * x], axis=-1)
    body = np.stack([0.85 - x, 0.25 + 0.3 * y, 0.2 - 0.2 * x], axis=-1)
    return np.asarray(255 * np.clip(disc * body + (1 - disc) * ground, 0, 1), np.uint8)


def _tell(ended: list[Outcome], shelf: Shelf, took_s: float) -> int:
    record: ItemRecord | None = None
    if ended and isinstance(ended[0], Ended):
        record = ended[0].record
    if record is None or record.state != "done":
        click.echo(f"check failed: {record.error if record else 'no outcome'}", err=True)
        return 1
    sizes = {key: len(data) for key, data in shelf.written.items()}
    click.echo(
        f"ok: {record.model} on {record.device}, one picture in {took_s:.2f} s; "
        f"coverage {(record.qc or {}).get('coverage')}; wrote {sizes}"
    )
    return 0
