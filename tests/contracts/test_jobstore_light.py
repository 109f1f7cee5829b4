"""Light jobs: their only ticket, their end, and who is told."""

import pytest
from support.jobs import done, failed, feed, grant, spec
from support.until import until

from shared.errors import JobConflict, UnknownJob
from shared.job.features import LIGHT
from shared.job.spec import JobState, Priority
from shared.jobstore.light import Endings
from shared.jobstore.values import MarkAnswer, RefusalReason, Refused

LIGHT_SPEC = {"light": True, "priority": Priority.INTERACTIVE, "needs": (LIGHT,), "tenant": "shop"}


def submit(store, job="light-1", *, keys=("a.jpg",), identity="x", channel="rmbg:endings:t"):
    """Submit a light job; return its ticket, if it is new."""
    return store.light.submit(
        job, spec(**LIGHT_SPEC), list(keys), identity=identity, channel=channel
    )


def test_a_light_job_ends_with_its_last_image(store):
    [one] = submit(store)
    claim = grant(store, one)
    assert claim.spec.light
    assert store.light.result("light-1").state is JobState.RUNNING

    assert store.leases.mark(claim.lease, [done(0)]) is MarkAnswer.DONE

    result = store.light.result("light-1")
    assert (result.state, result.has_ended) == (JobState.DONE, True)
    assert [record.image_key for record in result.records] == ["0.jpg"]
    assert store.queries.status("light-1").done == 1
    assert store.leases.claim(one.ticket, "w", ttl_s=30) == Refused(RefusalReason.GONE)
    assert feed(store) == []


def test_records_are_known_as_they_come_and_in_order(store):
    [one] = submit(store, keys=("a.jpg", "b.jpg", "c.jpg"))
    claim = grant(store, one)
    assert store.leases.mark(claim.lease, [failed(2)]) is MarkAnswer.OK
    assert [record.index for record in store.light.result("light-1").records] == [2]

    assert store.leases.mark(claim.lease, [done(1), done(0)]) is MarkAnswer.DONE

    assert [record.index for record in store.light.result("light-1").records] == [0, 1, 2]


def test_a_repetition_joins_and_another_image_is_refused(store):
    assert len(submit(store)) == 1
    assert submit(store) == []
    with pytest.raises(JobConflict):
        submit(store, identity="y")


def test_it_is_in_no_list_and_expires(store, redis_client):
    [one] = submit(store)
    assert store.queries.jobs() == []
    assert all(redis_client.pttl(key) > 0 for key in redis_client.keys("rmbg:job:*"))
    store.leases.mark(grant(store, one).lease, [done(0)])

    kept = {redis_client.pttl(key) for key in redis_client.keys("rmbg:job:*")}
    assert 0 < min(kept) <= max(kept) <= 3_600_000


def test_a_light_job_whose_worker_dies_is_processed_by_another(store):
    [one] = submit(store)
    grant(store, one, ttl_s=0.001)
    [again] = until(lambda: feed(store))

    assert again.queue == one.queue
    assert store.leases.mark(grant(store, again, "other").lease, [done(0)]) is MarkAnswer.DONE


def test_the_third_death_on_one_image_ends_the_job(make_store):
    store = make_store(suspect_deaths=1, item_deaths=2)
    [one] = submit(store)
    grant(store, one, ttl_s=0.001)
    for _ in range(2):
        [one] = until(lambda: feed(store))
        claim = grant(store, one, ttl_s=0.001)
        store.leases.trying(claim.lease, 0, image_key="a.jpg")
    until(lambda: feed(store) or store.light.result("light-1").has_ended)

    [record] = store.light.result("light-1").records
    assert record.error["class"] == "WorkerCrash"


def test_a_cancelled_light_job_ends_without_a_merge(store):
    submit(store)
    store.submissions.cancel("light-1")

    assert store.light.result("light-1").state is JobState.CANCELLED
    assert feed(store) == []


def test_an_unknown_or_ordinary_job_is_no_light_one(store):
    with pytest.raises(UnknownJob):
        store.light.result("nothing")


def test_whoever_waits_is_told(store):
    endings = Endings(store.connection)
    endings.start()
    until(lambda: store.connection.client.pubsub_numsub(endings.channel)[0][1])
    with endings.expecting("light-1") as first, endings.expecting("light-1") as second:
        [one] = submit(store, channel=endings.channel)
        assert not first.done()
        store.leases.mark(grant(store, one).lease, [done(0)])
        first.result(timeout=30)
        second.result(timeout=30)
    endings.close()


def test_a_repetition_moves_the_message_to_the_latest_gateway(store, redis_client):
    endings = Endings(store.connection)
    endings.start()
    until(lambda: store.connection.client.pubsub_numsub(endings.channel)[0][1])
    [one] = submit(store, channel="rmbg:endings:dead")
    with endings.expecting("light-1") as future:
        submit(store, channel=endings.channel)
        store.leases.mark(grant(store, one).lease, [done(0)])
        future.result(timeout=30)
    endings.close()
