"""Job documents of other versions: what is read, what waits for another worker, and for which."""

import json
from pathlib import Path

import pytest
from support.jobs import TTL_S, close, feed, grant, mark_all, stage, submission, submit, worker
from support.until import until

from shared.broker.queues import BULK, INTERACTIVE, RECOVERY
from shared.errors import InvalidOption
from shared.job.spec import JobSpec, JobState
from shared.jobstore.values import RefusalReason, Refused

DOCUMENTS = Path(__file__).parent / "documents"
"""Written by version 0.1.0 (commit 870a4d5), and by a version that does not exist yet."""
NEEDS = Refused(RefusalReason.NEEDS)
WAITING = "a worker of rmbg-queue 0.9.0 or later, which knows recipes"


def read(name):
    return (DOCUMENTS / f"{name}.json").read_text()


def names(body):
    """Return the names of all fields of a document, of inner ones with their path."""
    inner = {f"{name}.{field}" for name in ("options", "thresholds") for field in body[name]}
    return set(body) | inner


def later_schema(document):
    return json.dumps(json.loads(document) | {"schema": 99})


def without_a_field(document):
    return json.dumps({k: v for k, v in json.loads(document).items() if k != "input_bucket"})


@pytest.fixture
def needy(store):
    """A job that needs the feature `recipes`."""
    return submit(store, 4, needs=("recipes",), version="0.9.0")


def register(store, worker_id, *features):
    store.fleet.register(worker(worker_id, features=features), ttl_s=60)


def claim(store, issued, *features, worker_id="w"):
    return store.leases.claim(issued.ticket, worker_id, ttl_s=TTL_S, features=features)


def make_due(client):
    """Let the rest of all parked tickets end."""
    client.zadd("rmbg:parked", dict.fromkeys(client.zrange("rmbg:parked", 0, -1), 0))


@pytest.mark.parametrize(
    "change",
    [later_schema, without_a_field, lambda _: b"5", lambda _: b"\xff"],
    ids=["later schema", "without a field", "no object", "no text"],
)
def test_a_ticket_with_an_unreadable_job_document_is_released(store, redis_client, change):
    """The lease is already granted; if it expired, it would count as a death."""
    job = submit(store, 4)
    [issued] = feed(store)
    key = f"rmbg:job:{job}"
    document = redis_client.hget(key, "spec")
    redis_client.hset(key, "spec", change(document))

    with pytest.raises(InvalidOption, match=job):
        claim(store, issued)

    assert redis_client.zcard("rmbg:leased") == 0
    assert not redis_client.hexists(f"{key}:ticket:{issued.ticket.unit}", "deaths")
    assert b"can read its document" in redis_client.hget(key, "waiting_for")

    redis_client.hset(key, "spec", document)
    make_due(redis_client)
    [again] = feed(store)
    assert grant(store, again).spec is not None


# ---- documents of the version before


@pytest.mark.parametrize(
    ("name", "params_hash"), [("plain", "736ec0015544b661"), ("full", "7ad7b3645bb594e4")]
)
def test_a_job_of_version_0_1_is_read_with_the_hash_that_its_workers_compute(
    store, redis_client, name, params_hash
):
    """Another hash would write every image of the job again."""
    job = submit(store, 4)
    redis_client.hset(f"rmbg:job:{job}", "spec", read(f"0.1.0-{name}"))
    redis_client.hdel(f"rmbg:job:{job}", "added")

    granted = grant(store, feed(store)[0])

    assert granted.spec == JobSpec.from_json(read(f"0.1.0-{name}"))
    assert granted.spec.params_hash == params_hash
    assert store.queries.spec(job) == granted.spec


@pytest.mark.parametrize("name", ["plain", "full"])
def test_a_job_without_needs_is_stored_in_a_document_that_version_0_1_reads(
    store, redis_client, name
):
    """It refuses fields that it does not know."""
    spec = JobSpec.from_json(read(f"0.1.0-{name}"))
    wanted = submission(4, **dict(spec) | {"version": "0.2.0"})
    stage(store, wanted)
    job = store.submissions.submit(wanted).job_id

    stored = json.loads(redis_client.hget(f"rmbg:job:{job}", "spec"))

    assert names(stored) == names(json.loads(read(f"0.1.0-{name}")))
    assert store.queries.spec(job) == wanted.spec
    assert store.queries.spec(job).version == "0.2.0"


def test_a_worker_that_registered_no_features_is_read(store, redis_client):
    register(store, "old")
    body = json.loads(redis_client.hget("rmbg:worker_infos", "old"))
    del body["features"]
    redis_client.hset("rmbg:worker_infos", "old", json.dumps(body))

    assert [info.features for info in store.fleet.workers()] == [()]


@pytest.mark.parametrize("entry", ['{"worker_id":"later","slots":{"gpu":3}}', '{"slots":1}'])
def test_a_worker_whose_entry_cannot_be_read_does_not_keep_others_from_feeding(
    store, redis_client, entry
):
    """A later version may describe itself in another way."""
    register(store, "later")
    register(store, "w")
    redis_client.hset("rmbg:worker_infos", "later", entry)
    job = submit(store, 4)

    assert [info.worker_id for info in store.fleet.workers()] == ["w"]
    assert [issued.ticket.job_id for issued in feed(store)] == [job]
    assert store.queries.status(job).waiting_for is None
    assert store.fleet.totals().workers == 2


# ---- documents of a later version


