"""Releases with `died=True`: a leaving process counts a death as an expired lease does."""

import pytest
from support.jobs import done, feed, first_lease, grant, mark_all, run_to_end, submit

from shared.broker.queues import INTERACTIVE, RECOVERY, SUSPECT
from shared.job.record import ItemRecord
from shared.job.spec import JobState, Priority


def die(store, issued, *, trying=None, **details):
    """Claim a ticket and leave because of a bug; return what that issues."""
    lease = grant(store, issued, "doomed").lease
    if trying is not None:
        assert store.leases.trying(lease, trying, image_key=f"{trying}.jpg")
    return store.leases.release(lease, died=True, **details)


@pytest.fixture
def one(store):
    """The only ticket of a job of ten items."""
    submit(store, 10)
    [issued] = feed(store)
    return issued


@pytest.fixture
def suspect(store, one):
    """The same ticket in the suspect queue, after two deaths."""
    [again] = die(store, one)
    [suspect] = die(store, again)
    return suspect


def test_one_death_sends_the_ticket_to_recovery(store, one):
    [again] = die(store, one)

    assert (again.ticket.unit, again.ticket.epoch, again.queue) == ("0-10", 2, RECOVERY)


def test_one_death_leaves_an_interactive_ticket_interactive(store):
    submit(store, 10, priority=Priority.INTERACTIVE)
    [one] = feed(store)

    assert [again.queue for again in die(store, one)] == [INTERACTIVE]


def test_two_deaths_send_the_ticket_to_the_suspect_queue(suspect):
    assert (suspect.ticket.epoch, suspect.queue) == (3, SUSPECT)


def test_a_death_and_an_expired_lease_add_up(make_store):
    """Both count towards the same limit."""
    store = make_store(suspect_deaths=2)
    submit(store, 10)
    lease = first_lease(store)
    [again] = store.leases.release(lease, died=True)
    lease = grant(store, again, ttl_s=-1).lease

    assert [issued.queue for issued in feed(store)] == [SUSPECT]
    assert store.leases.beat([lease], ttl_s=30) == [lease]


def test_a_release_without_a_death_does_not_count(store, one):
    [again] = die(store, one)
    [again] = store.leases.release(grant(store, again).lease)

    assert again.queue == RECOVERY


def test_a_repeated_release_counts_one_death(store, one):
    """The client repeats a command when the connection breaks."""
    lease = grant(store, one).lease
    [again] = store.leases.release(lease, died=True)

    assert store.leases.release(lease, died=True) == []
    assert again.queue == RECOVERY
    assert [issued.queue for issued in die(store, again)] == [SUSPECT]


def test_a_lost_lease_counts_no_death(store, one):
    lost = grant(store, one).lease
    [again] = store.leases.release(lost)
    assert store.leases.release(lost, died=True) == []

    assert [issued.queue for issued in die(store, again)] == [RECOVERY]


def test_three_deaths_on_one_tried_item_fail_it(store, suspect):
    [job] = store.queries.jobs()
    for _ in range(3):
        assert store.queries.status(job.job_id).failed == 0
        [suspect] = die(store, suspect, trying=6)

    claim = grant(store, suspect)
    assert claim.ended == {6}
    [record] = map(ItemRecord.from_json, store.queries.open_records(job.job_id))
    assert (record.index, record.state, record.attempts) == (6, "failed", 3)
    mark_all(store, claim)
    run_to_end(store, issued=store.leases.release(claim.lease))
    status = store.queries.status(job.job_id)
    assert (status.state, status.done, status.failed) == (JobState.DONE, 9, 1)
    assert status.error_classes == {"WorkerCrash": 1}


def test_deaths_on_different_items_fail_none_of_them(store, suspect):
    [job] = store.queries.jobs()
    for index in (1, 2, 3, 1, 2, 3):
        [suspect] = die(store, suspect, trying=index)

    assert store.queries.status(job.job_id).failed == 0


def test_a_range_without_open_items_is_not_suspected(store, one):
    """The worker died after its last mark: no item can be the cause."""
    for _ in range(4):
        lease = grant(store, one).lease
        store.leases.mark(lease, [done(i) for i in range(10)])
        [one] = store.leases.release(lease, died=True)

    assert one.queue == RECOVERY


def test_a_death_ignores_the_delay(store, one):
    """An expired ticket is issued at once as well."""
    assert [again.queue for again in die(store, one, delay_s=3600)] == [RECOVERY]


def test_a_ticket_of_a_cancelled_job_without_records_is_dropped(store, one):
    lease = grant(store, one).lease
    store.submissions.cancel(one.ticket.job_id)

    assert [issued.ticket.is_merge for issued in store.leases.release(lease, died=True)] == [True]
