"""The API of Replicate, mostly through its published client as a child process."""

import asyncio
import base64
import json
import subprocess
import sys
from datetime import UTC, datetime

import httpx
import pytest
import redis
from PIL import Image
from standardwebhooks import Webhook
from support.receiver import Receiver
from support.until import until

from producer.gateway.fronts.replicate_documents import Prediction
from producer.gateway.fronts.replicate_webhooks import awaited, body_of, told
from producer.gateway.webhooks.awaited import LOST_AFTER
from producer.services import Services

pytestmark = pytest.mark.integration
PATH = "/compat/replicate/v1"
MODEL = "lucataco/remove-bg"


@pytest.fixture
def run(lab, key, tmp_path, image):
    """Run a program with the client beside the file `a.jpg`; return what it printed."""
    (tmp_path / "a.jpg").write_bytes(image)

    def call(program, token=key):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={"REPLICATE_BASE_URL": f"{lab}/compat/replicate", "REPLICATE_API_TOKEN": token},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def data_url(image):
    return f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"


@pytest.mark.usefixtures("worker")
def test_the_client_runs_a_model_and_a_version(run, tmp_path):
    run(f"""
import replicate
for name, ref in (("model", "{MODEL}"), ("version", "{MODEL}:{"9" * 64}")):
    output = replicate.run(ref, input={{"image": open("a.jpg", "rb")}})
    open(name + ".png", "wb").write(output.read())
""")

    for name in ("model", "version"):
        with Image.open(tmp_path / f"{name}.png") as made:
            assert (made.format, made.mode, made.size) == ("PNG", "RGBA", (1200, 900))


@pytest.mark.usefixtures("worker")
def test_the_client_polls_a_prediction(run):
    printed = run(f"""
import replicate
prediction = replicate.models.predictions.create(
    "{MODEL}", input={{"image": open("a.jpg", "rb"), "background_type": "map"}}, wait=False
)
first = prediction.status
prediction.wait()
known = first in ("starting", "succeeded")
print(known, prediction.status, prediction.model, prediction.output[:22])
""")

    assert printed == f"True succeeded {MODEL} data:image/png;base64,\n"


def test_the_client_cancels_a_prediction(run):
    printed = run(f"""
import replicate
prediction = replicate.models.predictions.create(
    "{MODEL}", input={{"image": open("a.jpg", "rb")}}, wait=False
)
prediction.cancel()
print(prediction.status)
""")

    assert printed == "canceled\n"


@pytest.mark.usefixtures("worker")
def test_the_client_sees_why_an_image_fails(run):
    printed = run(f"""
import io, replicate
from replicate.exceptions import ModelError, ReplicateError
try:
    replicate.run("{MODEL}", input={{"image": io.BytesIO(b"no image")}})
except ModelError as err:
    print(err)
try:
    replicate.run("{MODEL}", input={{"image": "x", "colour": "red"}})
except ReplicateError as err:
    print(err.status, err.detail)
""")

    assert "UndecodableImage" in printed
    assert "422 unknown input colour" in printed


def test_a_wrong_key_is_401(client):
    answer = client.post(f"{PATH}/predictions", json={}, headers={"X-Api-Key": "wrong"})

    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"input": {}}, "image"),
        ({"input": {"image": "data:,%"}}, "base64"),
        ({"input": {"image": "ftp://a/b"}}, "http"),
        ({"input": {"image": "x", "threshold": 2}}, "threshold"),
        ({"input": {"image": "x", "format": "gif"}}, "format"),
        ({"input": {"image": "x", "background_type": "s3://other/key.png"}}, "image"),
        ({"input": {"image": "x", "background_type": "map", "reverse": True}}, "map"),
        ({"input": {"image": "x"}, "stream": True}, "stream"),
        ({"input": {"image": "x"}, "webhook": "ftp://a/"}, "http"),
        (
            {"input": {"image": "x"}, "webhook": "https://a/", "webhook_events_filter": ["start"]},
            "completed",
        ),
    ],
)
def test_what_we_cannot_do_is_refused(body, reason, client):
    answer = client.post(f"{PATH}/predictions", json={"version": "a"} | body)

    assert answer.status_code == 422
    assert reason in json.dumps(answer.json())


