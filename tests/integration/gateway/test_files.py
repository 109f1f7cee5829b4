"""Files of items and uploads: what is sent, where to, and to whom."""

import base64
import io
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from PIL import Image
from support.gateway import serving
from support.pictures import encoded, photo
from support.until import until
from support.workers import WorkerProcess

from producer.gateway.app import build_app
from producer.gateway.context import Gateway
from producer.gateway.housekeeping import Housekeeping
from producer.gateway.probes import Metrics
from producer.gateway.routes.uploads import id_of
from producer.services import Services
from shared.job.notes import uploaded_key
from shared.job.upload_keys import upload_key

pytestmark = pytest.mark.integration


@pytest.fixture
def image():
    """A small JPEG."""
    return encoded(photo(64, 48), "JPEG")


@pytest.fixture
def done(shop, service_env, image):
    """A job of one uploaded image that is done; return its ID and the key of the image."""
    [upload] = uploads_of(shop, {"name": "a b.jpg", "bytes": len(image)})
    assert shop.put(upload["url"], content=image).status_code == 204
    job = shop.post("/v1/jobs", json={"keys": [upload["key"]]}).json()["job_id"]
    worker = WorkerProcess(service_env).wait_ready()
    until(lambda: shop.get(f"/v1/jobs/{job}").json()["state"] == "done")
    worker.close()
    return job, upload["key"]


def uploads_of(client, *files):
    answer = client.post("/v1/uploads", json={"files": list(files)})
    assert answer.status_code == 201, answer.text
    return answer.json()["uploads"]


def test_an_uploaded_image_is_processed_and_its_files_are_read(shop, done, image):
    job, source = done
    item = f"/v1/jobs/{job}/items/0"

    record = shop.get(item).json()
    assert (record["state"], record["image_key"]) == ("done", source)
    cutout = shop.get(f"{item}/files/cutout")
    assert Image.open(io.BytesIO(cutout.content)).mode == "RGBA"
    assert cutout.headers["content-type"] == "image/png"
    assert cutout.headers["content-security-policy"] == "sandbox"
    assert cutout.headers["x-content-type-options"] == "nosniff"
    assert Image.open(io.BytesIO(shop.get(f"{item}/files/preview").content)).format == "WEBP"
    original = shop.get(f"{item}/files/source")
    assert original.content == image
    assert original.headers["content-type"] == "application/octet-stream"


def test_a_part_of_a_file_is_read(shop, done):
    path = f"/v1/jobs/{done[0]}/items/0/files/mask"
    whole = shop.get(path).content

    part = shop.get(path, headers={"Range": "bytes=8-15"})

    assert (part.status_code, part.content) == (206, whole[8:16])


def test_what_does_not_exist_is_not_found(shop, done, gateway, new_key, client_of):
    job = done[0]
    for path in ("items/1", "items/0/files/amazon-main", "items/1/files/cutout"):
        assert shop.get(f"/v1/jobs/{job}/{path}").status_code == 404, path
    other = client_of(new_key("other"))
    assert other.get(f"/v1/jobs/{job}/items/0").status_code == 404
    assert other.get(f"/v1/jobs/{job}/items/0/files/cutout").status_code == 404
    spec = gateway.services.jobs.queries.spec(job)
    record = next(iter(shop.get(f"/v1/jobs/{job}/results").json()["records"]))
    gateway.services.objects.delete(spec.output_bucket, [record["cutout_key"]])
    assert shop.get(f"/v1/jobs/{job}/items/0/files/cutout").status_code == 404


def test_an_upload_is_written_once(shop):
    [upload] = uploads_of(shop, {"name": "a.jpg", "bytes": 1})

    assert shop.put(upload["url"], content=b"1").status_code == 204
    again = shop.put(upload["url"], content=b"2")

    assert (again.status_code, again.json()["title"]) == (409, "Upload exists")


