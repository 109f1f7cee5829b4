"""Stand-ins for work that two cores are too slow for: a device that sleeps, images of one pixel.

The rest is the product: queues, leases, marks, records and the engine.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Unpack

import cv2
import numpy as np
from redis.connection import PythonRespSerializer

from shared.job.keys import JOBS
from shared.objects import ObjectInfo, OpenObject, PutOptions, StoreWrapper
from worker.engine.stages import Stages, build_stages
from worker.imaging.decode import DecodedImage
from worker.imaging.types import Segmented
from worker.inference.api import Hardware, Model, Pass
from worker.storage.output_writer import OutputWriter

BATCH_S: Final = 0.020
IMAGE_S: Final = 0.006
"""Time of a GPU for a batch, plus its time for each image; the fault suite uses the same."""
BATCH_SIZE: Final = 16
IMAGES_PER_S: Final = BATCH_SIZE / (BATCH_S + BATCH_SIZE * IMAGE_S)
"""Highest rate of such a device: 137.9."""
NOTE_S: Final = 0.25
DISC_PX: Final = 512
_IMAGE: Final = np.zeros((1, 1, 3), np.uint8)
_SEGMENTED: Final = Segmented(np.zeros((1, 1), np.uint8), 0.0, 1.0)
_PNG: Final = bytes(64)
_SOURCE: Final = b"image"


class SleepingSegmenter:
    """Ends batches when a GPU would, one after the other, and adds up how long that took.

    As on a GPU, a launch returns at once and two batches are in flight. *in_flight* may be 1.
    """

    device = "stand-in"
    hardware = Hardware("stand-in device")
    weights_sha256 = "0" * 64

    def __init__(
        self,
        batch_size: int = BATCH_SIZE,
        *,
        batch_s: float = BATCH_S,
        image_s: float = IMAGE_S,
        in_flight: int = 2,
    ) -> None:
        self.batch_size = batch_size
        self.in_flight = in_flight
        self._free_at_s = 0.0
        self._batch_s = batch_s
        self._image_s = image_s
        self.batches = 0
        self.items = 0
        self.busy_s = 0.0
        self.first_s = 0.0
        self.last_s = 0.0
        """Seconds of the system's monotonic clock, which is common to all processes."""
        self.commands = 0
        """Commands that this process has sent to Redis since `note` was called."""

    def prepare(self, image: np.ndarray) -> np.ndarray:
        return image

    def launch(self, batch: Sequence[np.ndarray]) -> Pass[np.ndarray]:
        begins_s = max(time.monotonic(), self._free_at_s)
        self._free_at_s = begins_s + self._batch_s + self._image_s * len(batch)
        return _Pass(self, batch, begins_s, self._free_at_s)

    def end(self, batch: Sequence[np.ndarray], begun_s: float, ended_s: float) -> None:
        """Note a batch that has run."""
        self.last_s = ended_s
        self.first_s = self.first_s or begun_s
        self.busy_s += ended_s - begun_s
        self.batches += 1
        self.items += len(batch)

    def finish(self, _output: np.ndarray, _height: int, _width: int, *, stretch: str) -> Segmented:
        del stretch
        return _SEGMENTED

    def note(self, path: Path) -> None:
        """Start a thread that writes the figures to *path* every `NOTE_S` seconds."""
        _count_commands(self)

        def serve() -> None:
            while True:
                figures = {**vars(self), "cpu_s": time.process_time()}
                fresh = path.with_suffix(".new")
                fresh.write_text(json.dumps(figures))
                fresh.replace(path)
                time.sleep(NOTE_S)

        threading.Thread(target=serve, name="notes", daemon=True).start()


@dataclass(frozen=True)
class _Pass:
    """A launched batch."""

    segmenter: SleepingSegmenter
    batch: Sequence[np.ndarray]
    begins_s: float
    ends_s: float

    @property
    def device_s(self) -> float:
        return self.ends_s - self.begins_s

    def collect(self) -> Sequence[np.ndarray]:
        time.sleep(max(0.0, self.ends_s - time.monotonic()))
        self.segmenter.end(self.batch, self.begins_s, self.ends_s)
        return self.batch


class DiscSegmenter(SleepingSegmenter):
    """Finds the same disc in every image, with an edge as soft as that of a product."""

    def __init__(self) -> None:
        super().__init__()
        y, x = np.mgrid[:DISC_PX, :DISC_PX] - DISC_PX / 2
        self._disc = np.clip((0.4 * DISC_PX - np.hypot(x, y)) * 64 + 128, 0, 255).astype(np.uint8)

    def finish(self, _output: np.ndarray, height: int, width: int, *, stretch: str) -> Segmented:
        del stretch
        return Segmented(cv2.resize(self._disc, (width, height)), 0.0, 1.0)


def _count_commands(figures: SleepingSegmenter) -> None:
    """Count every command of the broker and the job store where redis-py packs it."""
    pack = PythonRespSerializer.pack

    def counted(serializer: PythonRespSerializer, *command: object) -> object:
        figures.commands += 1
        return pack(serializer, *command)

    PythonRespSerializer.pack = counted  # type: ignore[method-assign]


def model_of(segmenter: SleepingSegmenter, name: str) -> Model:
    """Return a model over the stand-in."""
    return Model(name=name, licence="none", segmenter=segmenter)


class ConstantImaging:
    """Image operations that always return the same pixel and the same bytes."""

    _decoded = DecodedImage(_IMAGE, None, ())

    def count_pixels(self, _data: bytes, *_recipes: object) -> int:
        return 1

    def decode(self, _data: bytes, _options: object, *, isolate: bool) -> DecodedImage:
        del isolate
        return self._decoded

    def measure(self, *_: object) -> dict[str, object]:
        return {"verdict": "good"}

    def compose(
        self, _image: object, mask: np.ndarray, _options: object, _compose: object
    ) -> np.ndarray:
        return mask

    def encode(self, *_: object) -> bytes:
        return _PNG

    def preview(self, *_: object) -> bytes:
        return _PNG

    def close(self) -> None:
        pass


def constant_stages(writer: OutputWriter) -> Stages:
    """Return the product's stages over `ConstantImaging`."""
    return build_stages(writer, ConstantImaging(), version="0")


class _Source:
    """The source of every image; see `OpenObject`."""

    size_bytes = len(_SOURCE)
    etag = "etag"

    def read(self) -> bytes:
        return _SOURCE


class ImagesInMemory(StoreWrapper):
    """A store in which every source exists, and which drops the outputs written to it.

    Documents of jobs, which one worker writes and another reads, go to the wrapped store.
    """

    def open(self, bucket: str, key: str) -> AbstractContextManager[OpenObject]:
        if key.startswith(JOBS):
            return super().open(bucket, key)
        return nullcontext(_Source())

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        return super().head(bucket, key) if key.startswith(JOBS) else None

    def put(
        self, bucket: str, key: str, data: bytes | IO[bytes], **options: Unpack[PutOptions]
    ) -> str:
        return super().put(bucket, key, data, **options) if key.startswith(JOBS) else "etag"
