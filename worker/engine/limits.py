"""Choose how much a worker does and holds at once: what its settings say, else by its device."""

from dataclasses import dataclass, fields, replace
from typing import Final

from worker.inference.device_kind import DeviceKind
from worker.resources import allowed_cores, allowed_memory_bytes
from worker.settings import MEGA, MIB, WorkerSettings

RSS_SHARE: Final = 0.75
"""Share of its memory at which a process leaves to be restarted."""
PIXELS_SHARE: Final = 0.25
BYTES_SHARE: Final = 0.125
"""Shares of a CUDA process's memory for decoded pixels and for encoded images. About 5 GB of the
rest are torch, CUDA and the weights."""
BYTES_PER_PIXEL: Final = 8


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a worker process does and holds at once."""

    max_items: int
    """Items in the engine."""
    budget_px: int
    """Decoded pixels held, each at most 8 bytes."""
    budget_bytes: int
    """Bytes held of encoded images: sources and outputs."""
    io_threads: int
    """Downloads from one bucket, and as many uploads."""
    cpu_threads: int
    """Threads that decode and encode."""
    batch_wait_s: float
    """Longest time that the first item of a batch waits for others."""
    max_rss_bytes: int
    """Resident memory at which the process leaves to be restarted."""


def limits_for(kind: DeviceKind, *, cores: int, memory_bytes: int, children: int = 1) -> Limits:
    """Return the limits of one of *children* equal processes that share a machine.

    A device that takes 1 ms an image needs many items: with a store that answers after 30 ms, 900
    images per second are 27 downloads and 54 writes in flight, besides the batches (ADR 107).

    Args:
        kind: Type of their devices.
        cores: Cores that all of them may use.
        memory_bytes: Memory that all of them may use.
        children: How many they are, at least 1.
    """
    share_bytes = memory_bytes // children
    cpu = Limits(
        max_items=48,
        budget_px=150 * MEGA,
        budget_bytes=512 * MIB,
        io_threads=16,
        cpu_threads=max(1, cores // children),
        batch_wait_s=0.05,
        max_rss_bytes=int(RSS_SHARE * share_bytes),
    )
    if kind == "cpu":
        return cpu
    return replace(
        cpu,
        # Three batches of 32 at least: one that runs, one that waits, one in the other stages.
        max_items=max(96, 400 // children),
        budget_px=_between(
            60 * MEGA, int(PIXELS_SHARE * share_bytes) // BYTES_PER_PIXEL, 1600 * MEGA
        ),
        budget_bytes=_between(256 * MIB, int(BYTES_SHARE * share_bytes), 4096 * MIB),
        # 32 carry more than Python does in one process: 230 images per second, 3 requests each.
        io_threads=max(32, 128 // children),
        # As long as a full batch runs: to wait longer costs more than to run two smaller ones.
        batch_wait_s=0.02,
    )


def choose_limits(settings: WorkerSettings, kind: DeviceKind) -> Limits:
    """Return the limits of one of the `processes` of this machine; a setting wins over the default.

    Other defaults follow the memory at which the process leaves, if that is set.
    """
    children = settings.processes
    memory_bytes = allowed_memory_bytes()
    if settings.max_rss_bytes is not None:
        memory_bytes = min(memory_bytes, children * int(settings.max_rss_bytes / RSS_SHARE))
    limits = limits_for(kind, cores=allowed_cores(), memory_bytes=memory_bytes, children=children)
    given = {field.name: getattr(settings, field.name) for field in fields(Limits)}
    return replace(limits, **{name: value for name, value in given.items() if value is not None})


def _between(least: int, value: int, most: int) -> int:
    return max(least, min(value, most))
