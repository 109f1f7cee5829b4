"""The API of Bria, mostly through its published client as a child process."""

import base64
import io
import subprocess
import sys

import httpx
import pytest
from PIL import Image

pytestmark = pytest.mark.integration
PATH = "/compat/bria/v2/image/edit/remove_background"


@pytest.fixture
def run(lab, tmp_path, image):
    """Run a program with the client beside the file `a.jpg`; return what it printed."""
    (tmp_path / "a.jpg").write_bytes(image)

    def call(program, token):
        done = subprocess.run(
            [sys.executable, "-c", PREPARED + program],
            cwd=tmp_path,
            env={"BRIA_BASE_URL": f"{lab}/compat/bria", "BRIA_API_TOKEN": token},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


PREPARED = """
import base64
from bria_client.clients import BriaSyncClient
client = BriaSyncClient()
image = base64.b64encode(open("a.jpg", "rb").read()).decode()
"""


@pytest.fixture
def caller(lab, key):
    """An HTTP client that sends the key as Bria's clients do."""
    with httpx.Client(base_url=lab, headers={"api_token": key}, timeout=60) as connected:
        yield connected


@pytest.mark.usefixtures("worker")
def test_the_client_gets_the_picture_at_once(run, key):
    printed = run(
        """
answer = client.run("image/edit/remove_background", {"image": image}, raise_for_status=True)
print(answer.status, answer.result.image_url)
""",
        key,
    )

    status, url = printed.split()
    assert status == "COMPLETED"
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as made:
        assert (made.format, made.mode, made.size) == ("PNG", "RGBA", (1200, 900))


@pytest.mark.usefixtures("worker")
def test_the_client_polls(run, key):
    printed = run(
        """
answer = client.submit("image/edit/remove_background", {"image": image})
print(bool(answer.status_url), client.poll(answer, interval=0.1).status)
""",
        key,
    )

    assert printed == "True COMPLETED\n"


@pytest.mark.usefixtures("worker")
def test_the_client_sees_what_is_wrong(run, key):
    printed = run(
        """
bad = base64.b64encode(b"no image").decode()
for payload in ({"image": bad}, {"image": image, "colour": "red"}):
    error = client.run("image/edit/remove_background", payload).error
    print(error.code, error.details)
print(client.run("image/edit/remove_background", {"image": image}, api_token="wrong").error.code)
""",
        key,
    )

    lines = printed.splitlines()
    assert "422 UndecodableImage" in lines[0]
    assert "400 unknown parameter colour" in lines[1]
    assert lines[2] == "401"


def test_without_a_worker_the_status_is_in_progress(caller, image):
    body = {"image": base64.b64encode(image).decode(), "sync": False}
    answer = caller.post(PATH, json=body)

    assert answer.status_code == 202
    found = caller.get(answer.json()["status_url"])
    assert (found.status_code, found.json()["status"]) == (200, "IN_PROGRESS")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "image"),
        ({"image": "%"}, "base64"),
        ({"image": "http://127.0.0.1:1/a"}, "reached"),
        ({"image": "x", "sync": "perhaps"}, "sync"),
        ({"image": "x", "webhook_url": "https://a/"}, "webhook_url"),
        ({"image": "x", "visual_input_content_moderation": True}, "moderation"),
    ],
)
def test_what_we_cannot_do_is_refused(body, reason, caller):
    answer = caller.post(PATH, json=body)

    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["code"] == 400
    assert reason in error["details"]


def test_a_job_of_another_does_not_exist(caller, new_key, image):
    made = caller.post(PATH, json={"image": base64.b64encode(image).decode()}).json()

    other = caller.get(made["status_url"], headers={"api_token": new_key("other")})
    assert (other.status_code, other.json()["error"]["code"]) == (404, 404)
