"""What gateways delete: uploads after a week, unless an open job names them."""

from datetime import UTC, datetime, timedelta

import pytest
from support.memory_store import MemoryStore

from producer.gateway.housekeeping import Housekeeping
from shared.job.notes import SUBMITTED, uploaded_key
from shared.job.upload_keys import upload_key

NOW = datetime(2026, 8, 20, 12, tzinfo=UTC)


@pytest.fixture
def store():
    """A store with uploads of two tenants on several days, and other objects."""
    store = MemoryStore()
    for tenant in ("shop", "other"):
        for day in ("2026-08-01", "2026-08-12", "2026-08-13", "2026-08-20"):
            store.put("out", uploaded_key(tenant, day), b"", content_type="text/plain")
            for nonce in ("0a", "0b"):
                key = upload_key(tenant, day, nonce, "a.jpg")
                store.put("up", key, b"1", content_type="image/jpeg")
    store.put("up", "shop/2026-08-01/a.jpg", b"1", content_type="image/jpeg")
    return store


def left(store, is_needed=lambda _tenant: False):
    Housekeeping(store, "out", "up", is_needed, now=lambda: NOW).round()
    return {tuple(key.split("/")[:3:2]) for key in store.keys("up")}


def test_uploads_are_deleted_after_a_week(store):
    days = left(store)

    assert days == {
        (tenant, day) for tenant in ("shop", "other") for day in ("2026-08-13", "2026-08-20")
    } | {("shop", "a.jpg")}
    assert sorted(store.keys("out")) == sorted(
        uploaded_key(tenant, day)
        for tenant in ("shop", "other")
        for day in ("2026-08-13", "2026-08-20")
    )


def test_uploads_of_an_open_job_stay_until_it_has_ended(store):
    days = left(store, is_needed=lambda tenant: tenant == "shop")
    assert ("shop", "2026-08-01") in days
    assert ("other", "2026-08-01") not in days

    assert ("shop", "2026-08-01") not in left(store)


def test_what_became_of_a_submission_is_kept_for_a_week():
    store = MemoryStore()
    store.put("out", f"{SUBMITTED}/idem-1", b"{}", content_type="application/json")
    [written] = store.list("out", "")

    def look(after):
        now = written.modified_at + after
        Housekeeping(store, "out", "out", lambda _tenant: False, now=lambda: now).round()
        return store.keys("out")

    assert look(timedelta(days=6, hours=23))
    assert not look(timedelta(days=7, seconds=1))
