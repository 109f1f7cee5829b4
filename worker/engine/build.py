"""Build an engine with the product's stages, from settings."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import cv2

from shared.objects import ObjectStore
from worker.engine.device_state import DeviceState
from worker.engine.engine import Engine, EngineLimits
from worker.engine.observer import Observer
from worker.engine.shared_masks import SHARED_BYTES
from worker.engine.stages import Stages, build_stages
from worker.imaging.operations import ImageOperations
from worker.lifecycle import Shutdown
from worker.settings import WorkerSettings
from worker.storage import OutputWriter

VERSION: Final = version("rmbg-queue")


def default_stages(settings: WorkerSettings, writer: OutputWriter) -> Stages:
    """Return the stages of the product under the settings' limits."""
    imaging = ImageOperations(
        max_pixels=settings.max_pixels,
        max_bytes=settings.max_bytes,
        children=settings.cpu_threads,
    )
    return build_stages(writer, imaging, version=VERSION, shared_bytes=SHARED_BYTES)


def build_engine(
    settings: WorkerSettings,
    stages: Stages,
    *,
    shutdown: Shutdown,
    observers: Sequence[Observer] = (),
    device: DeviceState | None = None,
) -> Engine:
    """Return an engine over *stages* under the settings' limits."""
    cv2.setNumThreads(1)  # the engine's threads are the parallelism
    limits = EngineLimits(
        max_items=settings.max_items,
        budget_px=settings.budget_px,
        budget_bytes=settings.budget_bytes,
        io_threads=settings.io_threads,
        cpu_threads=settings.cpu_threads,
        max_batch_wait_s=settings.batch_wait_s,
    )
    return Engine(stages, limits=limits, shutdown=shutdown, observers=observers, device=device)


def build_local_engine(settings: WorkerSettings, objects: ObjectStore) -> Engine:
    """Return an engine over *objects* for use without a queue."""
    writer = OutputWriter(objects, max_bytes=settings.max_bytes)
    return build_engine(settings, default_stages(settings, writer), shutdown=Shutdown())
