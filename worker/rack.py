"""The models this worker has in memory, loaded on demand, two at a time."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from shared.errors import ConfigError
from worker.flow import Model

logger = logging.getLogger(__name__)

RESIDENT: Final = 2
"""Models kept in memory (design, section 7)."""


class ModelRefused(ConfigError):
    """This worker cannot serve the model; others may. Its text is the reason."""


class Rack:
    """Loads models once and keeps the two used last. Safe to use from several threads."""

    def __init__(self, load: Callable[[str], Model]) -> None:
        self._load = load
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._refused: dict[str, str] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Model:
        """Return the model, loading it first where needed; others wait meanwhile.

        A refusal is remembered: the reasons (licence, weights, an unknown name) do not pass by
        themselves while a process lives.

        Raises:
            ModelRefused: If it cannot be served here.
        """
        with self._lock:
            if name in self._refused:
                raise ModelRefused(self._refused[name])
            if name not in self._models:
                self._models[name] = self._loaded(name)
            self._models.move_to_end(name)
            while len(self._models) > RESIDENT:
                self._models.popitem(last=False)
            return self._models[name]

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the models in memory."""
        return tuple(self._models)

    @property
    def refused(self) -> dict[str, str]:
        """Models that were asked for and cannot be served here, with the reasons."""
        return dict(self._refused)

    def _loaded(self, name: str) -> Model:
        try:
            return self._load(name)
        except ConfigError as err:
            self._refused[name] = str(err)
            logger.warning("model refused", extra={"model": name, "cause": str(err)})
            raise ModelRefused(str(err)) from err
