"""Stand-ins for what is slow: a segmenter that waits instead of counting, stations that do little.

A stand-in's mask is made of its own picture, so that a mix-up of items shows in the mask.
"""

from __future__ import annotations

import threading
import time
import zlib

import numpy as np

from shared.errors import UndecodableImage
from worker.imaging.decode import Decoded
from worker.imaging.operations import Stations
from worker.imaging.types import Segmented
from worker.inference.api import Model

GRID = 16
"""What the stand-in sees of a picture: this many points a side."""


class StandInSegmenter:
    """Foreground is what is dark. Takes *batch_s* and *image_s* for each picture of a batch.

    `batches` notes the size of each forward pass. `before`, if set, is called with each batch
    first: a test may wait or raise there.
    """

    device = "stand-in"
    weights_sha256 = "5" * 64

    def __init__(self, *, batch_size=16, batch_s=0.0, image_s=0.0):
        self.batch_size = batch_size
        self.batches = []
        self.before = lambda batch: None
        self._batch_s = batch_s
        self._image_s = image_s

    def prepare(self, image):
        rows, columns = (np.arange(GRID) * side // GRID for side in image.shape[:2])
        return image[rows][:, columns].mean(-1).astype(np.float32) / 255

    def forward(self, batch):
        self.batches.append(len(batch))
        self.before(batch)
        if wait_s := self._batch_s + self._image_s * len(batch):
            time.sleep(wait_s)  # what it stands in for keeps a device busy for so long
        return [1 - prepared for prepared in batch]

    def finish(self, output, height, width, *, stretch):
        rows, columns = (np.arange(side) * GRID // side for side in (height, width))
        mask = (255 * output[rows][:, columns]).astype(np.uint8)
        return Segmented(mask, float(output.min()), float(output.max()))


def stand_in_model(name="isnet-general-use", **options):
    """Return a model over a stand-in segmenter; *options* are `StandInSegmenter`'s."""
    return Model(name=name, licence="none", segmenter=StandInSegmenter(**options))


def quick_stations():
    """Return stations that do next to nothing, for what is not about pictures.

    Any bytes are a picture of 8 x 8 pixels, of one colour that depends on them; but those that
    begin with `bad` are not one.
    """

    def decode(data, _options, _isolate):
        if data.startswith(b"bad"):
            raise UndecodableImage("the bytes say that they are bad")
        colour = zlib.crc32(data) % 256
        return Decoded(np.full((8, 8, 3), colour, np.uint8), None, ())

    return Stations(
        peek=lambda _data: 64,
        decode=decode,
        measure=lambda *_: ({"verdict": "fine"}, "fine"),
        compose=lambda image, mask, _options: np.dstack([image, mask]),
        encode=lambda pixels, _texts, _options: b"%d:" % pixels.ndim + pixels.tobytes()[:8],
    )


class Valve:
    """A place where a stage waits until the test lets it go on."""

    def __init__(self):
        self._open = threading.Event()
        self.arrived = threading.Semaphore(0)

    def __call__(self, *_):
        self.arrived.release()
        assert self._open.wait(30), "nobody opened the valve"

    def wait_for_one(self):
        """Return when a caller has come to the valve; each counts once."""
        assert self.arrived.acquire(timeout=30), "nobody came to the valve"

    def open(self):
        """Let through who waits and whoever comes later."""
        self._open.set()