def test_a_later_document_keeps_the_hash_of_its_submission(store, redis_client):
    job = submit(store, 4)
    redis_client.hset(f"rmbg:job:{job}", "spec", read("later"))
    redis_client.hdel(f"rmbg:job:{job}", "added")

    spec = claim(store, feed(store)[0], "recipes").spec

    assert spec.params_hash == store.queries.spec(job).params_hash == "feedfacecafe0123"


def test_a_later_document_with_an_unknown_need_waits_without_a_death(store, redis_client):
    """Also if only the document names the need."""
    job = submit(store, 4)
    register(store, "w")
    redis_client.hset(f"rmbg:job:{job}", "spec", read("later"))
    redis_client.hdel(f"rmbg:job:{job}", "added")
    [issued] = feed(store)

    with pytest.raises(InvalidOption, match=r"0\.9\.0"):
        claim(store, issued)

    assert store.queries.status(job).waiting_for == WAITING
    assert redis_client.zcard("rmbg:leased") == 0
    assert not redis_client.hexists(f"rmbg:job:{job}:ticket:{issued.ticket.unit}", "deaths")


# ---- needs


def test_a_job_whose_needs_no_worker_knows_is_not_fed_and_says_which_version_knows_them(
    store, needy
):
    register(store, "w")

    assert feed(store) == []
    assert store.queries.status(needy).waiting_for == WAITING


def test_a_job_that_waits_for_a_feature_does_not_keep_others_from_being_fed(store, needy):
    register(store, "w")
    other = submit(store, 4, keys="others")

    assert [issued.ticket.job_id for issued in feed(store)] == [other]
    register(store, "able", "recipes")
    assert [issued.ticket.job_id for issued in feed(store)] == [needy]


def fed_by_version_0_1(client):
    """The jobs of which a worker of version 0.1 issues tickets, whatever they need."""
    return [
        job.decode()
        for queue in (BULK, INTERACTIVE)
        for job in client.lrange(f"rmbg:feeding:{queue}", 0, -1)
    ]


def test_version_0_1_never_feeds_a_job_that_waits_for_a_feature(store, redis_client, needy):
    """Its workers would get leases of tickets that they cannot process."""
    assert fed_by_version_0_1(redis_client) == []
    register(store, "w")
    feed(store)
    assert fed_by_version_0_1(redis_client) == []


def test_version_0_1_never_feeds_a_retried_job_that_needs_a_feature(store, redis_client, needy):
    register(store, "able", "recipes")
    granted = claim(store, feed(store)[0], "recipes")
    mark_all(store, granted, failing=[0])
    [merge] = close(store, granted.lease)
    store.leases.merge_commit(claim(store, merge, "recipes").lease)
    store.fleet.unregister("able")

    store.submissions.retry(needy)

    assert fed_by_version_0_1(redis_client) == []
    register(store, "able", "recipes")
    assert [issued.ticket.job_id for issued in feed(store)] == [needy]


def test_a_partly_fed_job_is_not_fed_on_once_no_worker_has_its_features(store, redis_client):
    register(store, "able", "recipes")
    job = submit(store, 16 * 60, needs=("recipes",))
    assert len(feed(store)) == 50
    store.fleet.unregister("able")
    redis_client.delete(*(f"rmbg:queued:{queue}" for queue in (BULK, INTERACTIVE)))

    assert feed(store) == []
    assert fed_by_version_0_1(redis_client) == []
    register(store, "able", "recipes")
    assert {issued.ticket.job_id for issued in feed(store)} == {job}


def test_a_job_that_waits_for_a_feature_counts_as_open(store, needy):
    assert store.fleet.totals().open_jobs == 1
    assert store.fleet.totals().open_images == 4


def test_a_worker_without_the_feature_gets_no_lease_and_the_ticket_goes_to_another(
    store, redis_client, needy
):
    register(store, "able", "recipes", "masks")
    register(store, "w", "masks")
    [issued] = feed(store)

    assert claim(store, issued, "masks") == NEEDS
    assert redis_client.zcard("rmbg:leased") == 0
    assert not redis_client.hexists(f"rmbg:job:{needy}:ticket:{issued.ticket.unit}", "deaths")
    assert store.queries.status(needy).waiting_for is None

    again = []
    until(lambda: again.extend(feed(store)) or again)
    assert again[0].queue == RECOVERY
    granted = claim(store, again[0], "masks", "recipes", worker_id="able")
    assert granted.spec.needs == ("recipes",)


def test_a_ticket_that_no_registered_worker_can_process_rests(store, redis_client, needy):
    register(store, "able", "recipes")
    [issued] = feed(store)
    store.fleet.unregister("able")
    register(store, "w", "recipes-of-another-kind")

    assert claim(store, issued, "recipes-of-another-kind") == NEEDS

    assert store.queries.status(needy).waiting_for == WAITING
    assert feed(store) == []
    make_due(redis_client)
    assert [again.queue for again in feed(store)] == [RECOVERY]


def test_a_repeated_claim_of_a_parked_ticket_is_stale(store, needy):
    register(store, "able", "recipes")
    [issued] = feed(store)

    assert claim(store, issued) == NEEDS
    assert claim(store, issued) == Refused(RefusalReason.STALE)


def test_a_cancelled_job_is_ended_by_any_worker(store, redis_client, needy):
    """It must not wait for a version that nobody runs."""
    register(store, "w")
    assert feed(store) == []

    store.submissions.cancel(needy)
    [merge] = feed(store)

    assert store.leases.merge_commit(claim(store, merge).lease)
    assert store.queries.status(needy).state is JobState.CANCELLED


def test_a_job_without_needs_is_fed_before_any_worker_is_registered(store):
    submit(store, 4)

    assert [issued.queue for issued in feed(store)] == [BULK]
