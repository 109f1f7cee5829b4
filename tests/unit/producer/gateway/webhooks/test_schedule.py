"""When a delivery is attempted again, and when it ends."""

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from producer.gateway.webhooks.schedule import (
    ATTEMPT,
    DELAYS,
    JITTER,
    LONGEST,
    MAX_ATTEMPTS,
    Accepted,
    Failed,
    Gone,
    begun,
    ended,
    is_due,
)
from producer.gateway.webhooks.sender import TIMEOUT_S, outcome_of
from shared.webhooks import Delivery, DeliveryState

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
DELIVERY = Delivery(
    webhook_id="wh_0",
    job_id="job",
    generation=1,
    tenant="shop",
    event="job.done",
    url="https://shop.example/secret",
    body="{}",
    created_at=NOW,
    next_at=NOW,
)
FAILED = Failed("the receiver answered 500")


def test_ten_attempts_within_about_three_days():
    delivery, now, rng = DELIVERY, NOW, random.Random(1)
    while is_due(delivery, now):
        delivery = ended(begun(delivery, now), FAILED, now, rng)
        now = delivery.next_at

    assert delivery.attempts == MAX_ATTEMPTS == 10
    assert delivery.state is DeliveryState.DEAD
    assert delivery.error == FAILED.reason
    assert timedelta(days=2.5) < delivery.ended_at - NOW < timedelta(days=4)


def test_delays_grow_and_differ_between_deliveries():
    seen = set()
    for attempt, delay in enumerate(DELAYS, 1):
        for seed in range(20):
            tried = DELIVERY.model_copy(update={"attempts": attempt})
            after = ended(tried, FAILED, NOW, random.Random(seed))
            seen.add(after.next_at)
            assert delay * (1 - JITTER) <= after.next_at - NOW <= delay * (1 + JITTER)
    assert len(seen) == 20 * len(DELAYS)


def test_an_attempt_belongs_to_one_gateway_and_is_due_again_if_that_ends():
    taken = begun(DELIVERY, NOW)

    assert taken.attempts == 1
    assert not is_due(taken, NOW + ATTEMPT - timedelta(milliseconds=1))
    assert is_due(taken, NOW + ATTEMPT)
    assert timedelta(seconds=TIMEOUT_S) < ATTEMPT


@pytest.mark.parametrize(
    ("outcome", "state", "error"),
    [
        (Accepted(), DeliveryState.DELIVERED, None),
        (Gone("410"), DeliveryState.DEAD, "410"),
        (FAILED, DeliveryState.PENDING, FAILED.reason),
    ],
)
def test_what_follows_an_attempt(outcome, state, error):
    after = ended(begun(DELIVERY, NOW), outcome, NOW, random.Random(1))

    assert (after.state, after.error) == (state, error)
    assert (after.ended_at is None) == (state is DeliveryState.PENDING)
    assert not is_due(after, NOW)


@pytest.mark.parametrize("asked", [timedelta(hours=1), timedelta(days=30)])
def test_a_receiver_may_ask_for_a_longer_wait_but_not_for_ever(asked):
    after = ended(begun(DELIVERY, NOW), Failed("429", asked), NOW, random.Random(1))

    assert after.next_at == NOW + min(asked, LONGEST)


def test_a_receiver_cannot_ask_for_a_shorter_wait():
    tried = DELIVERY.model_copy(update={"attempts": 4})

    after = ended(tried, Failed("429", timedelta(seconds=1)), NOW, random.Random(1))

    assert after.next_at > NOW + timedelta(hours=1)


def test_a_delivery_that_is_begun_again_has_all_attempts():
    dead = DELIVERY.model_copy(update={"state": DeliveryState.DEAD, "attempts": 10})

    again = dead.again(NOW)

    assert is_due(again, NOW)
    assert (again.attempts, again.ended_at) == (0, None)
    assert again.webhook_id == dead.webhook_id


@pytest.mark.parametrize(
    ("status", "retry_after", "outcome"),
    [
        (200, "", Accepted()),
        (204, "9", Accepted()),
        (410, "", Gone("the receiver answered 410")),
        (500, "60", Failed("the receiver answered 500")),
        (302, "", Failed("the receiver answered 302")),
        (404, "", Failed("the receiver answered 404")),
        (429, "120", Failed("the receiver answered 429", timedelta(minutes=2))),
        (503, "120", Failed("the receiver answered 503", timedelta(minutes=2))),
        (
            503,
            format_datetime(NOW + timedelta(hours=1), usegmt=True),
            Failed("the receiver answered 503", timedelta(hours=1)),
        ),
        (429, "soon", Failed("the receiver answered 429")),
        (429, "", Failed("the receiver answered 429")),
        (429, "9" * 400, Failed("the receiver answered 429", timedelta(seconds=10**6))),
    ],
)
def test_what_an_answer_means(status, retry_after, outcome):
    assert outcome_of(status, {"retry-after": retry_after}, NOW) == outcome


def test_an_address_is_not_shown():
    """It may hold a secret."""
    assert "secret" not in repr(DELIVERY)
