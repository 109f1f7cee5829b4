"""What is done about a failed stage, as a table."""

import itertools

import pytest

from shared import errors
from shared.errors import (
    BucketUnavailable,
    DeviceFaulty,
    DeviceFull,
    DeviceLost,
    ItemError,
    RetriesExhausted,
    StoreUnavailable,
    WorkerUnfit,
)
from worker.engine.circuit_breaker import BreakerState
from worker.engine.device_state import Blame
from worker.engine.failure_policy import (
    FIRST_BACKOFF_S,
    BreakerSignal,
    Decision,
    Defer,
    End,
    Leave,
    Retry,
    RetryLimits,
    Wait,
    decide,
)
from worker.engine.shared_masks import SharedMasks
from worker.engine.stages import Forward, Upload

LIMITS = RetryLimits(max_attempts=8, max_backoff_s=30.0)
STORE_STAGE = Upload(None)
STAGES = [STORE_STAGE, Forward(SharedMasks(0))]
CLOSED, OPEN, OVERDUE = BreakerState
FLAGS = list(itertools.product([False, True], BreakerState))
"""Whether the process drains, and the state of the breaker after the failure."""


def name_of(value):
    return type(value).__name__


def subclasses(base):
    """Return *base* and the classes of `shared.errors` below it."""
    found = [each for each in vars(errors).values() if isinstance(each, type)]
    return [each for each in found if issubclass(each, base)]


def decided(
    stage, error, *, attempts=0, draining=False, breaker=CLOSED, full_s=60.0, blame=Blame.IMAGE
):
    return decide(
        stage,
        error,
        attempts,
        LIMITS,
        is_draining=draining,
        breaker_after=breaker,
        device_full_s=full_s,
        blame=blame,
    )


@pytest.mark.parametrize(("draining", "breaker"), FLAGS)
@pytest.mark.parametrize("attempts", [0, 7, 8])
@pytest.mark.parametrize("stage", STAGES, ids=name_of)
@pytest.mark.parametrize("kind", subclasses(ItemError))
def test_an_item_error_ends_the_item_and_shows_that_the_bucket_answers(
    kind, stage, attempts, draining, breaker
):
    error = kind("simulated")
    signal = BreakerSignal.ANSWERED if stage is STORE_STAGE else BreakerSignal.NONE

    decision = decided(stage, error, attempts=attempts, draining=draining, breaker=breaker)

    assert decision == Decision(End(error), signal)


@pytest.mark.parametrize(("draining", "breaker"), FLAGS)
@pytest.mark.parametrize("attempts", [0, 8])
@pytest.mark.parametrize("stage", STAGES, ids=name_of)
def test_a_missing_bucket_defers_the_item_and_names_the_bucket(stage, attempts, draining, breaker):
    error = BucketUnavailable("inbox is missing")

    decision = decided(stage, error, attempts=attempts, draining=draining, breaker=breaker)

    assert decision == Decision(Defer("bucket: inbox is missing"))


@pytest.mark.parametrize("stage", STAGES, ids=name_of)
@pytest.mark.parametrize(
    ("attempts", "breaker", "action"),
    [
        (0, CLOSED, Retry(2 * FIRST_BACKOFF_S)),
        (1, CLOSED, Retry(4 * FIRST_BACKOFF_S)),
        (6, CLOSED, Retry(30.0)),
        (0, OPEN, Wait()),
        (7, OPEN, Wait()),
        (0, OVERDUE, Defer("object store: 503", is_outage=True)),
        (7, OVERDUE, Defer("object store: 503", is_outage=True)),
    ],
)
def test_an_unavailable_store_is_tried_again(stage, attempts, breaker, action):
    """An attempt counts only while the breaker stays closed."""
    decision = decided(stage, StoreUnavailable("503"), attempts=attempts, breaker=breaker)

    assert decision == Decision(action, BreakerSignal.FAILED)


@pytest.mark.parametrize("stage", STAGES, ids=name_of)
@pytest.mark.parametrize("breaker", BreakerState)
@pytest.mark.parametrize(("attempts", "cap_s"), [(0, 0.5), (1, 1.0), (6, 30.0)])
def test_a_lack_of_memory_is_tried_again_and_always_counts(stage, breaker, attempts, cap_s):
    decision = decided(stage, MemoryError(), attempts=attempts, breaker=breaker)

    assert decision == Decision(Retry(cap_s))


