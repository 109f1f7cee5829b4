"""Find out whether a failure of the network is due to the image or to the device."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from shared.errors import DeviceFull, DeviceLost, InferenceFailed
from worker.inference.architectures.isnet.network import SIDE_PX
from worker.inference.batch_runner import BatchRunner
from worker.inference.torch_errors import PassFailed, translated

logger = logging.getLogger(__name__)


class Diagnosis:
    """Runs an image that failed alone and in fp32, and a blank one if that fails, too.

    Args:
        runner: Runs the network.
        load_precise: Returns a runner of the network in fp32; called once, when it is needed.
        device: Name of the device, for errors.
    """

    def __init__(
        self, runner: BatchRunner, load_precise: Callable[[], BatchRunner], *, device: str
    ) -> None:
        self._runner = runner
        self._load_precise = load_precise
        self._precise: BatchRunner | None = None
        self._device = device

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
            self._runner([torch.zeros((3, SIDE_PX, SIDE_PX), dtype=torch.uint8)])
        except PassFailed as err:
            raise DeviceLost(f"a blank image fails, too: {err}") from err
