"""Stand-ins for images, the network and the store of a worker, which can end its process."""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Unpack

import numpy as np
import stages

from shared.errors import DeviceLost, InferenceFailed
from shared.job.record import OutputFacts
from shared.objects import ObjectStore, OpenObject, PutOptions, StoreWrapper
from shared.recipes import Recipe
from worker.imaging.decode import DecodedImage
from worker.imaging.outputs import MadeOutput
from worker.imaging.types import Segmented
from worker.inference.api import Hardware, Model, Pass

KILLER: Final = b"killer"
"""First bytes of an image whose decoding ends the process."""
POISON: Final = b"poison"
"""First bytes of an image on which the network fails."""
_PIXEL: Final = np.zeros((1, 1, 3), np.uint8)
_POISONED: Final = np.ones((1, 1, 3), np.uint8)


@dataclass
class CrashPoint:
    """Ends this process with SIGKILL the n-th time that it reaches a stage."""

    stage: str
    passages: int
    stop: Path
    """No crash happens once this file exists."""
    causes: Path
    """File that gets a line for each crash: the stage."""
    lose_device: Path
    """The first process that runs a batch deletes this file, and loses its device."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def reach(self, stage: str) -> None:
        """End the process if this is the n-th time that it reaches *stage*."""
        with self._lock:
            if not stage or stage != self.stage or self.stop.exists():
                return
            self.passages -= 1
            if self.passages == 0:
                self.note(stage)
                crash()

    def loses_device(self) -> bool:
        """Return whether this process is the one that loses its device now."""
        try:
            self.lose_device.unlink()
        except FileNotFoundError:
            return False
        self.note("device lost")
        return True

    def note(self, cause: str) -> None:
        """Append *cause* to the file of causes."""
        with self.causes.open("a") as file:
            file.write(f"{cause}\n")


def crash() -> None:
    """End this process with SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


class Segmenter:
    """Takes as long as a GPU: 20 ms a batch and 6 ms an image, as the benchmarks' does.

    Like a GPU's, two batches are in flight, and the errors of one show when it is collected.
    """

    device = "cpu"
    hardware = Hardware("stand-in device")
    weights_sha256 = "0" * 64
    batch_size = 16
    in_flight = 2

    def __init__(self, crash_point: CrashPoint) -> None:
        self._crash_point = crash_point

    def prepare(self, image):
        return image

    def launch(self, batch: Sequence[object]) -> Pass[object]:
        return _Pass(self, batch)

    def run(self, batch: Sequence[object]) -> Sequence[object]:
        """Sleep for as long as *batch* takes; return its outputs."""
        time.sleep(0.020 + 0.006 * len(batch))
        self._crash_point.reach("in the network")
        if self._crash_point.loses_device():
            raise DeviceLost("stand-in device is lost")
        if any(image is _POISONED for image in batch):
            self._crash_point.note("poisoned batch")
            raise InferenceFailed("stand-in") if len(batch) == 1 else RuntimeError("not finite")
        return batch

    def finish(self, output, height: int, width: int, *, stretch: str) -> Segmented:
        return Segmented(np.zeros((height, width), np.uint8), 0.0, 1.0)


@dataclass
class _Pass:
    """A batch that runs when it is collected."""

    segmenter: Segmenter
    batch: Sequence[object]
    device_s: float = 0.0

    def collect(self) -> Sequence[object]:
        return self.segmenter.run(self.batch)


def made_model(name: str, crash_point: CrashPoint) -> Model:
    """Return a model whose masks are empty."""
    return Model(name=name, licence="none", segmenter=Segmenter(crash_point))


class RandomImaging:
    """Image operations that never write the same bytes twice, so that a rewrite shows."""

    def __init__(self, crash_point: CrashPoint) -> None:
        self._crash_point = crash_point

    def count_pixels(self, *_: object) -> int:
        return 1

    def decode(self, data: bytes, _options: object, *, isolate: bool) -> DecodedImage:
        if data.startswith(KILLER):
            self._crash_point.note("killer")
            crash()
        self._crash_point.reach("decoded")
        return DecodedImage(_POISONED if data.startswith(POISON) else _PIXEL, None, ())

    def measure(self, *_: object) -> dict[str, object]:
        return {"verdict": "good"}

    def compose(
        self, _image: object, mask: np.ndarray, _options: object, _compose: object
    ) -> np.ndarray:
        return mask

    def encode(self, *_: object) -> bytes:
        self._crash_point.reach("encoded")
        return secrets.token_bytes(64)

    def preview(self, *_: object) -> bytes:
        return b"preview"

    def colours(self, image: np.ndarray, _mask: object) -> np.ndarray:
        return image

    def make_output(self, recipe: Recipe, *_: object) -> MadeOutput:
        self._crash_point.reach("encoded")
        files = {width: secrets.token_bytes(64) for width in recipe.widths or (0,)}
        return MadeOutput(files, f"image/{recipe.format}", OutputFacts(format=recipe.format))

    def close(self) -> None:
        pass


class CrashingStore(StoreWrapper):
    """A store that can end the process before and after each of its calls."""

    def __init__(self, store: ObjectStore, crash_point: CrashPoint, *, blind: bool) -> None:
        """Wrap *store*; *blind* removes the conditions from the writes of outputs.

        Those of other objects stay: at its start a worker refuses a store without conditions.
        """
        super().__init__(store)
        self._crash_point = crash_point
        self._blind = blind

    @contextmanager
    def open(self, bucket: str, key: str) -> Iterator[OpenObject]:
        with super().open(bucket, key) as opened:
            yield opened
        if not key.startswith("_jobs/"):
            self._crash_point.reach("downloaded")

    def put(
        self, bucket: str, key: str, data: bytes | IO[bytes], **options: Unpack[PutOptions]
    ) -> str:
        before, after = stages.around(key)
        if self._blind and not key.startswith("_jobs/"):
            options |= {"if_absent": False, "if_match": None}
        self._crash_point.reach(before)
        etag = super().put(bucket, key, data, **options)
        self._crash_point.reach(after)
        return etag
