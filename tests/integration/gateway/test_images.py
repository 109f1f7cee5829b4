"""`POST /v1/images/remove`: one image, its answer, and what it costs."""

import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import redis
from PIL import Image
from support.file_server import File, FileServer
from support.gateway import serving
from support.pictures import encoded, photo
from support.s3_recorder import S3Recorder
from support.until import until
from support.workers import WorkerProcess

from producer.gateway.app import build_app
from producer.gateway.context import Gateway
from producer.gateway.probes import Metrics
from producer.gateway.settings import GatewaySettings
from producer.services import Services

pytestmark = pytest.mark.integration
PATH = "/v1/images/remove"


@pytest.fixture
def worker(service_env):
    """A real worker with a stand-in network."""
    process = WorkerProcess(service_env).wait_ready()
    yield process
    process.close()


@pytest.fixture
def image():
    """A small JPEG."""
    return encoded(photo(64, 48), "JPEG")


def opened(answer):
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def test_the_answer_is_the_cutout(shop, worker, image):
    answer = shop.post(PATH, content=image, headers={"Content-Type": "image/jpeg"})

    cutout = opened(answer)
    assert (cutout.format, cutout.mode, cutout.size) == ("PNG", "RGBA", (64, 48))
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-rmbg-verdict"] in ("ok", "review", "reject")
    assert answer.headers["content-security-policy"] == "sandbox"
    status = shop.get(f"/v1/jobs/{answer.headers['x-rmbg-job']}").json()
    assert (status["state"], status["done"]) == ("done", 1)


def test_a_form_with_a_file_and_a_request(shop, worker, image):
    recipe = {"name": "web", "format": "webp", "size": [32, 32], "background": "white"}
    answer = shop.post(
        PATH,
        files={"file": ("../Über a.jpg", image)},
        data={"request": json.dumps({"outputs": [recipe]})},
    )

    made = opened(answer)
    assert (made.format, made.size) == ("WEBP", (32, 32))
    assert 'filename="' in answer.headers["content-disposition"]
    assert ".." not in answer.headers["content-disposition"]


def test_several_outputs_come_as_a_zip(shop, worker, image):
    answer = shop.post(PATH, content=image, params={"output": ["mask", "cutout"]})

    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        modes = sorted(Image.open(archive.open(name)).mode for name in archive.namelist())
    assert modes == ["L", "RGBA"]


def test_records_can_be_read_afterwards(shop, worker, image):
    job = shop.post(PATH, content=image).headers["x-rmbg-job"]

    page = shop.get(f"/v1/jobs/{job}/results").json()

    assert [each["state"] for each in page["records"]] == ["done"]
    assert shop.get("/v1/jobs").json()["jobs"] == []


def test_a_file_that_is_no_image_is_the_callers_fault(shop, worker):
    answer = shop.post(PATH, content=b"no image")

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:rmbg-queue:problem:image-failed"
    assert "image" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ({"content": b""}, "empty"),
        ({"files": {"picture": b"x"}}, "file or image"),
        ({"json": {}}, "url"),
        ({"json": {"url": "ftp://shop.example/a.jpg"}}, "http://"),
        ({"json": {"url": "http://shop.example/\u0005.jpg"}}, "complete one"),
        ({"files": {"file": b"x"}, "data": {"url": "http://shop.example/"}}, "two images"),
        ({"files": {"file": b"x"}, "data": {"request": '{"outputs": ["nothing"]}'}}, "not known"),
        ({"files": {"file": b"x"}, "data": {"request": '{"colour": 1}'}}, "colour"),
        ({"content": b"x", "params": {"output": "nothing"}}, "not known"),
        ({"content": b"x", "params": {"model": "u3net"}}, "u3net"),
        ({"content": b"x", "params": {"colour": "red"}}, "colour"),
    ],
)
def test_a_request_with_problems_is_refused(sent, reason, shop):
    answer = shop.post(PATH, **sent)

    assert answer.status_code == 422, answer.text
    assert reason in answer.text


