"""A stand-in for a GPU on a virtual clock: it runs launched batches one after the other."""

from __future__ import annotations

from support.stand_ins import StandInSegmenter, stand_in_model


class VirtualSegmenter(StandInSegmenter):
    """Takes *batch_s* and *image_s* for each image; its caller works *launch_s* to launch a batch.

    `busy_s` is the time for which the device has run batches.
    """

    def __init__(self, clock, *, launch_s=0.0, **options):
        super().__init__(**options)
        self._clock = clock
        self._launch_s = launch_s
        self._free_at_s = 0.0
        self.busy_s = 0.0

    def launch(self, batch):
        self._clock.sleep(self._launch_s)
        took_s = self._batch_s + self._image_s * len(batch)
        self._free_at_s = max(self._free_at_s, self._clock()) + took_s
        return _VirtualPass(self, batch, took_s, self._free_at_s)

    def end(self, launched):
        """Wait until a batch has run; return its outputs."""
        self.batches.append(len(launched.batch))
        self.before(launched.batch)
        self._clock.sleep(launched.ends_at_s - self._clock())
        self.busy_s += launched.device_s
        return [1 - prepared for prepared in launched.batch]


class _VirtualPass:
    def __init__(self, segmenter, batch, device_s, ends_at_s):
        self.segmenter, self.batch = segmenter, batch
        self.device_s, self.ends_at_s = device_s, ends_at_s

    def collect(self):
        return self.segmenter.end(self)


def virtual_model(clock, **options):
    """Return a model over a `VirtualSegmenter` with these options."""
    model = stand_in_model()
    return type(model)(
        name=model.name, licence=model.licence, segmenter=VirtualSegmenter(clock, **options)
    )
