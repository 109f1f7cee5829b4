"""The stage that runs the network, once for images of equal bytes."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from worker.engine.item import Item
from worker.engine.payloads import Decoded, GivenMask, Inferred, NetworkOutput, Payload
from worker.engine.shared_masks import SharedMasks
from worker.engine.stage import BatchStage
from worker.inference import Pass, Segmenter
from worker.inference.api import Done, Output


@dataclass(frozen=True)
class Forward(BatchStage[Decoded]):
    """Run the network over a batch, once for images of equal bytes."""

    shared: SharedMasks
    launched: set[Hashable] = field(default_factory=set)
    """Keys of the images that are in the network; only the thread of the device uses them."""
    name = "forward"
    accepts = Decoded

    def launch(self, items: Sequence[Item], payloads: Sequence[Decoded]) -> "ForwardRun":
        """See `BatchStage.launch`."""
        known = {each.key: found for each in payloads if (found := self.shared.find(each))}
        first = {
            each.key: each
            for each in reversed(payloads)
            if each.key not in known and each.key not in self.launched
        }
        segmenter = items[0].request.model.segmenter
        prepared = [each.prepared for each in first.values()]
        running: Pass[Output] = segmenter.launch(prepared) if prepared else Done(())
        self.launched.update(first)
        return ForwardRun(self, segmenter, payloads, known, first, running, len(first))


@dataclass(eq=False)
class ForwardRun:
    """A batch in the network; see `BatchRun`."""

    stage: Forward
    segmenter: Segmenter
    payloads: Sequence[Decoded]
    known: dict[Hashable, NetworkOutput | GivenMask]
    """What equal images got before, by key."""
    first: dict[Hashable, Decoded]
    """The images that run, by key."""
    running: Pass[Output]
    images: int
    """See `BatchRun.images`."""

    @property
    def device_s(self) -> float:
        """See `BatchRun.device_s`."""
        return self.running.device_s

    def collect(self) -> list[Payload]:
        """See `BatchRun.collect`."""
        payloads, self.payloads = self.payloads, ()  # others hold their memory from now on
        known, self.known = self.known, {}
        first, self.first = self.first, {}
        try:
            outputs = self.running.collect()
        finally:
            self.stage.launched.difference_update(first)
        known |= self._note(first, outputs)
        missing = self._find(payloads, known)
        if missing:
            prepared = [each.prepared for each in missing.values()]
            known |= self._note(missing, self.segmenter.launch(prepared).collect())
        ran = first | missing
        return [
            Inferred(
                each.present,
                each.image,
                each.notes,
                known[each.key],
                is_shared=ran.get(each.key) is not each,
            )
            for each in payloads
        ]

    def _find(
        self, payloads: Sequence[Decoded], known: dict[Hashable, NetworkOutput | GivenMask]
    ) -> dict[Hashable, Decoded]:
        """Add to *known* what images got whose equals were in the network at the launch.

        Return by key those that must run now: an equal one failed, or its mask is gone.
        """
        missing: dict[Hashable, Decoded] = {}
        for each in payloads:
            if each.key in known or each.key in missing:
                continue
            if found := self.stage.shared.find(each):
                known[each.key] = found
            else:
                missing[each.key] = each
        return missing

    def _note(
        self, images: dict[Hashable, Decoded], outputs: Sequence[Output]
    ) -> dict[Hashable, NetworkOutput]:
        """Share the outputs of *images*, in their order, and return them by key."""
        return {
            key: self.stage.shared.note(key, output)
            for key, output in zip(images, outputs, strict=True)
        }
