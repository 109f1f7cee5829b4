"""What a job without progress says about its buckets."""

import threading
from contextlib import contextmanager

import pytest
from support.jobs import spec

from shared.errors import BucketUnavailable, StoreUnavailable
from worker.engine.circuit_breaker import CircuitBreakers, Direction, Target
from worker.engine.inflight import InFlight
from worker.engine.item import ItemRequest
from worker.engine.payloads import Queued
from worker.engine.stage import Executor, Step, StoreStage
from worker.engine.store_access import FAULT_S, RECENT_S, SILENT_S, StoreAccess
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


class Asking(StoreStage):
    """A stage that reads from the input bucket; *faults* are raised by its next probes."""

    name = "asking"
    accepts = Queued
    executor = Executor.DOWNLOAD
    direction = Direction.READ

    def __init__(self, *faults):
        self.faults, self.probes = list(faults), 0

    def run(self, item, payload):
        raise NotImplementedError

    def bucket(self, item):
        return item.request.spec.input_bucket

    def probe(self, item):
        self.probes += 1
        if self.faults:
            raise self.faults.pop(0)


def step(stage, bucket="inbox"):
    request = ItemRequest(
        job_id="j", sequence=1, spec=spec(input_bucket=bucket), index=0, image_key="k", model=None
    )
    return Step(InFlight(1).enter(request, None, timeout_s=0), stage, Queued())


@contextmanager
def in_another_thread(access, asked):
    """Have another thread ask in the meantime."""
    asking, end = threading.Event(), threading.Event()

    def ask():
        with access.asking(asked):
            asking.set()
            assert end.wait(10)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    assert asking.wait(10)
    yield
    end.set()
    thread.join(10)


def test_a_bucket_is_silent_once_no_request_has_ended_for_some_time(access, clock):
    first = step(Asking())
    with access.asking(first):
        clock.now_s = SILENT_S - 0.1
        assert access.silent() == []
        clock.now_s = SILENT_S
        assert access.silent() == [first]

    assert access.silent() == []


def test_a_large_object_does_not_make_a_bucket_silent(access, clock):
    slow = step(Asking())
    with in_another_thread(access, slow):
        clock.now_s = 100 * SILENT_S
        with access.asking(step(Asking())):
            pass
        assert access.silent() == []


def test_one_silent_bucket_is_named_once(access, clock):
    down, other = step(Asking(), "down"), step(Asking(), "other")
    with in_another_thread(access, down), in_another_thread(access, step(Asking(), "down")):
        clock.now_s = SILENT_S
        with in_another_thread(access, other):
            assert [each.share.bucket for each in access.silent()] == ["down"]


def test_a_silent_bucket_that_answers_a_probe_has_no_fault(access):
    assert access.fault_of(step(Asking())) is None
    assert access.fault_of(step(Asking(BucketUnavailable("forbidden")))) is None


def test_the_fault_of_a_silent_bucket_counts_for_some_time(access, clock):
    stage = Asking(StoreUnavailable("no answer"))
    clock.now_s = 7.0

    assert access.fault_of(step(stage)) == "object store: no answer"
    clock.now_s += FAULT_S - 0.1
    assert access.fault_of(step(stage)) == "object store: no answer"
    assert stage.probes == 1
    clock.now_s += 0.1
    assert access.fault_of(step(stage)) is None
    assert stage.probes == 2


def test_an_answer_ends_the_fault_of_a_bucket(access):
    asked = step(Asking(StoreUnavailable("no answer")))
    assert access.fault_of(asked) is not None

    with access.asking(asked):
        pass

    assert access.fault_of(asked) is None
