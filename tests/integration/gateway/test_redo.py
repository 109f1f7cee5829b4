"""Images that are processed again, one by one, because somebody has asked for it."""

import pytest
from support.pictures import encoded, photo
from support.until import until
from support.workers import WorkerProcess

from producer.client import Client
from shared.access import Scope
from shared.job.spec import Priority
from shared.objects.object_metadata import JOB

pytestmark = pytest.mark.integration
OPTIONS = {"metadata": "none", "solid": "on"}


@pytest.fixture
def job_of(shop, hand):
    """A factory of done jobs of two images, with placeholder outputs."""

    def make(**more):
        wanted = {"keys": ["shop/a.jpg", "shop/b.jpg"], "model": "RMBG-1.4", **more}
        job = shop.post("/v1/jobs", json=wanted).json()["job_id"]
        hand.run(job)
        return job

    return make


def redo(client, job, index, **more):
    body = {"decision": "redo", **more}
    return client.post(f"/v1/jobs/{job}/items/{index}/review", json=body)


def test_the_job_of_one_image_has_the_names_and_other_options(shop, job_of, gateway):
    job = job_of(save_prefix="out", webhook={"url": "https://93.184.215.14/x"})

    answer = redo(shop, job, 1, redo={"options": OPTIONS})

    assert answer.status_code == 200, answer.text
    child = answer.json()["child"]
    queries = gateway.services.jobs.queries
    spec, former = queries.spec(child), queries.spec(job)
    assert (spec.parent, queries.status(child).total) == (f"{job}/1", 1)
    assert (spec.save_prefix, spec.tenant, spec.rem_mode) == ("shop/out", "shop", "RMBG-1.4")
    assert (spec.priority, spec.webhook, former.parent) == (Priority.INTERACTIVE, None, "")
    assert (spec.options.metadata, spec.options.solid) == ("none", "on")
    assert spec.params_hash != former.params_hash
    assert queries.sequence(child) > queries.sequence(job)


def test_the_number_of_an_image_stays(shop, job_of, gateway):
    job = job_of(naming="comfyui")
    child = redo(shop, job, 1, redo={"options": OPTIONS}).json()["child"]

    queries = gateway.services.jobs.queries
    assert queries.spec(child).counter_base == queries.spec(job).counter_base + 1


def test_a_second_redo_follows_the_first(shop, job_of):
    job = job_of()
    first = redo(shop, job, 0).json()
    refused = redo(shop, job, 0)
    second = redo(shop, job, 0, if_match=first["etag"], redo={"options": OPTIONS}).json()

    assert refused.status_code == 409
    assert refused.json()["review"]["child"] == first["child"]
    assert second["child"] != first["child"]
    assert shop.get(f"/v1/jobs/{second['child']}").status_code == 200


def test_what_cannot_be_redone_is_not_decided(shop, job_of, hand, new_key, client_of):
    job = job_of()
    wanted = {"keys": ["shop/a.jpg", "shop/c.jpg"], "model": "RMBG-1.4"}
    running = shop.post("/v1/jobs", json=wanted).json()["job_id"]
    hand.begin(1)  # the first image has a record, and the job goes on
    other, reader = (
        client_of(new_key("other")),
        client_of(new_key("reader", tenant="shop", scopes=frozenset({Scope.READ}))),
    )

    early = redo(shop, running, 0)
    assert (early.status_code, early.json()["title"]) == (409, "Job not done")
    assert shop.get(f"/v1/jobs/{running}/items/0").json()["review"] is None
    assert redo(shop, job, 0, redo={"model": "unknown"}).status_code == 422
    assert redo(other, job, 0).status_code == 404
    assert redo(reader, job, 0).status_code == 403
    assert shop.get(f"/v1/jobs/{job}/items/0").json()["review"] is None


@pytest.mark.parametrize("naming", ["source", "comfyui"])
def test_the_outputs_are_replaced_and_the_first_job_is_still_intact(
    naming, shop, service_env, gateway, bucket
):
    """A real worker replaces them by the rules for later jobs."""
    object_store = gateway.services.objects
    for name in ("a", "b"):
        image = encoded(photo(64, 48), "JPEG")
        object_store.put(bucket, f"shop/{name}.jpg", image, content_type="image/jpeg")
    wanted = {"keys": ["shop/a.jpg", "shop/b.jpg"], "naming": naming}
    worker = WorkerProcess(service_env).wait_ready()
    try:
        job = shop.post("/v1/jobs", json=wanted).json()["job_id"]
        until(lambda: shop.get(f"/v1/jobs/{job}").json()["state"] == "done")
        records = shop.get(f"/v1/jobs/{job}/results").json()["records"]
        child = redo(shop, job, 1, redo={"options": OPTIONS}).json()["child"]
        until(lambda: shop.get(f"/v1/jobs/{child}").json()["state"] == "done")
    finally:
        worker.close()

    [again] = shop.get(f"/v1/jobs/{child}/results").json()["records"]
    assert again["cutout_key"] == records[1]["cutout_key"]
    output = gateway.services.settings.output_bucket
    jobs = [object_store.head(output, each["cutout_key"]).metadata[JOB] for each in records]
    assert jobs == [job, child]
    assert Client(gateway.services.settings).verify(job, deep=True) == []
    assert Client(gateway.services.settings).verify(child, deep=True) == []
    review = shop.get(f"/v1/jobs/{job}/items/1").json()["review"]
    assert (review["decision"], review["stale"], review["child"]) == ("redo", True, child)
