"""Decisions about images: what stands, who decided, and what lists show of it."""

import json

import pytest

from producer.client import Client
from producer.results import reviewed
from shared.access import Scope
from shared.job.review import folded_key, review_key

pytestmark = pytest.mark.integration


@pytest.fixture
def job(shop, hand):
    """A done job of four images, the last of which failed."""
    keys = ["shop/a.jpg", "shop/b.jpg", "shop/c.jpg", "shop/bad.jpg"]
    answer = shop.post("/v1/jobs", json={"keys": keys, "model": "RMBG-1.4"})
    hand.run(answer.json()["job_id"])
    return answer.json()["job_id"]


def decide(client, job, index, decision, **more):
    """Decide about an image and return the answer."""
    body = {"decision": decision, **more}
    return client.post(f"/v1/jobs/{job}/items/{index}/review", json=body)


def item(client, job, index):
    """Return what the gateway shows of an image."""
    return client.get(f"/v1/jobs/{job}/items/{index}").json()


def listed(client, job):
    """Return the records of a job."""
    return client.get(f"/v1/jobs/{job}/results").json()["records"]


def bucket_of(gateway):
    """Return the output bucket."""
    return gateway.services.settings.output_bucket


def test_an_image_shows_its_reasons_and_files(shop, job):
    good, bad = item(shop, job, 0), item(shop, job, 3)

    assert (good["state"], good["review"]) == ("done", None)
    assert [each["name"] for each in good["files"]] == ["source", "preview", "mask", "cutout"]
    assert shop.get(good["files"][-1]["url"]).content == b"png"
    assert bad["reasons"] == ["there is no object shop/bad.jpg"]
    assert bad["output_etag"] is None


def test_a_decision_is_in_the_bucket_before_it_is_acknowledged(shop, job, gateway):
    answer = decide(shop, job, 0, "reject", note="hair is cut off")

    assert answer.status_code == 200
    stored = gateway.services.objects.get(bucket_of(gateway), review_key(job, 0))
    [entry] = json.loads(stored.data)["history"]
    assert (entry["decision"], entry["note"], entry["who"]) == ("reject", "hair is cut off", "shop")
    assert entry["etag"] == item(shop, job, 0)["output_etag"]
    assert answer.json()["etag"] == stored.etag


def test_decisions_are_joined_to_the_records(shop, job, run_rmbg):
    decide(shop, job, 1, "accept")

    page = listed(shop, job)
    lines = shop.get(f"/v1/jobs/{job}/results", headers={"Accept": "application/x-ndjson"})
    printed = [json.loads(line) for line in run_rmbg("results", job).stdout.splitlines()]

    assert [each["review"] and each["review"]["decision"] for each in page] == [
        None,
        "accept",
        None,
        None,
    ]
    of_lines = [json.loads(line) for line in lines.text.splitlines()]
    assert ["review" in each for each in of_lines] == [False, True, False, False]
    assert ["review" in each for each in printed] == [False, True, False, False]
    assert printed[1]["review"]["who"] == "shop"


def test_of_two_people_one_learns_of_the_other(shop, job):
    first = decide(shop, job, 0, "accept").json()
    refused = decide(shop, job, 0, "reject")

    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:rmbg-queue:problem:review-conflict"
    assert refused.json()["review"]["decision"] == "accept"
    assert refused.json()["review"]["etag"] == first["etag"]
    changed = decide(shop, job, 0, "reject", if_match=first["etag"])
    assert [each["decision"] for each in changed.json()["history"]] == ["accept", "reject"]
    assert decide(shop, job, 0, "accept", if_match=first["etag"]).status_code == 409
    assert decide(shop, job, 1, "accept", if_match="0" * 32).status_code == 409