@pytest.mark.parametrize(
    "path", ["", "x", "2026-01-01/ab", "../../other/x", "2026-01-01/ab/../x", "a/b/c/d", "a//b"]
)
def test_only_ids_that_were_given_out_are_written(path, shop, object_store, bucket):
    upload_id = base64.urlsafe_b64encode(path.encode()).decode().rstrip("=") or "AA"

    assert shop.put(f"/v1/uploads/{upload_id}", content=b"1").status_code == 404
    assert list(object_store.list(bucket, "")) == []


def test_no_tenant_reads_the_upload_of_another(shop, new_key, client_of):
    [upload] = uploads_of(shop, {"name": "a.jpg", "bytes": 1})
    other = client_of(new_key("other", prefix="other"))

    refused = other.post("/v1/jobs", json={"keys": [upload["key"]]})

    assert refused.status_code == 422
    mixed = shop.post("/v1/jobs", json={"keys": [upload["key"], "shop/b.jpg"]})
    assert (mixed.status_code, "jobs of their own" in mixed.json()["detail"]) == (422, True)


@pytest.fixture
def public(gateway, service_env, new_key):
    """An HTTP client of a gateway whose object store has a public address."""
    settings = gateway.settings.services
    objects = settings.objects
    own = settings.model_copy(
        update={"objects": objects.model_copy(update={"public_endpoint": objects.endpoint})}
    )
    served = Gateway.of(gateway.settings.model_copy(update={"services": own}), Services(own))
    headers = {"Authorization": f"Bearer {new_key('public')}"}
    with (
        serving(build_app(served, Metrics())) as url,
        httpx.Client(base_url=url, headers=headers, timeout=30) as client,
    ):
        yield client


def test_a_signed_upload_takes_what_was_announced_and_only_once(public):
    [upload] = uploads_of(public, {"name": "a.jpg", "bytes": 3, "type": "image/jpeg"})
    assert upload["url"].startswith("http")

    longer = httpx.put(
        upload["url"], content=b"1234", headers={**upload["headers"], "Content-Length": "4"}
    )
    first = httpx.put(upload["url"], content=b"123", headers=upload["headers"])
    again = httpx.put(upload["url"], content=b"456", headers=upload["headers"])

    assert longer.status_code == 403
    assert first.status_code == 200
    assert again.status_code == 412


def test_files_are_read_from_the_public_address(public, gateway, hand, object_store, bucket):
    job = public.post("/v1/jobs", json={"keys": ["a.jpg"], "model": "RMBG-1.4"}).json()["job_id"]
    hand.run(job)

    answer = public.get(f"/v1/jobs/{job}/items/0/files/cutout")

    assert answer.status_code == 302
    link = answer.headers["location"]
    key = public.get(f"/v1/jobs/{job}/items/0").json()["cutout_key"]
    assert httpx.get(link).content == object_store.get(bucket, key).data


def test_old_uploads_are_deleted_unless_an_open_job_names_them(
    gateway, shop, object_store, bucket, hand
):
    old = upload_key("shop", "2026-01-01", "0" * 32, "a.jpg")
    object_store.put(bucket, old, b"1", content_type="image/jpeg")
    object_store.put(bucket, uploaded_key("shop", "2026-01-01"), b"", content_type="text/plain")
    wanted = {"keys": [old], "model": "RMBG-1.4"}
    job = shop.post("/v1/jobs", json=wanted).json()["job_id"]

    housekeeping = Housekeeping(
        gateway.services.objects, bucket, bucket, gateway.housekeeping.is_needed
    )
    housekeeping.round()
    assert object_store.head(bucket, old)
    hand.run(job)
    housekeeping.round()
    assert object_store.head(bucket, old) is None


def test_an_upload_is_sent_on_its_day_or_the_next(shop):
    """Nothing would delete a file of another day."""
    days = [datetime.now(UTC).date() + timedelta(days=days) for days in (-2, -1, 0, 1)]
    ids = [id_of(f"{day.isoformat()}/{'0' * 32}/a.jpg") for day in days]
    answers = [shop.put(f"/v1/uploads/{each}", content=b"1").status_code for each in ids]

    assert answers == [404, 204, 204, 404]
