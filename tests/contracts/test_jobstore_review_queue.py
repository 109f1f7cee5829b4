"""The queue of images that people decide about: who gets which, and for how long."""

import threading
from datetime import UTC, datetime

import pytest
from support.redis_clock import ClockedRedis

from shared.job.doubts import Doubt
from shared.job.review import Choice, Decision, Review, StoredReview
from shared.jobstore.connection import Connection
from shared.jobstore.review_queue import LEASE_S, QueuedDoubt, Wanted
from shared.jobstore.store import JobStore

JOB = {"j": 1}
START_S = 1_800_000_000


@pytest.fixture
def client(redis_server, redis_client):
    """A client whose scripts read the test's time."""
    with ClockedRedis.from_url(redis_server.url) as client:
        client.set_time(START_S)
        yield client


@pytest.fixture
def store(client):
    """A job store on the test's time."""
    return JobStore(Connection(client))


@pytest.fixture
def queue(store):
    """The queue of job `j`: images 0 to 9, of which 9 is the most doubtful."""
    store.review_queue.fill("j", 1, [doubt(index) for index in reversed(range(10))])
    return store.review_queue


def doubt(index, *, level=None, is_decided=False, outdated=0, **facts):
    given = {"verdict": "review", "checks": ("coverage",), **facts}
    level = index + 1 if level is None else level
    return QueuedDoubt(Doubt(index=index, doubt=level, **given), is_decided, outdated)


def review(index, *choices):
    history = tuple(
        Decision(
            decision=each, who="a", at=datetime(2026, 1, 1, tzinfo=UTC), generation=1, etag="e"
        )
        for each in choices
    )
    return StoredReview(etag=f"e{len(choices)}", review=Review(index=index, history=history))


def claim(queue, holder="a:1", count=1, jobs=JOB, **wanted):
    return [index for _, index in queue.claim(jobs, holder, count, Wanted(**wanted)).items]


def test_the_most_doubtful_come_first(queue):
    found = queue.claim(JOB, "a:1", 3)

    assert found.items == [("j", 9), ("j", 8), ("j", 7)]
    assert (found.waiting, found.missing) == (10, [])


def test_two_people_never_get_the_same(queue):
    assert claim(queue, "a:1", 2) == [9, 8]
    assert claim(queue, "b:1", 2) == [7, 6]
    assert claim(queue, "a:2", 2) == [5, 4]


def test_a_repetition_gets_the_same_again(queue):
    assert claim(queue, count=2) == claim(queue, count=2) == [9, 8]
    assert claim(queue, count=3) == [9, 8, 7]


def test_an_image_beyond_the_count_is_given_back(queue):
    claim(queue, "a:1", 3)

    assert claim(queue, "a:1", 1) == [9]
    assert claim(queue, "b:1", 2) == [8, 7]


def test_a_lease_ends_unless_it_is_renewed(queue, client):
    claim(queue, "a:1", 1)
    claim(queue, "b:1", 1)
    client.set_time(START_S + LEASE_S - 1)
    assert claim(queue, "a:1", 1) == [9]

    client.set_time(START_S + LEASE_S)

    assert claim(queue, "c:1", 2) == [8, 7]
    assert claim(queue, "b:1", 1) == [6]
    client.set_time(START_S + 2 * LEASE_S - 2)
    assert claim(queue, "d:1", 1) == [5]
    client.set_time(START_S + 2 * LEASE_S - 1)
    assert claim(queue, "d:1", 2) == [5, 9]


def test_who_comes_back_after_the_end_gets_what_nobody_took(queue, client):
    claim(queue, "a:1", 2)
    client.set_time(START_S + LEASE_S)
    claim(queue, "b:1", 1)

    assert claim(queue, "a:1", 2) == [8, 7]


def test_released_images_are_free_at_once(queue):
    claim(queue, "a:1", 2)
    queue.release("a:1")
    queue.release("a:1")

    assert claim(queue, "b:1", 2) == [9, 8]


def test_a_release_leaves_what_another_has_taken_over(queue, client):
    claim(queue, "a:1", 1)
    client.set_time(START_S + LEASE_S)
    claim(queue, "b:1", 1)
    queue.release("a:1")

    assert claim(queue, "c:1", 1) == [8]


def test_a_decided_image_leaves_the_queue_and_comes_back(queue, store):
    claim(queue, count=2)
    store.reviews.update("j", review(9, Choice.ACCEPT))

    assert claim(queue, count=2) == [8, 7]
    assert queue.claim(JOB, "b:1", 4).waiting == 9
    store.reviews.update("j", review(9, Choice.ACCEPT, Choice.UNDO))
    assert claim(queue, "c:1") == [9]


