"""Build an engine with the product's stages, from settings."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import cv2

from shared.objects import ObjectStore
from worker.engine.device_state import DeviceState
from worker.engine.engine import Engine, EngineLimits
from worker.engine.limits import Limits, choose_limits
from worker.engine.observer import Observer
from worker.engine.shared_masks import SHARED_BYTES
from worker.engine.stages import Stages, build_stages
from worker.imaging.operations import ImageOperations
from worker.inference.device_kind import device_kind
from worker.lifecycle import Shutdown
from worker.settings import WorkerSettings
from worker.storage import OutputWriter

VERSION: Final = version("rmbg-queue")


def worker_limits(settings: WorkerSettings) -> Limits:
    """Return the limits of a worker with these settings, and with the device that they choose."""
    return choose_limits(settings, device_kind(settings.device))


def default_stages(settings: WorkerSettings, limits: Limits, writer: OutputWriter) -> Stages:
    """Return the stages of the product."""
    imaging = ImageOperations(
        max_pixels=settings.max_pixels,
        max_bytes=settings.max_bytes,
        children=limits.cpu_threads,
    )
    return build_stages(writer, imaging, version=VERSION, shared_bytes=SHARED_BYTES)


def build_engine(
    limits: Limits,
    stages: Stages,
    *,
    shutdown: Shutdown,
    observers: Sequence[Observer] = (),
    device: DeviceState | None = None,
) -> Engine:
    """Return an engine over *stages*."""
    cv2.setNumThreads(1)  # the engine's threads are the parallelism
    held = EngineLimits(
        max_items=limits.max_items,
        budget_px=limits.budget_px,
        budget_bytes=limits.budget_bytes,
        io_threads=limits.io_threads,
        cpu_threads=limits.cpu_threads,
        max_batch_wait_s=limits.batch_wait_s,
    )
    return Engine(stages, limits=held, shutdown=shutdown, observers=observers, device=device)


def build_local_engine(settings: WorkerSettings, objects: ObjectStore) -> Engine:
    """Return an engine over *objects* for use without a queue."""
    writer = OutputWriter(objects, max_bytes=settings.max_bytes)
    limits = worker_limits(settings)
    return build_engine(limits, default_stages(settings, limits, writer), shutdown=Shutdown())
