"""`rmbg serve`: start the whole system, call every route, stop it, and start it again."""

import io
import re
import signal
import stat
import subprocess

import httpx
import pytest
from PIL import Image
from support.command import RMBG, complaint, environment, rmbg
from support.pictures import encoded, photo
from support.until import until
from support.weights import isnet_weights

from producer.gateway.local import local_key

pytestmark = pytest.mark.integration


@pytest.fixture
def weights_env(tmp_path):
    """The environment of a command that uses the downloaded weights."""
    home = isnet_weights().parents[1]
    return environment({"RMBG_HOME": str(home), "RMBG_MEASURE": "0", "RMBG_OFFLINE": "1"})


class Served:
    """A running `rmbg serve`."""

    def __init__(self, env, *args):
        self.process = subprocess.Popen(
            [RMBG, "serve", "--port", "0", *args], env=env, stdout=subprocess.PIPE, text=True
        )
        lines = [self.process.stdout.readline() for _ in range(3)]
        self.address = lines[0].removeprefix("address: ").strip()
        self.key = lines[1].removeprefix("API key: ").strip()

    def client(self):
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.address, headers=headers, timeout=120)

    def leave(self, signum):
        self.process.send_signal(signum)
        return self.process.wait(120)


@pytest.fixture
def start(weights_env, tmp_path):
    """Start `rmbg serve` over the test's folder."""
    started = []

    def start(*args):
        started.append(Served(weights_env, tmp_path / "data", *args))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait(60)
        each.process.stdout.close()


def ok(answer, status=200):
    assert answer.status_code == status, answer.text
    return answer


@pytest.mark.weights
@pytest.mark.timeout(600)
def test_every_route_answers_and_jobs_survive_a_restart(start, tmp_path):
    key_file = tmp_path / "key"
    key_file.write_text("x" * 1000)
    first = start("--key-file", key_file)
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+", first.address)
    assert key_file.read_text().strip() == first.key
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600

    with first.client() as client:
        job = call_every_route(client)
        before = ok(client.get(f"/v1/jobs/{job}")).json()
    assert first.leave(signal.SIGINT) == 130

    second = start()
    assert second.key == first.key
    with second.client() as client:
        assert ok(client.get(f"/v1/jobs/{job}")).json() == before
        cutout = ok(client.get(f"/v1/jobs/{job}/items/0/files/cutout"))
        assert Image.open(io.BytesIO(cutout.content)).mode == "RGBA"
    assert second.leave(signal.SIGTERM) == 0


def call_every_route(client):
    """Call each route; return the ID of a job that is done."""
    image = encoded(photo(64, 48), "JPEG")
    assert ok(client.get("/openapi.json")).json()["openapi"].startswith("3.1")
    assert "isnet-general-use" in [each["name"] for each in ok(client.get("/v1/models")).json()]
    assert ok(client.get("/v1/presets")).json()

    removed = ok(client.post("/v1/images/remove", content=image))
    assert Image.open(io.BytesIO(removed.content)).mode == "RGBA"

    files = {"files": [{"name": "a.jpg", "bytes": len(image)}]}
    [upload] = ok(client.post("/v1/uploads", json=files), 201).json()["uploads"]
    ok(client.put(upload["url"], content=image), 204)
    keys = [upload["key"], upload["key"] + ".missing"]
    created = ok(client.post("/v1/jobs", json={"keys": keys}), 201)
    job = created.json()["job_id"]
    where = f"/v1/jobs/{job}"
    assert created.headers["location"] == where
    until(lambda: ok(client.get(where)).json()["state"] == "done", within_s=120)

    assert [each["job_id"] for each in ok(client.get("/v1/jobs")).json()["jobs"]] == [job]
    records = ok(client.get(f"{where}/results")).json()["records"]
    assert [each["state"] for each in records] == ["done", "failed"]
    assert ok(client.get(f"{where}/items/0")).json()["image_key"] == upload["key"]
    assert ok(client.get(f"{where}/items/0/files/source")).content == image
    assert ok(client.post(f"{where}/retry")).json() == {"images": 1}
    until(lambda: ok(client.get(where)).json()["state"] == "done", within_s=120)
    assert ok(client.post(f"{where}/cancel")).json()["state"] == "done"
    return job


def test_a_key_that_redis_does_not_know_is_replaced(gateway, tmp_path):
    kept, other = tmp_path / "api-key", tmp_path / "key"
    first = local_key(gateway.services, [kept])
    again = local_key(gateway.services, [kept, other])
    kept.write_text("rmbg.local.other\n")
    replaced = local_key(gateway.services, [kept, other])

    assert first == again != replaced
    assert kept.read_text() == other.read_text() == f"{replaced}\n"
    assert gateway.services.jobs.api_keys.find("local").matches(replaced)


@pytest.mark.parametrize(
    ("args", "env", "reason"),
    [
        (["--rem-mode", "u3net"], {}, "u3net"),
        (["--rem-mode", "RMBG-1.4"], {"RMBG_COMMERCIAL": "1"}, "non-commercial"),
        (["--port", "70000"], {}, "--port"),
    ],
)
def test_a_start_that_cannot_succeed_is_refused_and_leaves_nothing(args, env, reason, tmp_path):
    folder = tmp_path / "data"

    assert reason in complaint(rmbg("serve", folder, *args, env=env))
    assert not folder.exists()
