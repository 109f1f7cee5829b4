"""Keep the models of this worker in memory, loaded on demand, at most two."""

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import numpy as np

from shared.errors import ConfigError, DeviceFull, DeviceLost
from worker.inference.api import Hardware, Model

logger = logging.getLogger(__name__)

REFUSED_FOR_S: Final = 60.0
"""Time for which a failed load is cached, in seconds."""
BLANK_PX: Final = 64
"""Side of the image that the device is tested with."""
RESIDENT: Final = 2
"""Models kept in memory, so that jobs of two models can alternate without reloading."""


class ModelRefused(ConfigError):
    """This worker cannot serve the model; others may. The text is the reason."""


class ModelCache:
    """Loads models on demand and keeps the two used last. Thread-safe."""

    def __init__(self, load: Callable[[str], Model]) -> None:
        self._load = load
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._refused: dict[str, tuple[float, str]] = {}
        self._loading = threading.Lock()
        self._lock = threading.Lock()  # guards the tables, so that readers do not wait for a load

    def get(self, name: str) -> Model:
        """Return the model; load it first if needed, while other callers wait.

        A failed load is cached for `REFUSED_FOR_S`, so that not every ticket repeats it. A model
        that the device fails on is refused if the device works for a model that is loaded: another
        process would not get further.

        Raises:
            ModelRefused: If this worker cannot serve it.
            DeviceLost: If the device fails, and for a loaded model, too, or if there is none.
            DeviceFull: If the device has no memory for it, and no model is loaded.
        """
        with self._loading:
            model = self._cached(name) or self._load_model(name)
            with self._lock:
                self._models[name] = model
                self._models.move_to_end(name)
                while len(self._models) > RESIDENT:
                    self._models.popitem(last=False)
            return model

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the models in memory."""
        with self._lock:
            return tuple(self._models)

    @property
    def hardware(self) -> tuple[str, Hardware] | None:
        """Name of the device as in records, and what it is; None while no model is loaded."""
        with self._lock:
            model = next(iter(self._models.values()), None)
        return None if model is None else (model.segmenter.device, model.segmenter.hardware)

    @property
    def batch_size(self) -> int:
        """Largest batch size of the models in memory; 1 if there are none."""
        with self._lock:
            sizes = [model.segmenter.batch_size for model in self._models.values()]
        return max(sizes, default=1)

    @property
    def refused(self) -> dict[str, str]:
        """Models that this worker failed to load, with reasons."""
        with self._lock:
            return {name: reason for name, (_, reason) in self._refused.items()}

    def _cached(self, name: str) -> Model | None:
        with self._lock:
            since_s, reason = self._refused.get(name, (-math.inf, ""))
            if time.monotonic() - since_s < REFUSED_FOR_S:
                raise ModelRefused(reason)
            return self._models.get(name)

    def _can_serve_others(self) -> bool:
        """Return whether a model is loaded and the device works for it.

        After an error that breaks the device for this process, each use of it fails.
        """
        with self._lock:
            model = next(iter(self._models.values()), None)
        if model is None:
            return False
        try:
            model.segmenter.prepare(np.zeros((BLANK_PX, BLANK_PX, 3), np.uint8))
        except DeviceLost:
            return False
        return True

    def _load_model(self, name: str) -> Model:
        try:
            model = self._load(name)
        except (ConfigError, DeviceFull, DeviceLost) as err:
            if not isinstance(err, ConfigError) and not self._can_serve_others():
                raise
            with self._lock:
                self._refused[name] = (time.monotonic(), str(err))
            logger.warning("model refused", extra={"model": name, "cause": str(err)})
            raise ModelRefused(str(err)) from err
        with self._lock:
            self._refused.pop(name, None)
        return model