@pytest.mark.parametrize(
    ("error", "attempts", "breaker", "signal"),
    [
        (StoreUnavailable("503"), 7, CLOSED, BreakerSignal.FAILED),
        (MemoryError("503"), 7, CLOSED, BreakerSignal.NONE),
        (MemoryError("503"), 7, OPEN, BreakerSignal.NONE),
    ],
)
@pytest.mark.parametrize("stage", STAGES, ids=name_of)
def test_the_last_attempt_ends_the_item(stage, error, attempts, breaker, signal):
    decision = decided(stage, error, attempts=attempts, breaker=breaker)

    assert decision.breaker is signal
    assert isinstance(decision.action, End)
    assert isinstance(decision.action.error, RetriesExhausted)
    assert str(decision.action.error) == "8 attempts failed, the last with: 503"


@pytest.mark.parametrize("breaker", BreakerState)
@pytest.mark.parametrize("attempts", [0, 7, 8])
@pytest.mark.parametrize("stage", STAGES, ids=name_of)
@pytest.mark.parametrize(
    ("error", "signal"),
    [(StoreUnavailable("503"), BreakerSignal.FAILED), (MemoryError(), BreakerSignal.NONE)],
    ids=name_of,
)
def test_nothing_is_tried_again_while_the_process_drains(error, signal, stage, attempts, breaker):
    decision = decided(stage, error, attempts=attempts, draining=True, breaker=breaker)

    assert decision == Decision(Defer(), signal)


@pytest.mark.parametrize(("draining", "breaker"), FLAGS)
@pytest.mark.parametrize("attempts", [0, 8])
@pytest.mark.parametrize("stage", STAGES, ids=name_of)
@pytest.mark.parametrize("kind", subclasses(WorkerUnfit))
def test_an_unfit_worker_leaves(kind, stage, attempts, draining, breaker):
    assert DeviceLost in subclasses(WorkerUnfit)
    error = kind("gone")
    action = Defer() if kind is DeviceFull and draining else Leave(error)

    decision = decided(stage, error, attempts=attempts, draining=draining, breaker=breaker)

    assert decision == Decision(action)


@pytest.mark.parametrize("attempts", [0, 7, 8])
def test_an_item_waits_for_memory_of_the_device_for_a_minute_at_no_cost(attempts):
    """Every image enters the network at the same size, so no image is the cause."""
    error = DeviceFull("another process holds it")

    assert decided(STAGES[1], error, attempts=attempts, full_s=59.9) == Decision(Wait())
    assert decided(STAGES[1], error, attempts=attempts, full_s=60.0) == Decision(Leave(error))


@pytest.mark.parametrize(("draining", "breaker"), FLAGS)
@pytest.mark.parametrize("stage", STAGES, ids=name_of)
@pytest.mark.parametrize("kind", [ValueError, KeyError, OSError, errors.RedisUnavailable])
def test_an_unknown_error_ends_the_item_and_says_nothing_of_the_bucket(
    kind, stage, draining, breaker
):
    error = kind("unexpected")

    assert decided(stage, error, draining=draining, breaker=breaker) == Decision(End(error))


@pytest.mark.parametrize("kind", [ValueError, errors.InferenceFailed])
def test_an_item_waits_until_it_is_known_whether_the_device_is_to_blame(kind):
    decision = decided(STAGES[1], kind("odd"), blame=Blame.UNKNOWN)

    assert decision == Decision(Wait())
    assert decided(STAGES[1], kind("odd"), blame=Blame.UNKNOWN, draining=True) == Decision(Defer())


@pytest.mark.parametrize("kind", [ValueError, errors.InferenceFailed])
@pytest.mark.parametrize("draining", [False, True])
def test_a_device_that_is_to_blame_makes_the_worker_leave(kind, draining):
    action = decided(STAGES[1], kind("odd"), blame=Blame.DEVICE, draining=draining).action

    assert isinstance(action, Leave)
    assert isinstance(action.error, DeviceFaulty)
    assert str(action.error) == "image after image fails, the last one with: odd"
