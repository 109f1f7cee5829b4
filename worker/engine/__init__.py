"""Run items through the stages."""

from worker.engine.device_state import DeviceState
from worker.engine.engine import Engine, EngineLimits
from worker.engine.item import ItemRequest, ItemResult
from worker.engine.observer import Observer
from worker.engine.payloads import Deferred, Finished, Outcome
from worker.engine.preview_selection import PreviewSelection
from worker.engine.shared_masks import SHARED_BYTES
from worker.engine.single import run_single
from worker.engine.stages import Stages, build_stages

__all__ = [
    "SHARED_BYTES",
    "Deferred",
    "DeviceState",
    "Engine",
    "EngineLimits",
    "Finished",
    "ItemRequest",
    "ItemResult",
    "Observer",
    "Outcome",
    "PreviewSelection",
    "Stages",
    "build_stages",
    "run_single",
]
