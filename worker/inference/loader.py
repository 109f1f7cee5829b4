"""Which models this worker can serve, and how one is loaded."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np

from shared.errors import LicenceRefused, WeightsInvalid
from shared.models import registry as models
from shared.models import weights
from worker.inference.api import Model
from worker.inference.batch_size import fastest_batch, processor, remembered_batch
from worker.resources import allowed_cores
from worker.settings import WorkerSettings

WARM_PX: Final = 64
"""Side of the picture that a model is warmed up with; the network sees all in one size."""


class Loader:
    """Finds, fetches where allowed, checks and loads the weights of registered models."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    def load(self, name: str) -> Model:
        """Return the model on its device, warmed up by one black picture.

        On a CPU that has not served before, it also measures the batch size: some seconds.

        Raises:
            UnknownModel: If the registry does not have it.
            LicenceRefused: If it is non-commercial and `RMBG_COMMERCIAL=1`.
            WeightsInvalid: If its weights are missing or not the registered ones.
            DeviceMissing: If the device asked for is not there.
            DeviceLost: If it is there and cannot be used.
        """
        # torch takes 2 s to import, and who passes a model of his own does not need it
        from worker.inference.segmenter import Segmenter  # noqa: PLC0415

        model = models.get(name)
        if self._settings.services.commercial and not model.commercial:
            raise LicenceRefused(
                f"{name}: {model.licence} does not allow commercial use (RMBG_COMMERCIAL=1)"
            )
        segmenter = Segmenter.load(
            self._weights(model),
            device=self._settings.device,
            precision=self._settings.precision,
            threads=allowed_cores(),
        )
        # The first pass prepares much that lasts, and tells a device that cannot be used.
        blank = segmenter.prepare(np.zeros((WARM_PX, WARM_PX, 3), np.uint8))
        segmenter.forward([blank])
        if segmenter.device == "cpu":
            at_once = remembered_batch(
                self._settings.services.home,
                f"{processor()}, {segmenter.circumstances}, rmbg-queue {version('rmbg-queue')}",
                lambda: fastest_batch(
                    lambda size: segmenter.run_once([blank] * size), threads=segmenter.threads
                ),
            )
            segmenter.run_side_by_side(at_once)
        return Model(name=name, licence=model.licence, segmenter=segmenter)

    def refused(self) -> dict[str, str]:
        """Return the registered models that cannot be served here, with reasons, loading none."""
        services = self._settings.services
        found: dict[str, str] = {}
        for name, model in models.REGISTRY.items():
            if services.commercial and not model.commercial:
                found[name] = f"{model.licence}, and RMBG_COMMERCIAL=1"
            elif services.offline and not self._has(model):
                found[name] = "its weights are not here, and RMBG_OFFLINE=1"
        return found

    def _has(self, model: models.Model) -> bool:
        own = self._settings.weights is not None and model.name == self._settings.models[0]
        return own or weights.locate(model, self._settings.services.home) is not None

    def _weights(self, model: models.Model) -> Path:
        own = self._settings.weights
        if own is not None and model.name == self._settings.models[0]:
            if not own.is_file():
                raise WeightsInvalid(f"RMBG_WEIGHTS={own}: no such file")
            return own
        services = self._settings.services
        try:
            return weights.pull(
                model,
                services.home,
                base_url=services.weights_url,
                hf_token=services.hf_token,
                offline=services.offline,
            )
        except OSError as err:
            raise WeightsInvalid(
                f"weights of {model.name} cannot be kept in RMBG_HOME={services.home}: {err}"
            ) from err
