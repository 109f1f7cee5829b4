"""Jobs over HTTP: create, list, read, cancel, retry, and errors."""

import json

import pytest

from shared.models.registry import REGISTRY

pytestmark = pytest.mark.integration


def created(client, **body):
    """Create a job and return its status."""
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['job_id']}"
    return answer.json()


@pytest.fixture
def client(new_key, client_of):
    """An HTTP client of a tenant that may read the whole bucket."""
    return client_of(new_key())


def test_a_job_runs_and_its_records_are_read(client, hand):
    job = created(client, keys=["a.jpg", "bad.jpg", "c.jpg"], model="RMBG-1.4")["job_id"]
    hand.run(job)

    assert client.get(f"/v1/jobs/{job}").json()["failed"] == 1
    page = client.get(f"/v1/jobs/{job}/results", params={"limit": 2}).json()
    assert [each["image_key"] for each in page["records"]] == ["a.jpg", "bad.jpg"]
    rest = client.get(f"/v1/jobs/{job}/results", params={"cursor": page["next"]}).json()
    assert [each["image_key"] for each in rest["records"]] == ["c.jpg"]
    assert rest["next"] is None
    failed = client.get(f"/v1/jobs/{job}/results", params={"state": "failed"}).json()
    assert [each["error"]["class"] for each in failed["records"]] == ["ObjectMissing"]


def test_records_as_json_lines_and_with_links(client, hand):
    job = created(client, keys=["a.jpg", "b.jpg"], model="RMBG-1.4")["job_id"]
    hand.run(job)

    answer = client.get(
        f"/v1/jobs/{job}/results", params={"links": 1}, headers={"Accept": "application/x-ndjson"}
    )

    assert answer.headers["content-type"] == "application/x-ndjson"
    records = [json.loads(line) for line in answer.text.splitlines()]
    assert [each["index"] for each in records] == [0, 1]
    assert "X-Amz-Signature" in records[0]["cutout_url"]


def test_jobs_are_listed_in_pages_newest_first(client):
    jobs = [created(client, keys=[f"{n}.jpg"])["job_id"] for n in range(5)]

    seen, cursor = [], None
    while True:
        page = client.get("/v1/jobs", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        seen += [each["job_id"] for each in page.json()["jobs"]]
        if (cursor := page.json()["next"]) is None:
            break

    assert seen == jobs[::-1]


def test_the_same_idempotency_key_joins_and_another_body_is_refused(client):
    def post(key, body):
        return client.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})

    first = post("order-1", {"keys": ["a.jpg"]})
    again = post("order-1", {"keys": ["a.jpg"]})
    other = post("order-1", {"keys": ["b.jpg"]})

    assert first.json()["job_id"] == again.json()["job_id"]
    assert post("order-2", {"keys": ["a.jpg"]}).json()["job_id"] != first.json()["job_id"]
    assert other.status_code == 422
    assert other.json()["type"] == "urn:rmbg-queue:problem:idempotency-key-reused"


def test_two_tenants_may_use_the_same_idempotency_key(new_key, client_of):
    answers = [
        client_of(new_key(name)).post(
            "/v1/jobs", json={"keys": [f"{name}.jpg"]}, headers={"Idempotency-Key": "1"}
        )
        for name in ("a", "b")
    ]

    assert [each.status_code for each in answers] == [201, 201]


def test_cancel_and_retry(client, hand):
    running = created(client, keys=["a.jpg"])["job_id"]
    assert client.post(f"/v1/jobs/{running}/retry").status_code == 409
    assert client.post(f"/v1/jobs/{running}/cancel").status_code == 200

    failed = created(client, keys=["bad.jpg", "b.jpg"], model="RMBG-1.4")["job_id"]
    hand.run(failed)
    assert client.post(f"/v1/jobs/{failed}/retry").json() == {"images": 1}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", "sku,key\n1,a.jpg\n2,b.jpg\n"),
        ("list.ndjson", '{"key": "a.jpg", "sku": 1}\n\n{"key": "b.jpg"}\n'),
        ("bom.csv", "\ufeffkey\r\na.jpg\r\nb.jpg\r\n"),
    ],
)
def test_keys_from_an_object(name, text, client, object_store, bucket):
    object_store.put(bucket, name, text.encode(), content_type="text/plain", metadata={})

    assert created(client, keys_from=name)["total"] == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"sku\n1\n", "no column key"),
        (b"key,sku\n,1\n", "row 2"),
        (b'{"key": "a.jpg"}\n{"sku": 1}\n', "line 2"),
        (b"key\n\xff\n", "not UTF-8"),
        (b"", "no column key"),
    ],
)
def test_a_list_with_problems_is_refused(text, reason, client, object_store, bucket):
    object_store.put(bucket, "list", text, content_type="text/plain", metadata={})

    answer = client.post("/v1/jobs", json={"keys_from": "list"})

    assert answer.status_code == 422
    assert reason in answer.json()["detail"]


def test_all_images_below_a_prefix(client, object_store, bucket):
    for name in ("in/a.jpg", "in/b.png", "in/notes.txt", "x.jpg"):
        object_store.put(bucket, name, b"x", content_type="image/jpeg", metadata={})

    assert created(client, prefix="in/")["total"] == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "exactly one"),
        ({"keys": ["a"], "prefix": "b/"}, "exactly one"),
        ({"keys": []}, "at least 1"),
        ({"keys": ["a"], "colour": "red"}, "Extra inputs"),
        ({"keys": ["a"], "model": "u3net"}, "u3net"),
        ({"keys": ["a"], "outputs": ["./etc.toml"]}, "not known"),
        ({"keys": ["a"], "outputs": ["amazon-mian"]}, "not known"),
        ({"keys": ["a"], "outputs": [{"name": "x", "quality": 900}]}, "quality"),
        ({"keys": ["a"], "priority": "urgent"}, "priority"),
        ({"prefix": "nothing/"}, "no images"),
    ],
)
def test_a_request_with_problems_is_refused(body, reason, client):
    answer = client.post("/v1/jobs", json=body)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:rmbg-queue:problem:invalid-request"
    assert reason in answer.text


def test_presets_and_recipes_are_outputs(client, gateway):
    recipe = {"name": "web", "format": "webp", "size": [640, 640]}

    job = created(client, keys=["a.jpg"], outputs=["amazon-main", recipe, "mask"])["job_id"]

    spec = gateway.services.jobs.queries.spec(job)
    assert [each.name for each in spec.outputs] == ["amazon-main", "web"]


@pytest.mark.parametrize("has_length", [True, False])
def test_a_body_over_the_limit_is_refused(has_length, client):
    body = b" " * (2**20 + 1)
    content = body if has_length else iter([body])

    answer = client.post("/v1/jobs", content=content, headers={"Content-Type": "application/json"})

    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:rmbg-queue:problem:body-too-large"


def test_models_and_presets_are_listed(client):
    names = [each["name"] for each in client.get("/v1/models").json()]
    presets = {each["name"]: each for each in client.get("/v1/presets").json()}

    assert names == list(REGISTRY)
    assert presets["amazon-main"]["source"]["address"]


def test_every_response_carries_the_headers_of_safety(client):
    for path in ("/v1/jobs", "/v1/jobs/nothing", "/nowhere", "/openapi.json"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert "default-src 'none'" in headers["content-security-policy"]
    assert client.get("/nowhere").json()["type"] == "urn:rmbg-queue:problem:not-found"
    assert client.put("/v1/jobs").json()["status"] == 405
