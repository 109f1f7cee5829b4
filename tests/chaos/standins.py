"""What a worker of these runs has instead of pictures and a network, and what kills it."""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Unpack

import numpy as np
import stages

from shared.objects import Body, ObjectStore, PutOptions, StoreWrapper
from worker.imaging.decode import DecodedImage
from worker.imaging.types import Segmented
from worker.inference.api import Model

KILLER: Final = b"killer"
"""How the bytes of a picture begin whose decoding ends the process."""
_PIXEL: Final = np.zeros((1, 1, 3), np.uint8)


@dataclass
class Doom:
    """Ends this process with SIGKILL at the n-th passage of a stage."""

    stage: str
    passages: int
    calm: Path
    """Once this exists, nothing dies here any more."""
    causes: Path
    """Gets a line for each process that ended so."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def reach(self, stage: str) -> None:
        """Note that *stage* is reached."""
        with self._lock:
            if not stage or stage != self.stage or self.calm.exists():
                return
            self.passages -= 1
            if self.passages == 0:
                with self.causes.open("a") as file:
                    file.write(f"{stage}\n")
                die()


def die() -> None:
    """End this process as a crash would."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


class Segmenter:
    """Takes as long as a GPU: 20 ms a batch and 6 ms an image, as the benchmarks' does."""

    device = "cpu"
    weights_sha256 = "0" * 64
    batch_size = 16

    def __init__(self, doom: Doom) -> None:
        self._doom = doom

    def prepare(self, image):
        return image

    def forward(self, batch: Sequence[object]) -> Sequence[object]:
        time.sleep(0.020 + 0.006 * len(batch))
        self._doom.reach("in the network")
        return batch

    def finish(self, output, height: int, width: int, *, stretch: str) -> Segmented:
        return Segmented(np.zeros((height, width), np.uint8), 0.0, 1.0)


def made_model(name: str, doom: Doom) -> Model:
    """Return a model that answers with nothing."""
    return Model(name=name, licence="none", segmenter=Segmenter(doom))


class RandomImaging:
    """Image operations that never write the same bytes twice, so that a rewrite shows."""

    def __init__(self, doom: Doom) -> None:
        self._doom = doom

    def count_pixels(self, _data: bytes) -> int:
        return 1

    def decode(self, data: bytes, _options: object, *, isolate: bool) -> DecodedImage:
        if data.startswith(KILLER):
            with self._doom.causes.open("a") as file:
                file.write("killer\n")
            die()
        self._doom.reach("decoded")
        return DecodedImage(_PIXEL, None, ())

    def measure(self, *_: object) -> dict[str, object]:
        return {"verdict": "good"}

    def compose(self, _image: object, mask: np.ndarray, _options: object) -> np.ndarray:
        return mask

    def encode(self, *_: object) -> bytes:
        self._doom.reach("encoded")
        return secrets.token_bytes(64)

    def close(self) -> None:
        pass


class DoomedStore(StoreWrapper):
    """A store that ends the process between its calls."""

    def __init__(self, store: ObjectStore, doom: Doom, *, blind: bool) -> None:
        """Stand in front of *store*; *blind* drops the conditions of every write."""
        super().__init__(store)
        self._doom = doom
        self._blind = blind

    def get(self, bucket: str, key: str, *, max_bytes: int | None = None) -> Body:
        body = super().get(bucket, key, max_bytes=max_bytes)
        if not key.startswith("_jobs/"):
            self._doom.reach("downloaded")
        return body

    def put(
        self, bucket: str, key: str, data: bytes | IO[bytes], **options: Unpack[PutOptions]
    ) -> str:
        before, after = stages.around(key)
        if self._blind:
            options |= {"if_absent": False, "if_match": None}
        self._doom.reach(before)
        etag = super().put(bucket, key, data, **options)
        self._doom.reach(after)
        return etag
