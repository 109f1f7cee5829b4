"""What a job without progress says about its buckets."""

import pytest
from support.jobs import spec

from worker.engine.circuit_breaker import CircuitBreakers, Direction, Target
from worker.engine.store_access import RECENT_S, StoreAccess
from worker.lifecycle import FailureCounter, Shutdown


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def access(clock):
    return StoreAccess(CircuitBreakers(clock=clock), FailureCounter("probe", Shutdown()), clock)


BUCKETS = [
    Target("inbox", Direction.READ),
    Target("cutouts", Direction.READ),
    Target("cutouts", Direction.WRITE),
]


@pytest.mark.parametrize("target", BUCKETS, ids=str)
def test_the_latest_failure_of_a_bucket_of_the_job_is_named(access, target):
    access.breakers.of(target).failed("503 Slow Down")

    assert access.trouble(spec()) == "object store: 503 Slow Down"
    access.breakers.of(target).answered()
    assert access.trouble(spec()) is None


@pytest.mark.parametrize(
    "target", [Target("other", Direction.READ), Target("inbox", Direction.WRITE)], ids=str
)
def test_a_failure_that_does_not_concern_the_job_is_not_named(access, target):
    access.breakers.of(target).failed("503")

    assert access.trouble(spec()) is None


def test_an_old_failure_is_no_reason(access, clock):
    """Nobody has asked the bucket since: whatever the job waits for now is something else."""
    access.breakers.of(BUCKETS[1]).failed("503")
    clock.now_s = RECENT_S

    assert access.trouble(spec()) is None
