"""Long lists over HTTP: accepted at once, made into jobs whatever happens to the gateway."""

import pytest
from support.gateway import serving
from support.until import until

from producer.gateway.app import build_app
from producer.gateway.context import Gateway
from producer.gateway.probes import Metrics
from producer.gateway.schemas import JobRequest
from producer.gateway.submission import accept_job
from shared.job.notes import SUBMITTED, SUBMITTING

pytestmark = pytest.mark.integration
KEYS = [f"{n:05}.jpg" for n in range(10_001)]
ONCE = {"Idempotency-Key": "order-1"}


@pytest.fixture
def client(new_key, client_of):
    """An HTTP client of a tenant that may read the whole bucket."""
    return client_of(new_key())


def accepted(answer):
    """Return the address of a submission that was accepted."""
    assert answer.status_code == 202, answer.text
    location = answer.headers["location"]
    assert location == f"/v1/submissions/{answer.json()['submission_id']}"
    return location


def ended(client, location):
    """Return the status of a submission when it has ended."""

    def status():
        answer = client.get(location).raise_for_status().json()
        return answer if answer["state"] != "accepted" else None

    return until(status)


def test_a_long_list_becomes_a_job(client, object_store, bucket):
    found = ended(client, accepted(client.post("/v1/jobs", json={"keys": KEYS})))

    assert (found["state"], found["problem"]) == ("done", None)
    assert client.get(f"/v1/jobs/{found['job_id']}").json()["total"] == len(KEYS)
    assert list(object_store.list(bucket, f"{SUBMITTING}/")) == []


def test_a_long_list_in_an_object(client, object_store, bucket):
    lines = "key\n" + "".join(f"{'a' * 100}/{key}\n" for key in KEYS)
    object_store.put(bucket, "list.csv", lines.encode(), content_type="text/csv")

    found = ended(client, accepted(client.post("/v1/jobs", json={"keys_from": "list.csv"})))

    assert client.get(f"/v1/jobs/{found['job_id']}").json()["total"] == len(KEYS)


def test_the_same_idempotency_key_is_the_same_submission(client):
    first = accepted(client.post("/v1/jobs", json={"keys": KEYS}, headers=ONCE))
    again = accepted(client.post("/v1/jobs", json={"keys": KEYS}, headers=ONCE))
    job = ended(client, first)["job_id"]
    late = client.post("/v1/jobs", json={"keys": KEYS}, headers=ONCE)
    other = client.post("/v1/jobs", json={"keys": KEYS[::-1]}, headers=ONCE)

    assert first == again == accepted(late)
    assert late.json()["job_id"] == job
    assert other.status_code == 422
    assert other.json()["type"] == "urn:rmbg-queue:problem:idempotency-key-reused"


def test_an_idempotency_key_of_a_short_list_is_refused(client):
    client.post("/v1/jobs", json={"keys": KEYS[:1]}, headers=ONCE).raise_for_status()

    refused = client.post("/v1/jobs", json={"keys": KEYS}, headers=ONCE)

    assert refused.json()["type"] == "urn:rmbg-queue:problem:idempotency-key-reused"


def test_a_repetition_after_redis_lost_everything_creates_the_same_job(
    client, new_key, client_of, gateway
):
    location = accepted(client.post("/v1/jobs", json={"keys": KEYS}, headers=ONCE))
    job = ended(client, location)["job_id"]

    gateway.services.jobs.connection.client.flushall()
    client = client_of(new_key())
    assert client.get(f"/v1/jobs/{job}").status_code == 404
    assert ended(client, location)["job_id"] == job
    again = accepted(client.post("/v1/jobs", json={"keys": KEYS}, headers=ONCE))

    assert again == location
    assert ended(client, again)["job_id"] == job
    assert client.get(f"/v1/jobs/{job}").json()["total"] == len(KEYS)
    assert [each["job_id"] for each in client.get("/v1/jobs").json()["jobs"]] == [job]


def test_a_submission_of_a_gateway_that_died_goes_on(gateway, new_key):
    new_key()
    key = gateway.services.jobs.api_keys.find("shop")
    found = accept_job(gateway, key, JobRequest(keys=KEYS), None)  # its thread never starts
    gateway.services.jobs.connection.client.flushall()

    other = Gateway.of(gateway.settings, gateway.services)
    with serving(build_app(other, Metrics())):
        known = until(lambda: is_done(other, found.submission_id))

    assert gateway.services.jobs.queries.status(known.job_id).total == len(KEYS)


def is_done(gateway, submission_id):
    known = gateway.accepting.submissions.find(submission_id)
    return known.status if known.status.state == "done" else None


def test_a_list_that_is_not_valid_fails_and_can_be_repeated(client, object_store, bucket):
    def put(last):
        lines = "key\n" + "".join(f"{'a' * 100}/{key}\n" for key in KEYS) + last
        object_store.put(bucket, "list.csv", lines.encode(), content_type="text/csv")

    put('""\n')
    body = {"keys_from": "list.csv"}
    failed = ended(client, accepted(client.post("/v1/jobs", json=body, headers=ONCE)))
    put("b.jpg\n")
    done = ended(client, accepted(client.post("/v1/jobs", json=body, headers=ONCE)))

    assert failed["problem"]["type"] == "urn:rmbg-queue:problem:invalid-request"
    assert "row 10003" in failed["problem"]["detail"]
    assert client.get(f"/v1/jobs/{done['job_id']}").json()["total"] == len(KEYS) + 1


def test_a_submission_of_another_tenant_does_not_exist(client, new_key, client_of):
    location = accepted(client.post("/v1/jobs", json={"keys": KEYS}))

    assert client_of(new_key("other")).get(location).status_code == 404


def test_a_key_that_is_not_the_tenants_is_refused_at_once(shop, object_store, bucket):
    answer = shop.post("/v1/jobs", json={"keys": [f"shop/{each}" for each in KEYS] + ["a.jpg"]})

    assert answer.status_code == 422
    assert "a.jpg" in answer.json()["detail"]
    folders = (SUBMITTING, SUBMITTED)
    assert not any(list(object_store.list(bucket, each)) for each in folders)
