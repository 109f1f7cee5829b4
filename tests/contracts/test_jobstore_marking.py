"""Marking: an item counts when its bit changes from 0 to 1, and never again."""

import json

import pytest
from support.jobs import (
    close,
    done,
    failed,
    failed_indexes,
    feed,
    first_lease,
    grant,
    mark_all,
    submit,
)

from shared.job.record import ItemRecord
from shared.jobstore.values import MarkAnswer


@pytest.fixture
def job(store):
    return submit(store, 10)


@pytest.fixture
def lease(store, job):
    return first_lease(store)


def counts(store, job):
    status = store.queries.status(job)
    return status.done, status.failed


def test_marked_items_are_counted(store, job, lease):
    assert store.leases.mark(lease, [done(0), failed(1), done(2)]) is MarkAnswer.OK
    assert counts(store, job) == (2, 1)


def test_marking_nothing_is_allowed(store, job, lease):
    assert store.leases.mark(lease, []) is MarkAnswer.OK
    assert counts(store, job) == (0, 0)


def test_an_item_marked_twice_counts_once(store, job, lease):
    for _ in range(3):
        assert store.leases.mark(lease, [done(0), failed(1)]) is MarkAnswer.OK

    assert counts(store, job) == (1, 1)
    assert store.queries.status(job).error_classes == {"UndecodableImage": 1}
    assert store.queries.status(job).verdicts == {"good": 1}


def test_an_item_that_occurs_twice_in_a_group_counts_once(store, job, lease):
    store.leases.mark(lease, [done(0), done(0)])

    assert counts(store, job) == (1, 0)


def test_the_first_record_of_an_item_stays(store, job, lease):
    store.leases.mark(lease, [done(0)])
    store.leases.mark(lease, [failed(0)])

    assert counts(store, job) == (1, 0)
    assert [json.loads(record)["state"] for record in store.queries.open_records(job)] == ["done"]


def test_failures_are_counted_by_class_and_done_items_by_verdict(store, job, lease):
    store.leases.mark(lease, [done(0), done(1, verdict="empty"), done(2, verdict=None), done(3)])
    store.leases.mark(lease, [failed(4), failed(5, error="ObjectMissing"), failed(6)])

    status = store.queries.status(job)
    assert status.error_classes == {"UndecodableImage": 2, "ObjectMissing": 1}
    assert status.verdicts == {"good": 2, "empty": 1}


def test_the_verdict_of_a_failed_item_is_not_counted(store, job, lease):
    """Otherwise a retry would have to subtract it."""
    store.leases.mark(lease, [failed(0).model_copy(update={"qc": {"verdict": "good"}})])

    assert store.queries.status(job).verdicts == {}


def test_failed_items_are_marked_in_the_bitmap(store, job, lease):
    store.leases.mark(lease, [failed(9), done(1), failed(0)])

    assert failed_indexes(store, job) == [0, 9]


def test_records_of_open_tickets_can_be_read(store, job, lease):
    """`rmbg results --follow` shows them before their shard is written."""
    store.leases.mark(lease, [done(0), failed(1)])

    records = [ItemRecord.from_json(record) for record in store.queries.open_records(job)]
    assert sorted(record.index for record in records) == [0, 1]


def test_a_record_is_read_as_it_was_written(store, job, lease):
    record = ItemRecord(index=4, image_key='ä"\\/é☃ %d.jpg', state="done", notes=("a", "b"))
    store.leases.mark(lease, [record])

    assert [ItemRecord.from_json(text) for text in store.queries.open_records(job)] == [record]


@pytest.mark.parametrize("index", [10, 11, -1])
def test_an_item_outside_the_range_is_rejected(store, job, lease, index):
    with pytest.raises(ValueError, match="outside the range 0-10"):
        store.leases.mark(lease, [done(0), done(index)])

    assert counts(store, job) == (0, 0)


def test_items_marked_after_a_cancellation_count_and_the_worker_starts_no_more(store, job, lease):
    """Every output in the bucket has a record."""
    store.submissions.cancel(job)

    assert store.leases.mark(lease, [done(0)]) is MarkAnswer.CANCELLED
    assert counts(store, job) == (1, 0)


def test_counters_and_records_of_two_jobs_are_separate(store):
    a, b = submit(store, 10, keys="a"), submit(store, 10, keys="b")
    in_a, in_b = (grant(store, one).lease for one in feed(store))
    store.leases.mark(in_a, [done(0)])
    store.leases.mark(in_b, [failed(1), done(2)])

    assert [counts(store, job) for job in (a, b)] == [(1, 0), (1, 1)]
    assert [len(store.queries.open_records(job)) for job in (a, b)] == [1, 2]


def test_marking_a_group_takes_one_command_per_counter(store, redis_client):
    """Regardless of the number of items in the group."""
    submit(store, 16)
    [one] = feed(store)
    granted = grant(store, one)
    redis_client.config_resetstat()

    mark_all(store, granted, failing={1, 2, 3})

    assert redis_client.info("commandstats")["cmdstat_hincrby"]["calls"] <= 5
    assert close(store, granted.lease)