def test_a_decision_is_undone_and_the_history_stays(shop, job):
    first = decide(shop, job, 0, "accept").json()
    undone = decide(shop, job, 0, "undo", if_match=first["etag"]).json()

    assert undone["decision"] is None
    assert [each["decision"] for each in undone["history"]] == ["accept", "undo"]
    assert listed(shop, job)[0]["review"]["decision"] is None
    assert decide(shop, job, 0, "reject", if_match=undone["etag"]).status_code == 200


def test_a_decision_about_a_replaced_image_is_stale(shop, job, gateway):
    decide(shop, job, 0, "accept")
    seen = item(shop, job, 0)
    gateway.services.objects.put(
        bucket_of(gateway), seen["cutout_key"], b"other", content_type="image/png"
    )

    assert item(shop, job, 0)["review"]["stale"]
    assert listed(shop, job)[0]["review"]["stale"]
    again = {"if_match": seen["review"]["etag"], "output_etag": seen["output_etag"]}
    assert decide(shop, job, 0, "reject", **again).json()["title"] == "Output replaced"
    again["output_etag"] = item(shop, job, 0)["output_etag"]
    assert decide(shop, job, 0, "reject", **again).status_code == 200
    assert not listed(shop, job)[0]["review"]["stale"]


def test_a_note_changes_no_decision(shop, job):
    noted = decide(shop, job, 0, "note", note="ask the studio").json()
    assert (noted["decision"], noted["stale"]) == (None, False)
    accepted = decide(shop, job, 0, "accept", if_match=noted["etag"]).json()
    again = decide(shop, job, 0, "note", note="done", if_match=accepted["etag"]).json()

    assert (again["decision"], again["note"]) == ("accept", "done")
    assert [each["note"] for each in again["history"]] == ["ask the studio", "", "done"]


def test_a_decision_about_a_failure_is_stale_after_a_retry(shop, job, hand):
    decide(shop, job, 3, "reject")
    assert not item(shop, job, 3)["review"]["stale"]

    assert shop.post(f"/v1/jobs/{job}/retry").status_code == 200
    hand.run(job)

    assert item(shop, job, 3)["state"] == "failed"
    assert item(shop, job, 3)["review"]["stale"]
    assert listed(shop, job)[3]["review"]["stale"]


def test_decisions_are_joined_in_python(shop, job, gateway):
    decide(shop, job, 1, "accept")

    found = list(Client(gateway.services.settings).reviewed(job))

    assert [each.stored and each.stored.review.standing.decision for each in found] == [
        None,
        "accept",
        None,
        None,
    ]


def test_decisions_outlive_redis(shop, job, gateway):
    decide(shop, job, 2, "accept")
    assert listed(shop, job)[2]["review"]["decision"] == "accept"

    gateway.services.jobs.connection.client.delete(f"rmbg:job:{job}:reviews")

    assert listed(shop, job)[2]["review"]["decision"] == "accept"


def test_copies_of_many_decisions_are_folded_and_read_again(shop, job, gateway):
    services, client = gateway.services, gateway.services.jobs.connection.client
    first = [decide(shop, job, index, "accept").json() for index in range(3)]
    reviewed.all_of(services, job, fold_from=3)
    folded = services.objects.get(bucket_of(gateway), folded_key(job)).data
    assert len(folded.splitlines()) == 3

    decide(shop, job, 0, "reject", if_match=first[0]["etag"])
    client.delete(f"rmbg:job:{job}:reviews")

    assert [each["review"]["decision"] for each in listed(shop, job)[:3]] == [
        "reject",
        "accept",
        "accept",
    ]


def test_only_a_reviewer_of_the_tenant_decides(shop, job, new_key, client_of):
    reader = client_of(new_key("reader", tenant="shop", scopes=frozenset({Scope.READ})))
    other = client_of(new_key("other"))

    assert decide(reader, job, 0, "accept").status_code == 403
    assert decide(other, job, 0, "accept").status_code == 404
    assert decide(shop, job, 4, "accept").status_code == 404
    assert decide(shop, job, 0, "perhaps").status_code == 422
    assert item(shop, job, 0)["review"] is None
