"""The models this worker has in memory, loaded on demand, two at a time."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from shared.errors import ConfigError
from worker.inference.api import Model

logger = logging.getLogger(__name__)

REFUSED_FOR_S: Final = 60.0
"""How long a refusal is believed, in seconds."""
RESIDENT: Final = 2
"""Models kept in memory: jobs of two models may take turns without loading either again."""


class ModelRefused(ConfigError):
    """This worker cannot serve the model; others may. Its text is the reason."""


class ModelCache:
    """Loads models once and keeps the two used last. Safe to use from several threads."""

    def __init__(self, load: Callable[[str], Model]) -> None:
        self._load = load
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._refused: dict[str, tuple[float, str]] = {}
        self._loading = threading.Lock()
        self._lock = threading.Lock()  # of the tables alone: whoever looks must not wait for a load

    def get(self, name: str) -> Model:
        """Return the model, loading it first where needed; others wait meanwhile.

        A refusal is remembered for `REFUSED_FOR_S`: weights may come within reach, but not with
        every ticket that asks.

        Raises:
            ModelRefused: If it cannot be served here.
        """
        with self._loading:
            model = self._known(name) or self._loaded(name)
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
    def refused(self) -> dict[str, str]:
        """Models that were asked for and cannot be served here, with the reasons."""
        with self._lock:
            return {name: reason for name, (_, reason) in self._refused.items()}

    def _known(self, name: str) -> Model | None:
        with self._lock:
            since_s, reason = self._refused.get(name, (-math.inf, ""))
            if time.monotonic() - since_s < REFUSED_FOR_S:
                raise ModelRefused(reason)
            return self._models.get(name)

    def _loaded(self, name: str) -> Model:
        try:
            model = self._load(name)
        except ConfigError as err:
            with self._lock:
                self._refused[name] = (time.monotonic(), str(err))
            logger.warning("model refused", extra={"model": name, "cause": str(err)})
            raise ModelRefused(str(err)) from err
        with self._lock:
            self._refused.pop(name, None)
        return model
