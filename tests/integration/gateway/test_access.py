"""API keys: who gets in, what a key allows, and what tenants see of each other."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from shared.access import Scope, digest, new_text

pytestmark = pytest.mark.integration


def submit(client, *keys):
    """Submit *keys* and return the answer."""
    return client.post("/v1/jobs", json={"keys": list(keys)})


def open_routes(document):
    """Return the operations of an OpenAPI document that need no key."""
    return [
        (method, path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if not operation.get("security")
    ]


def test_every_route_needs_a_key(client_of):
    anonymous = client_of(None)
    document = anonymous.get("/openapi.json").json()

    assert open_routes(document) == []
    for path, item in document["paths"].items():
        for method in item:
            answer = anonymous.request(method, path.replace("{job_id}", "a"))
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "text", ["", "sk-1", "rmbg.shop.", "rmbg.shop.wrong", "rmbg.nobody.x", "rmbg.shop\udcff.x"]
)
def test_a_wrong_key_is_refused(text, new_key, client_of):
    new_key("shop")

    answer = client_of(None).get("/v1/jobs", headers={"X-Api-Key": text.encode("utf-8", "replace")})

    assert answer.status_code == 401
    assert answer.json()["type"] == "urn:rmbg-queue:problem:unauthorized"


def test_the_key_may_be_in_either_header(new_key, client_of):
    text = new_key("shop")

    assert client_of(text).get("/v1/jobs").status_code == 200
    assert client_of(None).get("/v1/jobs", headers={"X-Api-Key": text}).status_code == 200


def test_a_request_is_logged_with_the_name_of_its_key_only(new_key, client_of, caplog):
    caplog.set_level(logging.INFO, "producer.gateway.access_log")
    text = new_key("shop")

    client_of(text).get("/v1/jobs", params={"note": text})

    [record] = [each for each in caplog.records if each.message == "request"]
    assert (record.method, record.path, record.key) == ("GET", "/v1/jobs", "shop")
    assert record.status == 200
    assert text not in str(vars(record))


def test_an_expired_key_is_refused(new_key, client_of):
    past = new_key("past", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    later = new_key("later", expires_at=datetime.now(UTC) + timedelta(days=1))

    assert client_of(past).get("/v1/jobs").status_code == 401
    assert client_of(later).get("/v1/jobs").status_code == 200


def test_a_revoked_or_rotated_key_ends_at_once(gateway, new_key, client_of):
    keys = gateway.services.jobs.api_keys
    one, two = client_of(new_key("one")), client_of(new_key("two"))
    assert one.get("/v1/jobs").status_code == two.get("/v1/jobs").status_code == 200

    keys.revoke("one")
    rotated = new_text("two")
    keys.put(keys.find("two").model_copy(update={"sha256": digest(rotated)}))

    assert one.get("/v1/jobs").status_code == two.get("/v1/jobs").status_code == 401
    assert client_of(rotated).get("/v1/jobs").status_code == 200


def test_a_key_without_the_scope_is_refused(new_key, client_of):
    reader = client_of(new_key(scopes=frozenset({Scope.READ})))

    answer = submit(reader, "a.jpg")

    assert (answer.status_code, answer.json()["title"]) == (403, "Forbidden")
    assert "submit" in answer.json()["detail"]
    assert reader.get("/v1/jobs").status_code == 200


def test_a_key_over_its_rate_waits(new_key, client_of):
    client = client_of(new_key(rate_per_minute=3))
    left = [client.get("/v1/jobs").headers["ratelimit-remaining"] for _ in range(3)]

    refused = client.get("/v1/jobs")

    assert left == ["2", "1", "0"]
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 20


def test_no_tenant_sees_a_job_of_another(new_key, client_of):
    own, other = client_of(new_key("own")), client_of(new_key("other"))
    job = submit(own, "a.jpg").json()["job_id"]

    for method, path in (
        ("GET", f"/v1/jobs/{job}"),
        ("GET", f"/v1/jobs/{job}/results"),
        ("POST", f"/v1/jobs/{job}/cancel"),
        ("POST", f"/v1/jobs/{job}/retry"),
    ):
        foreign = other.request(method, path)
        missing = other.request(method, path.replace(job, "nothing"))
        assert foreign.status_code == missing.status_code == 404, path
        assert foreign.json()["detail"].replace(job, "nothing") == missing.json()["detail"]
    assert other.get("/v1/jobs").json()["jobs"] == []
    assert own.get(f"/v1/jobs/{job}").json()["state"] == "running"


def test_two_tenants_with_the_same_images_get_two_jobs(new_key, client_of):
    jobs = {submit(client_of(new_key(name)), "a.jpg").json()["job_id"] for name in ("a", "b")}

    assert len(jobs) == 2


def test_keys_outside_of_the_prefix_are_refused(shop):
    for key in ("other/a.jpg", "shopping/a.jpg", "shop", "a.jpg"):
        answer = submit(shop, "shop/a.jpg", key)
        assert answer.status_code == 422, key
        assert repr(key) in answer.json()["detail"]
    for source in ({"prefix": "other/"}, {"prefix": "s"}, {"keys_from": "other/list.csv"}):
        assert shop.post("/v1/jobs", json=source).status_code == 422, source
    assert shop.get("/v1/jobs").json()["jobs"] == []


def test_a_background_outside_of_the_prefix_is_refused(shop, object_store, bucket):
    for key in ("other/bg.png", "shop/bg.png"):
        object_store.put(bucket, key, b"x", content_type="image/png", metadata={})

    def post(background):
        recipe = {"name": "scene", "size": "64x64", "background": background}
        return shop.post("/v1/jobs", json={"keys": ["shop/a.jpg"], "outputs": [recipe]})

    for outside in (
        "other/bg.png",
        f"s3://{bucket}/other/bg.png",
        "s3://else/shop/bg.png",
        "/etc/x",
    ):
        assert post(outside).status_code == 422, outside
    assert post("shop/bg.png").status_code == 201


def test_outputs_are_written_below_the_prefix_of_the_key(shop, gateway):
    answer = shop.post("/v1/jobs", json={"keys": ["shop/a.jpg"], "save_prefix": "out/%year%"})

    spec = gateway.services.jobs.queries.spec(answer.json()["job_id"])
    assert spec.save_prefix.startswith("shop/out/2")
    assert spec.tenant == "shop"


@pytest.mark.parametrize("prefix", ["../x", "/x", "a//b", "_jobs", "x/", "a/../../b"])
def test_a_prefix_that_escapes_is_refused(prefix, shop):
    answer = shop.post("/v1/jobs", json={"keys": ["shop/a.jpg"], "save_prefix": prefix})

    assert answer.status_code == 422


def test_a_tenant_may_have_so_many_open_images(new_key, client_of, hand):
    first = client_of(new_key("first", tenant="shop", max_open_images=3))
    second = client_of(new_key("second", tenant="shop", max_open_images=3))
    job = submit(first, "a.jpg", "b.jpg").json()["job_id"]

    refused = submit(second, "c.jpg", "d.jpg")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    assert refused.json()["type"] == "urn:rmbg-queue:problem:too-many-images"

    assert submit(first, "a.jpg", "b.jpg").json()["job_id"] == job  # joins, adds nothing
    hand.run(job)
    assert submit(second, "c.jpg", "d.jpg").status_code == 201