def test_predictions_and_files_of_others_do_not_exist(client, new_key, image):
    body = {"input": {"image": data_url(image)}}
    made = client.post(f"{PATH}/models/{MODEL}/predictions", json=body).json()
    file = client.post(f"{PATH}/files", files={"content": image}).json()["urls"]["get"]
    other = {"X-Api-Key": new_key("other")}

    assert client.get(made["urls"]["get"]).json()["status"] == "starting"
    assert client.get(made["urls"]["get"], headers=other).status_code == 404
    assert client.post(made["urls"]["cancel"], headers=other).status_code == 404
    theirs = client.post(
        f"{PATH}/predictions", json={"version": "a", "input": {"image": file}}, headers=other
    )
    assert theirs.status_code in (404, 422)
    for wrong in ("a", "bm90IGpzb24", base64.urlsafe_b64encode(b'["a", 1, 2]').decode()):
        assert client.get(f"{PATH}/predictions/{wrong}").status_code == 404


@pytest.mark.usefixtures("worker")
def test_a_webhook_is_told_of_the_end(run, gateway):
    with Receiver() as receiver:
        printed = run(f"""
import replicate
prediction = replicate.models.predictions.create(
    "{MODEL}",
    input={{"image": open("a.jpg", "rb")}},
    wait=False,
    webhook="{receiver.url}",
    webhook_events_filter=["completed"],
)
print(prediction.id, replicate.webhooks.default.secret().key)
""")
        until(lambda: receiver.received)

    prediction, secret = printed.split()
    [received] = receiver.received
    told = Webhook(secret).verify(received.body, received.headers)
    assert (told["id"], told["status"], told["error"]) == (prediction, "succeeded", None)
    assert told["urls"]["get"].endswith(f"/compat/replicate/v1/predictions/{prediction}")

    assert told["output"] is None
    output = told_with_links(gateway, Prediction.of(prediction))["output"]
    assert httpx.get(output).content.startswith(b"\x89PNG")


def told_with_links(gateway, prediction):
    """Return what a webhook is told by a gateway with a public address of the object store."""
    settings = gateway.services.settings
    objects = settings.objects.model_copy(update={"public_endpoint": settings.objects.endpoint})
    services = Services(settings.model_copy(update={"objects": objects}))
    result = services.jobs.light.result(prediction.job_id)
    webhook = awaited("front", "https://a/", "https://gateway", prediction)
    return json.loads(body_of(services, webhook, result))


def test_a_webhook_is_told_that_an_image_failed_or_was_cancelled(client, gateway, image, request):
    def predict(data):
        body = {"version": "a", "input": {"image": data_url(data)}, "webhook": receiver.url}
        return client.post(f"{PATH}/predictions", json=body).json()

    with Receiver() as receiver:
        cancelled = predict(image)
        client.post(cancelled["urls"]["cancel"])
        until(lambda: len(receiver.received) == 1)
        request.getfixturevalue("worker")
        failed = predict(b"no image")
        until(lambda: len(receiver.received) == 2)

    told = [json.loads(each.body) for each in receiver.received]
    assert [each["id"] for each in told] == [cancelled["id"], failed["id"]]
    assert [each["status"] for each in told] == ["canceled", "failed"]
    assert "UndecodableImage" in told[1]["error"]


def test_a_webhook_is_told_that_redis_has_lost_the_prediction(client, gateway, image, service_env):
    ends = gateway.webhooks.awaited
    with Receiver() as receiver:
        body = {"version": "a", "input": {"image": data_url(image)}, "webhook": receiver.url}
        made = client.post(f"{PATH}/predictions", json=body).json()
        job_id = Prediction.of(made["id"]).job_id
        ends.collect(datetime.now(UTC) + LOST_AFTER)
        assert list(ends.outbox.of_job(job_id)) == [], "it has not ended"
        with redis.Redis.from_url(service_env["RMBG_REDIS_URL"]) as server:
            server.flushall()
        ends.collect(datetime.now(UTC))
        assert list(ends.outbox.of_job(job_id)) == [], "it may be about to be created"
        ends.collect(datetime.now(UTC) + LOST_AFTER)
        [delivery] = ends.outbox.of_job(job_id)

    told = json.loads(delivery.delivery.body)
    assert (told["id"], told["status"], told["output"]) == (made["id"], "failed", None)
    assert "create it again" in told["error"]


def test_a_prediction_that_was_not_created_tells_nobody(gateway):
    ends = gateway.webhooks.awaited
    webhook = awaited("shop", "https://a/", "https://gateway/", Prediction("light-1", "a/b", "1"))

    async def refused():
        async with told(ends, webhook):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        asyncio.run(refused())
    ends.collect(datetime.now(UTC) + LOST_AFTER)

    assert list(ends.outbox.of_job("light-1")) == []