def test_a_note_decides_nothing(queue, store):
    store.reviews.update("j", review(9, Choice.NOTE))

    assert claim(queue) == [9]


def test_an_image_decided_while_the_queue_is_filled_is_not_handed_out(store):
    store.reviews.update("j", review(1, Choice.ACCEPT))
    store.review_queue.fill("j", 1, [doubt(1), doubt(0)])

    assert claim(store.review_queue, count=2) == [0]
    assert store.review_queue.claim(JOB, "b:1", 1).waiting == 1


def test_an_image_replaced_since_the_decision_needs_another(store):
    store.reviews.keep("j", [review(1, Choice.ACCEPT)])
    store.review_queue.fill("j", 2, [doubt(1, outdated=1), doubt(0, is_decided=True)])
    queue, jobs = store.review_queue, {"j": 2}
    assert claim(queue, count=2, jobs=jobs) == [1]

    store.reviews.update("j", review(1, Choice.ACCEPT, Choice.NOTE))
    assert claim(queue, count=2, jobs=jobs) == [1]
    store.reviews.update("j", review(1, Choice.ACCEPT, Choice.NOTE, Choice.REJECT))
    assert claim(queue, count=2, jobs=jobs) == []


def test_filters_choose_by_verdict_and_check(store):
    store.review_queue.fill(
        "j",
        1,
        [
            doubt(3, verdict="reject", checks=("coverage", "holes")),
            doubt(2, checks=("holes",)),
            doubt(1, checks=("white holes",)),
            doubt(0, checks=()),
        ],
    )
    queue = store.review_queue

    assert claim(queue, count=4, verdict="review") == [2, 1, 0]
    assert claim(queue, count=4, check="holes") == [2, 3]
    assert claim(queue, count=4, check="holes", verdict="reject") == [3]
    assert claim(queue, count=4, check="hole") == []


def test_jobs_share_one_order(store):
    store.review_queue.fill("j", 1, [doubt(0, level=3), doubt(1, level=1)])
    store.review_queue.fill("k", 1, [doubt(0, level=2)])

    found = store.review_queue.claim({"j": 1, "k": 1}, "a:1", 3)

    assert found.items == [("j", 0), ("k", 0), ("j", 1)]


def test_an_image_of_a_job_that_is_not_asked_for_is_given_back(store):
    store.review_queue.fill("j", 1, [doubt(0)])
    store.review_queue.fill("k", 1, [doubt(0)])
    claim(store.review_queue, "a:1", 2, {"j": 1, "k": 1})

    assert store.review_queue.claim({"k": 1}, "a:1", 2).items == [("k", 0)]
    assert store.review_queue.claim({"j": 1}, "b:1", 2).items == [("j", 0)]


def test_a_queue_of_another_generation_is_missing(queue, client):
    assert queue.claim({"j": 2, "k": 1}, "a:1", 1).missing == ["j", "k"]

    client.flushall()
    client.set_time(START_S)

    assert queue.claim(JOB, "a:1", 1).missing == ["j"]
    assert queue.claim({}, "a:1", 1).items == []


def test_a_job_without_doubts_has_a_queue(store):
    store.review_queue.fill("j", 1, [])

    assert store.review_queue.claim(JOB, "a:1", 1).missing == []


def test_a_long_queue_is_filled_in_parts_and_walked_in_pages(store):
    store.review_queue.fill("j", 1, (doubt(index) for index in range(2500)))
    for index in range(2400, 2500):
        store.reviews.update("j", review(index, Choice.ACCEPT))

    assert claim(store.review_queue) == [2399]
    assert claim(store.review_queue, "b:1", check="none") == []
    assert store.review_queue.claim(JOB, "c:1", 1).waiting == 2400


def test_of_many_people_at_once_each_gets_other_images(store):
    store.review_queue.fill("j", 1, [doubt(index) for index in range(400)])
    barrier, got = threading.Barrier(8), {}

    def work(name):
        barrier.wait()
        got[name] = []
        for tab in range(12):
            got[name] += claim(store.review_queue, f"{name}:{tab}", 4)

    threads = [threading.Thread(target=work, args=(f"p{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    everything = [index for found in got.values() for index in found]
    assert len(everything) == len(set(everything)) == 8 * 12 * 4


def test_queues_and_leases_expire(queue, redis_client):
    claim(queue)
    lives = {key: redis_client.pttl(key) for key in redis_client.keys("rmbg:*")}

    assert len(lives) == 4
    assert all(0 < life <= 3_600_000 for life in lives.values())
