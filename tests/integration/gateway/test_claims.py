"""Images that are handed out to people who decide about them."""

import pytest

from shared.access import Scope
from shared.job.doubts import doubts_key
from shared.objects.object_metadata import GENERATION

pytestmark = pytest.mark.integration
KEYS = ["shop/doubt-a.jpg", "shop/b.jpg", "shop/reject.jpg", "shop/doubt-c.jpg", "shop/bad.jpg"]


@pytest.fixture
def job(shop, hand):
    """A done job: image 2 is the most doubtful, then 0 and 3; 4 failed."""
    return submit(shop, hand, KEYS)


def submit(client, hand, keys):
    job = client.post("/v1/jobs", json={"keys": keys, "model": "RMBG-1.4"}).json()["job_id"]
    hand.run(job)
    return job


def claim(client, tab="t1", count=1, **more):
    answer = client.post("/v1/reviews/claim", json={"tab": tab, "count": count, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def indices(found):
    return [each["index"] for each in found["items"]]


def decide(client, job, index, decision, **more):
    body = {"decision": decision, **more}
    return client.post(f"/v1/jobs/{job}/items/{index}/review", json=body).json()


@pytest.fixture
def colleague(new_key, client_of, shop):
    """A second person of the tenant."""
    return client_of(new_key("colleague", tenant="shop", prefix="shop"))


def test_people_get_different_images_until_all_are_decided(shop, colleague, job):
    first = claim(shop, count=2)
    assert (indices(first), first["waiting"], first["expires_in_s"]) == ([2, 0], 3, 120)
    assert shop.get(first["items"][0]["url"]).json()["reasons"] == [
        "mask: coverage 0.01 below 0.02"
    ]
    assert indices(claim(colleague, count=2)) == [3]

    decide(shop, job, 2, "accept")
    assert indices(claim(shop, count=2)) == [0]
    assert indices(claim(shop, tab="t2")) == []
    released = colleague.delete("/v1/reviews/claim", params={"tab": "t1"})
    assert released.status_code == 204
    assert indices(claim(shop, count=2)) == [0, 3]
    for index in (0, 3):
        decide(shop, job, index, "reject")
    assert claim(shop)["waiting"] == 0


def test_an_undone_decision_brings_the_image_back(shop, job):
    accepted = decide(shop, job, 2, "accept")
    assert indices(claim(shop)) == [0]

    decide(shop, job, 2, "undo", if_match=accepted["etag"])

    assert indices(claim(shop, count=2)) == [0, 2]


def test_queue_and_decisions_outlive_redis(shop, job, gateway):
    decide(shop, job, 2, "accept")
    claim(shop)
    client = gateway.services.jobs.connection.client
    for part in ("reviews", "doubtful", "doubts", "looked"):
        client.delete(f"rmbg:job:{job}:{part}")
    client.delete("rmbg:looking:shop:t1")

    found = claim(shop, count=4)

    assert (indices(found), found["waiting"]) == ([0, 3], 2)


def test_the_list_of_the_merge_is_used(shop, job, gateway):
    services, bucket = gateway.services, gateway.services.settings.output_bucket
    body = b'{"index": 3, "doubt": 1, "verdict": "review", "checks": []}\n'
    services.objects.put(
        bucket, doubts_key(job), body, content_type="text/plain", metadata={GENERATION: "1"}
    )
    assert indices(claim(shop, count=4)) == [3]

    shop.post(f"/v1/jobs/{job}/retry")
    services.jobs.connection.client.delete(f"rmbg:job:{job}:doubts")
    assert claim(shop, "t2", job=job)["items"] == []  # the job runs again


def test_after_a_retry_decisions_about_equal_images_stand(shop, job, hand):
    decide(shop, job, 2, "accept")
    shop.post(f"/v1/jobs/{job}/retry")
    hand.run(job)

    assert indices(claim(shop, count=4)) == [0, 3]


def test_after_a_retry_replaced_images_need_another_decision(shop, job, hand, gateway):
    decide(shop, job, 2, "accept")
    services = gateway.services
    cutout = shop.get(f"/v1/jobs/{job}/items/2").json()["cutout_key"]
    shop.post(f"/v1/jobs/{job}/retry")
    hand.run(job)
    services.objects.put(
        services.settings.output_bucket, cutout, b"other", content_type="image/png"
    )

    assert indices(claim(shop, count=4)) == [2, 0, 3]
    etag = shop.get(f"/v1/jobs/{job}/items/2").json()["review"]["etag"]
    decide(shop, job, 2, "reject", if_match=etag)
    assert indices(claim(shop, count=4)) == [0, 3]


def test_a_claim_is_for_one_job_or_all(shop, hand, job):
    other = submit(shop, hand, ["shop/reject2.jpg"])
    good = submit(shop, hand, ["shop/fine.jpg"])

    assert indices(claim(shop, job=other, count=4)) == [0]
    assert claim(shop, job=good)["items"] == []
    found = {(each["job_id"], each["index"]) for each in claim(shop, count=3)["items"]}
    assert found == {(other, 0), (job, 2), (job, 0)}


def test_a_filter_chooses(shop, job):
    assert indices(claim(shop, count=4, filter={"verdict": "review"})) == [0, 3]
    assert indices(claim(shop, count=4, filter={"check": "coverage"})) == [0, 3, 2]
    assert indices(claim(shop, count=4, filter={"check": "holes"})) == []


def test_no_tenant_gets_the_images_of_another(shop, job, new_key, client_of):
    other = client_of(new_key("other"))
    reader = client_of(new_key("reader", tenant="shop", scopes=frozenset({Scope.READ})))

    assert claim(other, count=4)["items"] == []
    body = {"tab": "t1", "job": job}
    assert other.post("/v1/reviews/claim", json=body).status_code == 404
    assert reader.post("/v1/reviews/claim", json=body).status_code == 403
    assert reader.delete("/v1/reviews/claim", params={"tab": "t1"}).status_code == 403
    assert shop.post("/v1/reviews/claim", json={"tab": "a:b"}).status_code == 422


def test_records_of_older_workers_give_the_same_list(shop, job, gateway):
    """The merge of the hand worker writes no list, so the records are read."""
    services = gateway.services
    assert services.objects.head(services.settings.output_bucket, doubts_key(job)) is None
    assert indices(claim(shop, count=4)) == [2, 0, 3]
