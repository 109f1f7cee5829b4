"""What a worker is told: device, models, limits and times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.broker.app import CONCURRENCY
from shared.reader import Reader
from shared.settings import ServiceSettings
from worker.resources import allowed_cores, allowed_memory_bytes

PRECISIONS: Final = ("auto", "fp32", "bf16", "fp16")
MEGA: Final = 1_000_000
MIB: Final = 2**20
MEMORY_SHARE: Final = 0.75
"""Share of the memory this process may use at which it leaves to be restarted."""


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """A worker's settings; see `docs/operations.md` for what to set them to."""

    services: ServiceSettings
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N` (`RMBG_DEVICE`); asked for and missing is an error."""
    precision: str = "auto"
    """`auto`, `fp32`, `bf16` or `fp16` (`RMBG_PRECISION`)."""
    models: tuple[str, ...] = ("RMBG-1.4",)
    """Models loaded at start (`RMBG_MODELS`); others are loaded on demand."""
    weights: Path | None = None
    """A weights file of the worker's own, for the first of `models` (`RMBG_WEIGHTS`)."""
    concurrency: int = CONCURRENCY
    """Tickets held at once (`RMBG_CONCURRENCY`)."""
    lease_s: float = 30.0
    """How long a ticket stays ours without a beat, in seconds (`RMBG_LEASE_S`)."""
    stall_s: float = 300.0
    """No stage ends any item for this long: leases are left to expire (`RMBG_STALL_S`)."""
    recover_s: float = 1.0
    """Seconds between two rounds of recovery (`RMBG_RECOVER_S`)."""
    lost_s: float = 60.0
    """A ticket overtaken by this many seconds counts as lost (`RMBG_LOST_S`)."""
    drain_s: float = 25.0
    """Seconds from SIGTERM to the end, whatever is still in flight (`RMBG_DRAIN_S`)."""
    max_items: int = 48
    """Items inside the engine at once (`RMBG_MAX_ITEMS`)."""
    max_pixels: int = 100 * MEGA
    """Largest picture, in pixels (`RMBG_MAX_PIXELS`)."""
    max_bytes: int = 100 * MIB
    """Largest source file, in bytes (`RMBG_MAX_BYTES`)."""
    budget_px: int = 150 * MEGA
    """Decoded pixels held at once (`RMBG_BUDGET_PX`)."""
    io_threads: int = 16
    """Threads that download, and as many that upload (`RMBG_IO_THREADS`)."""
    cpu_threads: int = 2
    """Threads that decode and encode (`RMBG_CPU_THREADS`); default: one a core that
    the container allows."""
    max_rss_bytes: int = 0
    """Memory at which the process drains and leaves, to be started afresh (`RMBG_MAX_RSS_BYTES`);
    0: three quarters of what the container or machine has."""
    batch_wait_s: float = 0.05
    """Longest wait of a batch's first item for company, in seconds (`RMBG_BATCH_WAIT_S`)."""

    http: tuple[str, int] | None = None
    """Where `/metrics`, `/livez` and `/readyz` are served (`RMBG_HTTP`, as `host:port`)."""

    @property
    def memory_limit_bytes(self) -> int:
        """Memory at which the process leaves: as set, or a share of what it may use."""
        return self.max_rss_bytes or int(MEMORY_SHARE * allowed_memory_bytes())

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> WorkerSettings:
        """Read the variables named above.

        Raises:
            InvalidOption: With one line for each variable that cannot be used.
        """
        reader = Reader(env)
        weights = reader.text("RMBG_WEIGHTS")
        settings = cls(
            services=ServiceSettings.read(reader),
            device=reader.text("RMBG_DEVICE", cls.device) or cls.device,
            precision=reader.choice("RMBG_PRECISION", cls.precision, PRECISIONS),
            models=reader.names("RMBG_MODELS", cls.models),
            weights=reader.path("RMBG_WEIGHTS", Path()) if weights else None,
            concurrency=reader.whole("RMBG_CONCURRENCY", cls.concurrency, least=1, most=64),
            lease_s=reader.seconds("RMBG_LEASE_S", cls.lease_s, least=0.5),
            stall_s=reader.seconds("RMBG_STALL_S", cls.stall_s, least=1),
            recover_s=reader.seconds("RMBG_RECOVER_S", cls.recover_s, least=0.05),
            lost_s=reader.seconds("RMBG_LOST_S", cls.lost_s, least=0.5),
            drain_s=reader.seconds("RMBG_DRAIN_S", cls.drain_s, least=1),
            max_items=reader.whole("RMBG_MAX_ITEMS", cls.max_items, least=1),
            max_pixels=reader.whole("RMBG_MAX_PIXELS", cls.max_pixels, least=1),
            max_bytes=reader.whole("RMBG_MAX_BYTES", cls.max_bytes, least=1),
            budget_px=reader.whole("RMBG_BUDGET_PX", cls.budget_px, least=1),
            io_threads=reader.whole("RMBG_IO_THREADS", cls.io_threads, least=1, most=512),
            cpu_threads=reader.whole("RMBG_CPU_THREADS", allowed_cores(), least=1, most=512),
            max_rss_bytes=reader.whole("RMBG_MAX_RSS_BYTES", cls.max_rss_bytes),
            batch_wait_s=reader.seconds("RMBG_BATCH_WAIT_S", cls.batch_wait_s, most=10),
            http=reader.address("RMBG_HTTP"),
        )
        if not settings.models:
            reader.problem("RMBG_MODELS", "names no model")
        reader.finish()
        return settings
