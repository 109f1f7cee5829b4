"""Load models, and report which ones this worker cannot serve."""

import logging
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from shared.errors import InvalidOption, LicenceRefused, WeightsInvalid
from shared.models import registry as models
from shared.models import weights
from shared.models.card import Card
from worker.inference.api import Model
from worker.inference.batch_size import (
    fastest_batch_size,
    known_batch_sizes,
    processor,
    stored_batch_size,
)
from worker.resources import allowed_cores
from worker.settings import WorkerSettings

if TYPE_CHECKING:
    from worker.inference.architectures.onnx.segmenter import OnnxSegmenter
    from worker.inference.backends import BackendName
    from worker.inference.engines import Engines
    from worker.inference.segmenter import Segmenter

logger = logging.getLogger(__name__)

NOISE_PX: Final = 1024
"""Side of the image that back ends are compared with."""
WARM_PX: Final = 64
"""Side of the warm-up image; the network's input always has the same size."""


class Loader:
    """Finds, downloads (if allowed), verifies and loads the weights of registered models."""

    def __init__(self, settings: WorkerSettings, *, warm_up: bool = True) -> None:
        """Load models for *settings*.

        Args:
            settings: Device, precision, and where the weights are.
            warm_up: Whether a loaded model runs once over a blank image. A worker must know
                whether its device works before it takes work; for one image it doubles the time.
        """
        self._settings = settings
        self._warm_up = warm_up

    def load(self, name: str) -> Model:
        """Return the model on its device, warmed up with one blank image.

        On the first start on a CPU, it also measures the batch size, which takes some seconds.
        With `RMBG_MEASURE=0` a CPU neither measures nor runs the blank image.

        Raises:
            UnknownModel: If the registry does not contain it.
            LicenceRefused: If the settings forbid it: `RMBG_COMMERCIAL`, `RMBG_MODELS_STRICT`.
            WeightsInvalid: If its weights are missing or not the registered ones.
            DeviceMissing: If the configured device does not exist.
            DeviceUnsupported: If the driver or the device does not suit torch.
            DeviceLost: If the device cannot be used.
            DeviceFull: If the device has no memory for the model.
        """
        card = models.get(name)
        if reason := self._forbidden(card):
            raise LicenceRefused(f"{card.name}: {reason}")
        return self._load_onnx(card) if card.architecture == "onnx" else self._load_torch(card)

    def _load_onnx(self, card: Card) -> Model:
        from worker.inference.architectures.onnx.segmenter import (  # noqa: PLC0415 - imports torch
            OnnxSegmenter,
        )

        path = self._own(card) or self._pull(card)
        segmenter = OnnxSegmenter.load(
            path,
            card,
            device=self._settings.device,
            threads=allowed_cores(),
            batch_size=self._settings.batch_size,
            weights_sha256=weights.file_sha256(path),
        )
        self._try(segmenter)
        return Model(name=card.name, licence=card.licence, segmenter=segmenter)

    def _load_torch(self, card: Card) -> Model:
        from worker.inference.engines import Engines  # noqa: PLC0415 - imports torch
        from worker.inference.segmenter import Segmenter  # noqa: PLC0415 - imports torch
        from worker.inference.tensorrt import TensorRt  # noqa: PLC0415 - imports torch

        path, sha256 = self._weights(card)
        engines = Engines(self._settings.services.home, TensorRt())
        load = partial(
            Segmenter.load,
            path,
            architecture=card.architecture,
            device=self._settings.device,
            precision=self._settings.precision,
            threads=allowed_cores(),
            batch_size=self._settings.batch_size,
            weights_sha256=sha256,
            engines=engines,
        )
        segmenter = load(backend=self._settings.backend)
        if segmenter.device != "cpu" and self._settings.backend == "auto":
            segmenter = self._fastest(segmenter, load, engines)
        self._try(segmenter)
        if segmenter.device == "cpu":
            segmenter.set_parallel_images(self._parallel_images(segmenter))
        return Model(
            name=card.name, licence=card.licence, segmenter=segmenter, compose=segmenter.compose
        )

    def _try(self, segmenter: "Segmenter | OnnxSegmenter") -> None:
        """Run the network once: that does one-time set-up, and fails if the device is unusable."""
        if self._warm_up and (self._settings.measure or segmenter.device != "cpu"):
            segmenter.check()

    def _parallel_images(self, segmenter: "Segmenter") -> int:
        """Return how many images a CPU processes at once: as stored, else measured if it may be."""
        home = self._settings.services.home
        blank = segmenter.prepare(np.zeros((WARM_PX, WARM_PX, 3), np.uint8))
        circumstances = (
            f"{processor()}, {segmenter.circumstances}, rmbg-queue {version('rmbg-queue')}"
        )
        if not self._settings.measure:
            return known_batch_sizes(home).get(circumstances, 1)
        return stored_batch_size(
            home,
            circumstances,
            lambda: fastest_batch_size(
                lambda size: segmenter.run_once([blank] * size), threads=segmenter.threads
            ),
        )

    def _fastest(
        self, segmenter: "Segmenter", load: Callable[..., "Segmenter"], engines: "Engines"
    ) -> "Segmenter":
        """Return *segmenter*, or one with the fastest back end of a GPU, as stored or measured."""
        from worker.inference import backends  # noqa: PLC0415 - imports torch

        def measure() -> "BackendName":
            noise = np.random.default_rng(0).integers(0, 256, (NOISE_PX, NOISE_PX, 3), np.uint8)
            return backends.fastest_backend(
                backends.measured_backends("cuda", lacks_tensorrt=engines.missing),
                lambda name: load(backend=name).run_once,
                [segmenter.prepare(noise)] * segmenter.batch_size,
                levels=backends.LEVELS[segmenter.precision],
            )

        found = backends.stored_backend(
            self._settings.services.home,
            f"{segmenter.circumstances}, {engines.compiler.version or 'no TensorRT'},"
            f" rmbg-queue {version('rmbg-queue')}",
            measure if self._settings.measure else None,
        )
        if found == segmenter.backend:
            return segmenter
        try:
            return load(backend=found)
        except InvalidOption as err:
            facts = {"backend": found, "cause": str(err)}
            logger.warning("back end does not run", extra=facts)
            return segmenter

    def refused(self) -> dict[str, str]:
        """Return the registered models that this worker cannot serve, with reasons; load none."""
        found: dict[str, str] = {}
        for name, card in models.REGISTRY.items():
            reason = self._forbidden(card)
            if reason is None and card.architecture == "onnx" and not find_spec("onnxruntime"):
                reason = "ONNX Runtime is not installed: install rmbg-queue[onnx]"
            if reason is None and self._settings.services.offline and not self._has(card):
                reason = "its weights are not in RMBG_HOME, and RMBG_OFFLINE=1"
            if reason is not None:
                found[name] = reason
        return found

    def _forbidden(self, card: Card) -> str | None:
        """Return why the settings forbid a model, or None."""
        services = self._settings.services
        if services.commercial and not card.commercial:
            return f"its licence {card.licence} forbids commercial use, and RMBG_COMMERCIAL=1"
        if services.models_strict and card.is_weak:
            return "its weights are known by an MD5 only, and RMBG_MODELS_STRICT=1"
        return None

    def _has(self, card: Card) -> bool:
        return (
            self._own(card) is not None
            or weights.locate(card, self._settings.services.home) is not None
        )

    def _own(self, card: Card) -> Path | None:
        is_first = card is models.get(self._settings.models[0])
        return self._settings.weights if is_first else None

    def _weights(self, card: Card) -> tuple[Path, str]:
        """Return the file to load, converted if possible, and the SHA-256 of its source."""
        from worker.inference import converted  # noqa: PLC0415 - imports torch

        home, own = self._settings.services.home, self._own(card)
        if own is not None:
            sha256 = _own_sha256(own)
            return converted.make(own, sha256, card.architecture, home), sha256
        download = weights.locate(card, home)
        if download is not None:
            sha256 = weights.registered_sha256(card, download)
            if path := converted.find(sha256, card.architecture, home):
                return path, sha256
        download = self._pull(card)
        sha256 = weights.registered_sha256(card, download)
        return converted.make(download, sha256, card.architecture, home), sha256

    def _pull(self, card: Card) -> Path:
        services = self._settings.services
        try:
            return weights.pull(
                card,
                services.home,
                base_url=services.weights_url,
                hf_token=services.hf_token,
                offline=services.offline,
            )
        except OSError as err:
            raise WeightsInvalid(
                f"cannot store the weights of {card.name} in RMBG_HOME={services.home}: {err}"
            ) from err


def _own_sha256(path: Path) -> str:
    if not path.is_file():
        raise WeightsInvalid(f"RMBG_WEIGHTS={path}: file not found")
    try:
        return weights.file_sha256(path)
    except OSError as err:
        raise WeightsInvalid(f"RMBG_WEIGHTS={path}: cannot be read: {err.strerror}") from err