@pytest.fixture
def lab(gateway, new_key):
    """A client of a gateway that may fetch from private addresses, 10,000 bytes at most."""
    small = gateway.settings.model_copy(update={"allow_private": True, "max_body_bytes": 10_000})
    relaxed = Gateway.of(small, gateway.services)
    headers = {"Authorization": f"Bearer {new_key('lab')}"}
    with (
        serving(build_app(relaxed, Metrics())) as url,
        httpx.Client(base_url=url, headers=headers, timeout=30) as client,
    ):
        yield client


def test_an_image_at_a_url(lab, worker, image):
    with FileServer({"/shoe%20a.jpg?v=1": File(image)}) as server:
        url = f"{server.url}/shoe%20a.jpg?v=1"
        answers = [
            lab.post(PATH, json={"url": url, "outputs": ["mask"]}),
            lab.post(PATH, files={"request": (None, json.dumps({"url": url}))}),
            lab.post(PATH, files={"x": b""}, data={"url": url}),
        ]

    assert [opened(each).mode for each in answers] == ["L", "RGBA", "RGBA"]
    assert "shoe_a.png" in answers[0].headers["content-disposition"]


def test_a_url_with_too_many_bytes(lab):
    with FileServer({"/a": File(b"x" * 10_001)}) as server:
        answer = lab.post(PATH, json={"url": f"{server.url}/a"})

    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:rmbg-queue:problem:body-too-large"


def test_a_url_of_the_gateways_network_is_refused(shop, image):
    with FileServer({"/a": File(image)}) as server:
        answer = shop.post(PATH, json={"url": f"{server.url}/a"})

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:rmbg-queue:problem:url-refused"
    assert server.requests == []


def test_nothing_is_left_of_a_request_that_is_refused(shop, object_store, bucket):
    shop.post(PATH, content=b"x", params={"model": "u3net"})

    assert list(object_store.list(bucket, "")) == []


def test_respond_async_answers_at_once(shop, service_env, image):
    answer = shop.post(PATH, content=image, headers={"Prefer": "respond-async"})

    assert answer.status_code == 202
    where = answer.headers["location"]
    assert shop.get(where).json()["state"] == "running"
    worker = WorkerProcess(service_env).wait_ready()
    until(lambda: shop.get(where).json()["state"] == "done")
    worker.close()


def test_a_caller_that_waits_too_long_gets_the_address(gateway, new_key, image, service_env):
    short = gateway.settings.model_copy(update={"wait_s": 1.0})
    impatient = Gateway.of(short, gateway.services)
    headers = {"Authorization": f"Bearer {new_key()}", "Idempotency-Key": "1"}
    with serving(build_app(impatient, Metrics())) as url:
        answer = httpx.post(url + PATH, content=image, headers=headers, timeout=30)
        assert answer.status_code == 504
        assert answer.json()["type"] == "urn:rmbg-queue:problem:still-running"

        worker = WorkerProcess(service_env).wait_ready()
        status = {"Authorization": headers["Authorization"]}
        where = url + answer.headers["location"]
        until(lambda: httpx.get(where, headers=status).json()["state"] == "done")
        again = httpx.post(url + PATH, content=image, headers=headers, timeout=30)
        worker.close()
    assert opened(again).size == (64, 48)


def test_an_idempotency_key_with_another_image_is_refused(shop, worker, image):
    headers = {"Idempotency-Key": "order-1"}
    first = shop.post(PATH, content=image, headers=headers)
    again = shop.post(PATH, content=image, headers=headers)
    other = shop.post(PATH, content=encoded(photo(32, 32), "JPEG"), headers=headers)

    assert first.headers["x-rmbg-job"] == again.headers["x-rmbg-job"]
    assert first.content == again.content
    assert other.status_code == 422
    assert other.json()["type"] == "urn:rmbg-queue:problem:idempotency-key-reused"


