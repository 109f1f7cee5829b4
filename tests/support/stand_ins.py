"""Stand-ins for what is slow: a segmenter that does not compute, and cheap image operations.

A stand-in's mask is made from its own image, so that a mix-up of items shows in the mask.
"""

from __future__ import annotations

import threading
import time
import zlib

import numpy as np

from shared.errors import UndecodableImage
from worker.imaging.decode import DecodedImage
from worker.imaging.types import Segmented
from worker.inference.api import Hardware, Model

GRID = 16
"""Points a side that the stand-in sees of an image."""


class StandInSegmenter:
    """Takes dark pixels for foreground. A batch takes *batch_s*, and *image_s* for each image.

    `batches` holds the size of each forward pass. `before` is called with each batch first: a
    test may wait or raise there. A batch runs when it is launched; with *in_flight* above 1 when it
    is collected, as errors of a GPU show there. `calls` are these two, with the size of the batch.
    """

    device = "stand-in"
    hardware = Hardware("stand-in device")
    weights_sha256 = "5" * 64

    def __init__(self, *, batch_size=16, batch_s=0.0, image_s=0.0, in_flight=1):
        self.batch_size = batch_size
        self.in_flight = in_flight
        self.batches = []
        self.calls = []
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
            time.sleep(wait_s)  # the device that it stands in for is busy for so long
        return [1 - prepared for prepared in batch]

    def launch(self, batch):
        self.calls.append(("launch", len(batch)))
        return StandInPass(self, batch)

    def finish(self, output, height, width, *, stretch):
        rows, columns = (np.arange(side) * GRID // side for side in (height, width))
        mask = (255 * output[rows][:, columns]).astype(np.uint8)
        return Segmented(mask, float(output.min()), float(output.max()))


class StandInPass:
    """A batch that a stand-in has launched."""

    def __init__(self, segmenter, batch):
        self.device_s = 0.0
        self._segmenter, self._batch = segmenter, batch
        self._outputs = self._run() if segmenter.in_flight == 1 else None

    def collect(self):
        self._segmenter.calls.append(("collect", len(self._batch)))
        return self._run() if self._outputs is None else self._outputs

    def _run(self):
        started_s = time.perf_counter()
        outputs = self._segmenter.forward(self._batch)
        self.device_s = time.perf_counter() - started_s
        return outputs


def stand_in_model(name="isnet-general-use", **options):
    """Return a model over a stand-in segmenter; *options* are `StandInSegmenter`'s."""
    return Model(name=name, licence="none", segmenter=StandInSegmenter(**options))


class QuickImaging:
    """Image operations that do next to nothing, for tests that are not about pixels.

    Any bytes are an image of 8 x 8 pixels, of one colour that depends on them; bytes that begin
    with `bad` cannot be decoded. *changes* replace methods by name.
    """

    def __init__(self, **changes):
        for name, function in changes.items():
            assert hasattr(self, name), name
            setattr(self, name, function)

    def count_pixels(self, _data, *_recipes):
        return 64

    def decode(self, data, _options, *, isolate):
        if data.startswith(b"bad"):
            raise UndecodableImage("the bytes say that they are bad")
        colour = zlib.crc32(data) % 256
        return DecodedImage(np.full((8, 8, 3), colour, np.uint8), None, ())

    def measure(self, *_):
        return {"verdict": "fine"}

    def compose(self, image, mask, _options, _compose):
        return np.dstack([image, mask])

    def encode(self, pixels, _texts, _metadata, _options):
        return b"%d:" % pixels.ndim + pixels.tobytes()[:8]

    def preview(self, _source, _cutout):
        return b"preview"

    def close(self):
        pass


class Valve:
    """Blocks its callers until the test opens it."""

    def __init__(self):
        self._open = threading.Event()
        self.arrived = threading.Semaphore(0)

    def __call__(self, *_):
        self.arrived.release()
        assert self._open.wait(30), "nobody opened the valve"

    def wait_for_one(self):
        """Wait for the next caller."""
        assert self.arrived.acquire(timeout=30), "nobody called the valve"

    def open(self):
        """Let all callers through, later ones too."""
        self._open.set()
