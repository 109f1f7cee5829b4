"""Events of items: written while somebody listens, numbered without gaps."""

from support.jobs import done, failed, first_lease, run_to_end, submit

from shared.jobstore.item_events import Position

START = Position(1, 0)


def positions(store, job, after=START):
    return [str(event.position) for event in store.item_events.after({job: after}).get(job, [])]


def test_nothing_is_written_while_nobody_listens(store, redis_client):
    submit(store, 3)
    run_to_end(store)

    assert redis_client.keys("*:told") == []


def test_ends_are_numbered_within_the_generation(store):
    job = submit(store, 4)
    store.item_events.listen([job])
    lease = first_lease(store)

    store.leases.mark(lease, [done(2)])
    store.leases.mark(lease, [done(2), failed(0)])
    store.leases.mark(lease, [done(1)])

    events = store.item_events.after({job: START})[job]
    assert [str(each.position) for each in events] == ["1.1", "1.2", "1.3"]
    assert [(each.index, each.state) for each in events] == [
        (2, "done"),
        (0, "failed"),
        (1, "done"),
    ]
    assert events[1].error
    assert positions(store, job, Position(1, 2)) == ["1.3"]


def test_what_ended_before_somebody_listened_is_a_gap(store):
    job = submit(store, 4)
    lease = first_lease(store)
    store.leases.mark(lease, [done(0)])
    store.item_events.listen([job])

    store.leases.mark(lease, [done(1)])

    assert positions(store, job) == ["1.2"]
    assert not START.precedes(Position(1, 2))


def test_a_stream_and_its_key_expire(store, redis_client):
    job = submit(store, 1)
    store.item_events.listen([job])
    run_to_end(store)

    assert 0 < redis_client.pttl(f"rmbg:job:{job}:listened") <= 30_000
    assert 0 < redis_client.pttl(f"rmbg:job:{job}:told") <= 600_000


def test_an_event_that_exists_already_changes_no_result(store, redis_client):
    """Redis has lost recent writes but not the stream."""
    job = submit(store, 2)
    store.item_events.listen([job])
    redis_client.xadd(f"rmbg:job:{job}:told", {"index": 0}, id="1-9")

    run_to_end(store)

    assert store.queries.status(job).done == 2
