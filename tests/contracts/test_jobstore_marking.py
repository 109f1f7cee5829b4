"""Marking: an item counts when its bit goes from 0 to 1, and never again."""

import json
from dataclasses import replace

import pytest
from support.jobs import close, done, failed, feed, first_lease, grant, mark_all, submit

from shared.job.record import ItemRecord
from shared.jobstore.values import MarkAnswer


@pytest.fixture
def job(store):
    return submit(store, 10)


@pytest.fixture
def lease(store, job):
    return first_lease(store)


def counts(store, job):
    status = store.status(job)
    return status.done, status.failed


def test_marked_items_are_counted(store, job, lease):
    assert store.mark(lease, [done(0), failed(1), done(2)]) is MarkAnswer.OK
    assert counts(store, job) == (2, 1)


def test_marking_nothing_is_allowed(store, job, lease):
    assert store.mark(lease, []) is MarkAnswer.OK
    assert counts(store, job) == (0, 0)


def test_an_item_that_is_marked_twice_counts_once(store, job, lease):
    for _ in range(3):
        assert store.mark(lease, [done(0), failed(1)]) is MarkAnswer.OK

    assert counts(store, job) == (1, 1)
    assert store.status(job).error_classes == {"UndecodableImage": 1}
    assert store.status(job).verdicts == {"good": 1}


def test_an_item_that_comes_twice_in_one_group_counts_once(store, job, lease):
    store.mark(lease, [done(0), done(0)])

    assert counts(store, job) == (1, 0)


def test_the_first_end_of_an_item_stands(store, job, lease):
    store.mark(lease, [done(0)])
    store.mark(lease, [failed(0)])

    assert counts(store, job) == (1, 0)
    assert [json.loads(record)["state"] for record in store.open_records(job)] == ["done"]


def test_failures_are_counted_by_class_and_done_items_by_verdict(store, job, lease):
    store.mark(lease, [done(0), done(1, verdict="empty"), done(2, verdict=None), done(3)])
    store.mark(lease, [failed(4), failed(5, error="ObjectMissing"), failed(6)])

    status = store.status(job)
    assert status.error_classes == {"UndecodableImage": 2, "ObjectMissing": 1}
    assert status.verdicts == {"good": 2, "empty": 1}


def test_a_failed_items_verdict_is_not_counted(store, job, lease):
    """Or a retry would have to take it back."""
    store.mark(lease, [replace(failed(0), qc={"verdict": "good"})])

    assert store.status(job).verdicts == {}


def test_failed_items_can_be_listed(store, job, lease):
    store.mark(lease, [failed(9), done(1), failed(0)])

    assert list(store.failed_indexes(job)) == [0, 9]


def test_failed_items_are_listed_from_a_bitmap_of_any_length(store):
    job = submit(store, 600_000)
    failing = {0, 7, 8, 524_287, 524_288, 599_999}
    for index in failing:
        store._client.setbit(f"rmbg:job:{job}:failed", index, 1)

    assert list(store.failed_indexes(job)) == sorted(failing)


def test_no_failed_item_makes_an_empty_list(store, job):
    assert list(store.failed_indexes(job)) == []


def test_records_of_open_tickets_can_be_read(store, job, lease):
    """`rmbg results --follow` shows them before their shard is written."""
    store.mark(lease, [done(0), failed(1)])

    records = [ItemRecord.from_json(record) for record in store.open_records(job)]
    assert sorted(record.index for record in records) == [0, 1]


def test_a_record_comes_back_as_it_was_written(store, job, lease):
    record = ItemRecord(index=4, image_key='ä"\\/é☃ %d.jpg', state="done", notes=("a", "b"))
    store.mark(lease, [record])

    assert [ItemRecord.from_json(text) for text in store.open_records(job)] == [record]


@pytest.mark.parametrize("index", [10, 11, -1])
def test_an_item_of_another_range_is_refused(store, job, lease, index):
    with pytest.raises(ValueError, match="is not of 0-10"):
        store.mark(lease, [done(0), done(index)])

    assert counts(store, job) == (0, 0)


def test_what_is_marked_after_a_cancellation_counts_and_nothing_new_shall_start(store, job, lease):
    """A picture in the bucket has a record."""
    store.cancel(job)

    assert store.mark(lease, [done(0)]) is MarkAnswer.CANCELLED
    assert counts(store, job) == (1, 0)


def test_counters_and_records_do_not_mix_between_jobs(store):
    a, b = submit(store, 10, keys="a"), submit(store, 10, keys="b")
    in_a, in_b = (grant(store, one).lease for one in feed(store))
    store.mark(in_a, [done(0)])
    store.mark(in_b, [failed(1), done(2)])

    assert [counts(store, job) for job in (a, b)] == [(1, 0), (1, 1)]
    assert [len(store.open_records(job)) for job in (a, b)] == [1, 2]


def test_marking_a_group_costs_one_command_for_each_counter(store, redis_client):
    """However many items the group has."""
    submit(store, 16)
    [one] = feed(store)
    granted = grant(store, one)
    redis_client.config_resetstat()

    mark_all(store, granted, failing={1, 2, 3})

    assert redis_client.info("commandstats")["cmdstat_hincrby"]["calls"] <= 5
    assert close(store, granted.lease)