def test_one_caller_too_many_is_told_to_come_again(gateway, new_key, image):
    busy = Gateway.of(gateway.settings.model_copy(update={"max_waiting": 1}), gateway.services)
    headers = {"Authorization": f"Bearer {new_key()}"}
    with serving(build_app(busy, Metrics())) as url, ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx.post, url + PATH, content=image, headers=headers, timeout=60)
        until(lambda: busy.waiting._waiting)
        refused = httpx.post(url + PATH, content=image, headers=headers, timeout=30)
        [job] = until(lambda: {key.split(b":")[2] for key in light_jobs(gateway)})
        gateway.services.cancel(job.decode())
        assert first.result(60).status_code == 409

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")


def light_jobs(gateway):
    return gateway.services.jobs.connection.client.keys("rmbg:job:light-*")


def test_a_light_job_costs_two_puts(service_env, new_key, image):
    with S3Recorder(urlsplit(service_env["RMBG_S3_ENDPOINT"]).port) as recorder:
        env = {**service_env, "RMBG_S3_ENDPOINT": recorder.endpoint}
        settings = GatewaySettings.from_env(env)
        app = build_app(Gateway.of(settings, Services(settings.services)), Metrics())
        worker = WorkerProcess(env).wait_ready()
        headers = {"Authorization": f"Bearer {new_key()}"}
        with serving(app) as url:
            for params in ({}, {}, {"output": ["mask", "cutout"]}):
                recorder.requests.clear()
                answer = httpx.post(
                    url + PATH, content=image, params=params, headers=headers, timeout=60
                )
                assert answer.status_code == 200
                puts = recorder.paths("PUT")
                if not params:
                    one_output = puts
        worker.close()

    assert len(one_output) == 2, one_output  # the first request also notes the day of uploads
    assert len(puts) == 3, puts


def test_a_light_job_costs_few_commands(shop, worker, image, gateway, service_env):
    shop.post(PATH, content=image)  # opens the connections
    store = gateway.services.jobs.connection.client
    queues = redis.Redis.from_url(service_env["RMBG_REDIS_URL"])
    seen = []
    with queues.monitor() as monitor:
        shop.post(PATH, content=image)
        store.set("rmbg:test", "the end")
        for command in monitor.listen():
            if "the end" in command["command"]:
                break
            if command["client_type"] != "lua":
                seen.append(command["command"])
    idle = ("BRPOP", "LLEN", "EVALSHA 0 rmbg:turn", "PING", "INFO")
    ours = [each for each in seen if not each.startswith(idle)]
    assert len(ours) <= 25, "\n".join(each[:100] for each in ours)


def test_a_hundred_callers_at_once_lose_nothing(shop, address, new_key, service_env, image):
    key = new_key("many", rate_per_minute=60_000)
    worker = WorkerProcess(service_env, image_s=0.006, batch_s=0.02).wait_ready()

    def call(_n):
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.post(address + PATH, content=image, headers=headers, timeout=120)

    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(call, range(100)))
    worker.close()

    assert {each.status_code for each in answers} == {200}
    assert len({each.headers["x-rmbg-job"] for each in answers}) == 100
    first = np.asarray(opened(answers[0]))
    assert all(np.array_equal(first, opened(each)) for each in answers)


def test_uploads_are_below_the_tenants_folder(shop, worker, image, object_store, bucket):
    shop.post(PATH, files={"file": ("a.jpg", image)})

    keys = [found.key for found in object_store.list(bucket, "")]
    today = datetime.now(UTC).date().isoformat()
    assert any(key.startswith(f"shop/_uploads/{today}/") for key in keys)
    assert all(key.startswith(("shop/_uploads/", "_preview/", "_jobs/.")) for key in keys), keys
    assert len(keys) == 3  # with the note that there are uploads of today


def test_services_stay_usable_without_the_message_of_the_end(gateway, new_key, image, service_env):
    """The message can get lost: here the gateway never listens."""
    deaf = Gateway.of(gateway.settings, Services(gateway.settings.services))
    app = build_app(deaf, Metrics())
    worker = WorkerProcess(service_env).wait_ready()
    with serving(app) as url:
        deaf.endings.close()
        headers = {"Authorization": f"Bearer {new_key()}"}
        answer = httpx.post(url + PATH, content=image, headers=headers, timeout=60)
    worker.close()
    assert answer.status_code == 200
