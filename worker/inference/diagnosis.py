"""Find out whether a failure of the network is due to the image or to the device."""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from shared.errors import DeviceFull, DeviceLost, InferenceFailed
from worker.inference.batch_runner import BatchPass, BatchRunner
from worker.inference.torch_errors import PassFailed, translated

logger = logging.getLogger(__name__)


class Diagnosis:
    """Runs an image that failed alone and in fp32, and a blank one if that fails, too.

    Args:
        runner: Runs the network.
        load_precise: Returns a runner of the network in fp32; called once, when it is needed.
        device: Name of the device, for errors.
        side_px: Width and height of the network's input.
    """

    def __init__(
        self,
        runner: BatchRunner,
        load_precise: Callable[[], BatchRunner],
        *,
        device: str,
        side_px: int,
    ) -> None:
        self._runner = runner
        self._load_precise = load_precise
        self._precise: BatchRunner | None = None
        self._device = device
        self._side_px = side_px

    def launch(self, images: Sequence[Tensor]) -> "DiagnosedPass":
        """Launch a batch."""
        return DiagnosedPass(self, images, self._runner.launch(images))

    def run_again(self, image: Tensor, cause: PassFailed) -> list[Tensor]:
        """Return the output for the *image* that the network failed on with *cause*.

        Raises:
            InferenceFailed: If the image fails in fp32, and a blank one does not fail.
            DeviceLost: If both fail.
            DeviceFull: If the device has no memory for one image or for the weights in fp32.
        """
        logger.warning("image runs again in fp32", extra={"cause": str(cause)})
        try:
            with translated(self._device, "loading the weights in fp32"):
                self._precise = self._precise or self._load_precise()
            return self._precise([image])
        except MemoryError as err:
            raise DeviceFull(f"{self._device} has no memory for the weights in fp32") from err
        except PassFailed as err:
            self.check()
            raise InferenceFailed(f"the network fails on this image: {err}") from err

    def check(self) -> None:
        """Run the network over a blank image.

        Raises:
            DeviceLost: If that fails: no image is the cause.
            DeviceFull: If the device has no memory for one image.
        """
        try:
            self._runner([torch.zeros((3, self._side_px, self._side_px), dtype=torch.uint8)])
        except PassFailed as err:
            raise DeviceLost(f"a blank image fails, too: {err}") from err


class DiagnosedPass:
    """A launched batch, whose failure is looked into if it is one of a single image.

    See `worker.inference.api.Pass`.
    """

    def __init__(self, diagnosis: Diagnosis, images: Sequence[Tensor], launched: BatchPass) -> None:
        self._diagnosis = diagnosis
        self._images = images
        self._launched = launched

    @property
    def device_s(self) -> float:
        """See `Pass.device_s`; without the passes of a diagnosis."""
        return self._launched.device_s

    def collect(self) -> list[Tensor]:
        """Return the outputs, in order; see `worker.inference.segmenter.Segmenter.launch`."""
        try:
            return self._launched.collect()
        except PassFailed as err:
            if len(self._images) > 1:
                raise
            return self._diagnosis.run_again(self._images[0], err)
