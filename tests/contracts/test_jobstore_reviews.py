"""Copies of reviews in the job store."""

from datetime import UTC, datetime

from shared.job.review import Choice, Decision, Review, StoredReview


def stored(index, *choices):
    history = tuple(
        Decision(
            decision=each, who="a", at=datetime(2026, 1, 1, tzinfo=UTC), generation=1, etag=None
        )
        for each in choices
    )
    return StoredReview(etag=f"e{len(choices)}", review=Review(index=index, history=history))


FIRST = stored(7, Choice.ACCEPT)
SECOND = stored(7, Choice.ACCEPT, Choice.UNDO)


def test_copies_count_once_all_reviews_are_known(store, redis_client):
    store.reviews.update("j", SECOND)

    assert store.reviews.cached("j") is None
    assert 0 < redis_client.pttl("rmbg:job:j:reviews") <= 300_000


def test_a_decision_during_a_listing_is_not_hidden_by_it(store):
    store.reviews.update("j", SECOND)
    store.reviews.keep("j", [FIRST])

    assert store.reviews.cached("j") == [SECOND]


def test_a_job_without_reviews_is_known_to_have_none(store):
    store.reviews.keep("j", [])

    assert store.reviews.cached("j") == []


def test_an_older_copy_never_replaces_a_newer_one(store):
    store.reviews.keep("j", [FIRST])
    store.reviews.update("j", SECOND)
    store.reviews.update("j", FIRST)
    store.reviews.keep("j", [FIRST])

    assert store.reviews.cached("j") == [SECOND]


def test_copies_expire(store, redis_client):
    store.reviews.keep("j", [FIRST])

    assert 0 < redis_client.pttl("rmbg:job:j:reviews") <= 300_000
