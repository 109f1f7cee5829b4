"""Settings of a worker: device, models, limits and timings."""

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from shared.broker.queues import CONCURRENCY
from shared.models.registry import DEFAULT, resolve
from shared.reader import Flag, Location, Names, Settings, Whole, group, seconds
from shared.settings import ServiceSettings
from shared.urls import parse_address

MEGA: Final = 1_000_000
MIB: Final = 2**20
Count: TypeAlias = Annotated[Whole, Field(ge=1)]


def _zero_is_none(value: object) -> object:
    return None if value in (0, "0") else value


def _resolved(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(resolve, names))


def _address(value: object) -> object:
    return parse_address(value) if isinstance(value, str) else value


class WorkerSettings(Settings):
    """A worker's settings; `docs/operations.md` explains how to choose them.

    What is None has a default that depends on the device: see `worker.engine.limits`.
    """

    services: ServiceSettings = group()
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N` (`RMBG_DEVICE`); a missing device is an error."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision of the network (`RMBG_PRECISION`)."""
    backend: Literal["auto", "eager", "fused", "graph", "tensorrt"] = "auto"
    """Way to run the network (`RMBG_BACKEND`); `auto` measures on a GPU."""
    models: Annotated[tuple[str, ...], Names, AfterValidator(_resolved)] = (DEFAULT,)
    """Models loaded at start (`RMBG_MODELS`); others are loaded on demand."""
    weights: Location | None = None
    """A weights file of the worker's own, for the first of `models` (`RMBG_WEIGHTS`)."""
    measure: Flag = True
    """Whether a CPU's batch size is measured at the first start, and a blank image is run at each
    (`RMBG_MEASURE`)."""
    check_services: Flag = True
    """Whether a start probes Redis and the buckets (`RMBG_CHECK_SERVICES`)."""
    per_device: Whole = Field(1, ge=1, le=8)
    """Processes of each GPU with `--devices all` (`RMBG_PER_DEVICE`)."""
    processes: Whole = Field(1, ge=1)
    """Equal workers that share this machine's cores and memory (`RMBG_PROCESSES`); `--devices all`
    sets it for the processes that it starts."""
    concurrency: Whole = Field(CONCURRENCY, ge=1, le=64)
    """Tickets processed at once, besides those in `interactive_slots` (`RMBG_CONCURRENCY`)."""
    interactive_slots: Whole | None = Field(None, ge=0, le=64)
    """Slots for interactive tickets alone (`RMBG_INTERACTIVE_SLOTS`); None: the batch size."""
    lease_s: float = seconds(30.0, least=0.5)
    """Seconds that a lease lasts without a heartbeat (`RMBG_LEASE_S`)."""
    stall_s: float = seconds(300.0, least=1)
    """Seconds without any finished stage after which leases are left to expire (`RMBG_STALL_S`)."""
    recover_s: float = seconds(1.0, least=0.05)
    """Seconds between two rounds of recovery (`RMBG_RECOVER_S`)."""
    lost_s: float = seconds(60.0, least=0.5)
    """A ticket overtaken by this many seconds counts as lost (`RMBG_LOST_S`)."""
    drain_s: float = seconds(25.0, least=1)
    """Longest time from SIGTERM to exit, in seconds (`RMBG_DRAIN_S`)."""
    batch_size: Annotated[Whole, Field(ge=1, le=256)] | None = None
    """Images in a batch at most (`RMBG_BATCH_SIZE`); None: measured on a CPU, by memory on CUDA."""
    max_items: Count | None = None
    """Items inside the engine at once (`RMBG_MAX_ITEMS`)."""
    max_pixels: Whole = Field(100 * MEGA, ge=1)
    """Largest image in pixels (`RMBG_MAX_PIXELS`)."""
    max_bytes: Whole = Field(100 * MIB, ge=1)
    """Largest source file in bytes (`RMBG_MAX_BYTES`)."""
    budget_px: Count | None = None
    """Decoded pixels in memory at once (`RMBG_BUDGET_PX`)."""
    budget_bytes: Count | None = None
    """Bytes of sources and outputs in memory at once (`RMBG_BUDGET_BYTES`)."""
    io_threads: Annotated[Whole, Field(ge=1, le=512)] | None = None
    """Downloads from one bucket at once, and as many uploads (`RMBG_IO_THREADS`)."""
    cpu_threads: Annotated[Whole, Field(ge=1, le=512)] | None = None
    """Threads that decode and encode (`RMBG_CPU_THREADS`)."""
    max_rss_bytes: Annotated[Count | None, BeforeValidator(_zero_is_none)] = None
    """Resident memory in bytes at which the process drains and exits to be restarted
    (`RMBG_MAX_RSS_BYTES`); 0 means the default."""
    store_client: Literal["obstore", "boto3"] = Field("obstore", validation_alias="RMBG_OBJECTS")
    """Client for the worker's reads and writes of images (`RMBG_OBJECTS`, `obstore` or `boto3`).
    boto3 also serves what obstore cannot."""
    batch_wait_s: float | None = seconds(None, most=10)
    """Longest time that the first item of a batch waits for others (`RMBG_BATCH_WAIT_S`)."""
    keep_previews_days: Whole = Field(90, ge=1, le=36_500)
    """Days from a job's end until its previews are deleted (`RMBG_KEEP_PREVIEWS_DAYS`)."""
    http: Annotated[tuple[str, int], BeforeValidator(_address)] | None = None
    """Address of `/metrics`, `/livez` and `/readyz` (`RMBG_HTTP`, as `host:port`)."""
