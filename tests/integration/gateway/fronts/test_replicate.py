"""The API of Replicate, mostly through its published client as a child process."""

import base64
import json
import subprocess
import sys

import pytest
from PIL import Image

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
        ({"input": {"image": "x"}, "webhook": "https://a/"}, "webhook"),
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
