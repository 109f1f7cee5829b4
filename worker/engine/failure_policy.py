"""Decide what to do about a failed stage: a pure function from the error to a decision."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, TypeAlias

from shared.errors import (
    BucketUnavailable,
    DeviceFaulty,
    DeviceFull,
    ItemError,
    RetriesExhausted,
    StoreUnavailable,
    WorkerUnfit,
)
from shared.objects.protocol import WAITING_FOR
from worker.engine.circuit_breaker import BreakerState
from worker.engine.device_state import Blame
from worker.engine.stage import Stage, StoreStage

FIRST_BACKOFF_S: Final = 0.25
"""Doubled with each attempt that counts."""


@dataclass(frozen=True, kw_only=True)
class RetryLimits:
    """How often and at what intervals the engine retries an item."""

    max_attempts: int = 8
    """Attempts of one item at a transient error; while the breaker is open none is counted."""
    max_backoff_s: float = 30.0
    device_full_s: float = 60.0
    """How long items wait for memory of the device before the process leaves."""
    device_again_s: float = 1.0
    """How long an item waits before the device is tried again, also after a failure of which it is
    not known whether the item is the cause."""


@dataclass(frozen=True)
class Retry:
    """Run the stage again after a random delay of at most *cap_s* seconds: one attempt more."""

    cap_s: float


@dataclass(frozen=True)
class Wait:
    """Run the stage again a little later: the item is not the cause, so this was no attempt."""


@dataclass(frozen=True)
class End:
    """Record the item as failed."""

    error: BaseException


@dataclass(frozen=True)
class Defer:
    """Defer the item, without a record; the job waits for *reason*, if there is one."""

    reason: str | None = None
    is_outage: bool = False
    """Whether a service is down, so that the ticket rests longer each time."""


@dataclass(frozen=True)
class Leave:
    """Defer the item and leave the process: it cannot do any more work."""

    error: WorkerUnfit


Action: TypeAlias = Retry | Wait | End | Defer | Leave


class BreakerSignal(Enum):
    """What the error shows about the bucket that the stage asked."""

    NONE = auto()
    ANSWERED = auto()
    FAILED = auto()


@dataclass(frozen=True)
class Decision:
    """What to do with the item, after the circuit breaker got its signal."""

    action: Action
    breaker: BreakerSignal = BreakerSignal.NONE


def decide(
    stage: Stage[Any],
    error: BaseException,
    attempts: int,
    limits: RetryLimits,
    *,
    is_draining: bool,
    breaker_after: BreakerState,
    device_full_s: float = 0.0,
    blame: Blame = Blame.IMAGE,
) -> Decision:
    """Return what to do about *error*.

    Args:
        stage: The stage that raised it.
        error: What it raised.
        attempts: Failed attempts of the item so far that count.
        limits: How often to retry.
        is_draining: Whether the process is leaving, so that nothing is tried again.
        breaker_after: State of the bucket's breaker once this failure is noted.
        device_full_s: How long the device has had no memory for one image.
        blame: What is to blame for a failure of the network on one image.
    """
    action: Action
    signal = BreakerSignal.NONE
    match error:
        case ItemError() if isinstance(stage, StoreStage):
            action, signal = End(error), BreakerSignal.ANSWERED
        case BucketUnavailable():
            action = Defer(f"bucket: {error}")
        case StoreUnavailable():
            action = _after_outage(error, attempts, limits, is_draining, breaker_after)
            signal = BreakerSignal.FAILED
        case MemoryError():
            action = _retry(error, attempts, limits, is_draining)
        case DeviceFull() if is_draining:
            action = Defer()
        case DeviceFull() if device_full_s < limits.device_full_s:
            action = Wait()
        case WorkerUnfit():
            action = Leave(error)
        case _:
            action = _blamed(error, blame, is_draining)
    return Decision(action, signal)


def _blamed(
    error: BaseException,
    blame: Blame,
    is_draining: bool,  # noqa: FBT001 - one of the facts
) -> Action:
    match blame:
        case Blame.IMAGE:
            return End(error)
        case Blame.UNKNOWN:
            return Defer() if is_draining else Wait()
        case Blame.DEVICE:
            return Leave(DeviceFaulty(f"image after image fails, the last one with: {error}"))


def _after_outage(
    error: StoreUnavailable,
    attempts: int,
    limits: RetryLimits,
    is_draining: bool,  # noqa: FBT001 - one of the facts
    breaker_after: BreakerState,
) -> Action:
    match breaker_after:
        case BreakerState.OPEN if not is_draining:
            return Wait()
        case BreakerState.OVERDUE if not is_draining:
            return Defer(f"{WAITING_FOR}: {error}", is_outage=True)
        case _:
            return _retry(error, attempts, limits, is_draining)


def _retry(
    error: BaseException,
    attempts: int,
    limits: RetryLimits,
    is_draining: bool,  # noqa: FBT001 - one of the facts
) -> Action:
    if is_draining:
        return Defer()
    attempts += 1
    if attempts >= limits.max_attempts:
        return End(RetriesExhausted(f"{attempts} attempts failed, the last with: {error}"))
    return Retry(min(limits.max_backoff_s, FIRST_BACKOFF_S * 2**attempts))
