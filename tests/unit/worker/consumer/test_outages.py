"""What a job shows, and how its tickets rest, while a bucket is down."""

import threading

import pytest
from support.engine_harness import patient_breakers
from support.stand_ins import Valve
from support.until import until

from shared.errors import StoreUnavailable
from shared.job.spec import JobState
from worker.consumer.range_runner import QUIET_S
from worker.engine.circuit_breaker import CircuitBreakers, Direction
from worker.engine.failure_policy import RetryLimits
from worker.engine.store_access import SLOW_S


def impatient_breakers():
    return CircuitBreakers(probe_s=0.01, patience_s=dict.fromkeys(Direction, 0.0))


def end_rests(consumer):
    """Make all delayed tickets due, and publish them."""
    client = consumer.store.connection.client
    for member in client.zrange("rmbg:parked", 0, -1):
        client.zadd("rmbg:parked", {member: 0})
    consumer.published += consumer.store.fleet.recover(empty_queues=())


def rest_s(consumer):
    """Return how long the only delayed ticket rests, in seconds."""
    client = consumer.store.connection.client
    [(_, until_ms)] = client.zrange("rmbg:parked", 0, -1, withscores=True)
    seconds, micros = client.time()
    return until_ms / 1000 - seconds - micros / 1e6


@pytest.mark.parametrize("call", ["get", "put"])
def test_the_rest_of_a_ticket_doubles_while_its_bucket_is_down(consumers, call):
    """5, 10, 20, 40, 60, 60 s; the reason is shown throughout."""
    consumer = consumers(breakers=impatient_breakers())
    job_id = consumer.submit(8)
    consumer.harness.fail_store(call, "check" if call == "get" else call, times=10**9)
    rests = []
    for _ in range(6):
        consumer.serve()
        assert "injected" in consumer.waiting_for(job_id)
        assert consumer.waiting_for(job_id).startswith("object store: ")
        rests.append(rest_s(consumer))
        end_rests(consumer)

    assert [round(each) for each in rests] == [5, 10, 20, 40, 60, 60]
    assert consumer.deaths(job_id) == [None]


def test_a_job_whose_bucket_is_down_does_not_hold_back_another_one(consumers):
    """All places of the engine and all slots are taken by its items at first."""
    consumer = consumers(breakers=impatient_breakers(), max_items=4)
    bad = consumer.submit(64, input_bucket="down")
    good = consumer.submit(64, keys="good")

    def before(call, bucket, key):
        if bucket == "down":
            raise StoreUnavailable("injected", bucket=bucket, operation=call)

    consumer.objects.before = before
    slots = [threading.Thread(target=consumer.run, daemon=True) for _ in range(2)]
    for slot in slots:
        slot.start()
    for slot in slots:
        slot.join(30)

    assert consumer.store.queries.status(good).state is JobState.DONE
    status = consumer.store.queries.status(bad)
    assert (status.done, status.failed) == (0, 0)
    assert consumer.waiting_for(bad) == "object store: injected"
    assert consumer.placed("parked") == 4


def test_a_bucket_that_never_answers_holds_back_no_item_of_another_one(consumers):
    """It has half of the threads, whatever they wait for."""
    consumer = consumers(breakers=patient_breakers(), io_threads=2)
    bad = consumer.submit(8, input_bucket="down")
    good = consumer.submit(8, keys="good")
    valve = Valve()
    consumer.objects.before = lambda call, bucket, _: valve() if bucket == "down" else None
    hanging = consumer.serve_in_thread()
    for _ in range(2):
        valve.wait_for_one()

    consumer.serve()

    assert consumer.store.queries.status(good).done == 8
    status = consumer.store.queries.status(bad)
    assert (status.done, status.failed) == (0, 0)
    valve.open()
    hanging.join(30)


@pytest.mark.parametrize("direction", ["read", "write"])
def test_tickets_of_a_bucket_that_never_answers_leave_their_slots(consumers, direction):
    """Long before its requests fail: these hang until the test ends."""
    is_down = {"read": ("down", ("get", "check")), "write": ("lost", ("put",))}[direction]
    bucket = {"read": "input_bucket", "write": "output_bucket"}[direction]
    consumer = consumers(breakers=patient_breakers(), io_threads=1, max_items=20)
    bad = consumer.submit(32, **{bucket: is_down[0]})
    consumer.submit(1, keys="good")
    valve = Valve()

    def before(call, asked, _key):
        if asked == is_down[0] and call in is_down[1]:
            valve()

    if direction == "read":
        for n in range(32):
            consumer.objects.put("down", f"{n}.jpg", b"%d" % n, content_type="-")
    consumer.objects.before = before
    slots = [consumer.serve_in_thread() for _ in range(2)]

    until(lambda: consumer.placed("parked") == 1, within_s=30)

    assert consumer.waiting_for(bad).startswith("object store: ")
    assert "no answer, nor to a probe within 2 s" in consumer.waiting_for(bad)
    assert consumer.deaths(bad).count(None) == len(consumer.deaths(bad))
    valve.open()
    for slot in slots:
        slot.join(30)


@pytest.mark.parametrize("call", ["get", "put"])
def test_a_request_that_never_responds_is_shown_within_ten_seconds(consumers, call):
    """No request has failed yet, so no breaker is open."""
    assert QUIET_S + SLOW_S <= 10
    consumer = consumers(breakers=patient_breakers())
    job_id = consumer.submit(1)
    valve = Valve()
    consumer.objects.before = lambda made, *_: valve() if made == call else None

    serving = consumer.serve_in_thread()
    valve.wait_for_one()
    doing = "reading from bucket inbox" if call == "get" else "writing to bucket cutouts"
    until(lambda: consumer.waiting_for(job_id), within_s=11)
    assert consumer.waiting_for(job_id).startswith(f"object store: {doing} has taken ")

    valve.open()
    serving.join(10)
    assert consumer.waiting_for(job_id) is None


@pytest.mark.parametrize("call", ["get", "put"])
def test_requests_that_fail_are_shown_within_ten_seconds(consumers, call):
    """Also for a single image, whose attempts are too few to open a breaker so soon."""
    consumer = consumers(
        breakers=patient_breakers(max_failures=10**9),
        retries=RetryLimits(max_attempts=10**9, max_backoff_s=0.01),
    )
    job_id = consumer.submit(1)
    consumer.harness.fail_store(call, times=10**9)

    serving = consumer.serve_in_thread()
    until(lambda: consumer.waiting_for(job_id), within_s=10)
    assert "injected" in consumer.waiting_for(job_id)

    consumer.drain()
    serving.join(10)
