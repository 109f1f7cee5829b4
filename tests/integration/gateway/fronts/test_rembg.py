"""The API of rembg's server."""

import io

import numpy as np
import pytest
from PIL import Image
from support.file_server import File

pytestmark = pytest.mark.integration
PATH = "/api/remove"


def opened(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return Image.open(io.BytesIO(answer.content))


def test_a_file_and_a_url_give_the_same_cutout(client, worker, image, files):
    files.files["/a.jpg"] = File(image)
    posted = opened(client.post(PATH, files={"file": image}))
    fetched = opened(client.get(PATH, params={"url": f"{files.url}/a.jpg", "a": "true"}))

    assert (posted.mode, posted.size) == ("RGBA", (1200, 900))
    assert np.array_equal(np.asarray(posted), np.asarray(fetched))


def test_the_mask_alone(client, worker, image):
    soft = opened(client.post(PATH, files={"file": image}, data={"om": "true"}))
    hard = opened(client.post(PATH, files={"file": image}, params={"om": "true", "ppm": "true"}))

    assert (soft.mode, hard.mode) == ("L", "L")
    assert set(np.unique(np.asarray(hard))) <= {0, 255}
    assert len(np.unique(np.asarray(soft))) > 2


def test_a_background_colour(client, worker, image):
    answer = client.post(PATH, files={"file": image}, data={"bgc": "255,0,0,255"})

    picture = np.asarray(opened(answer).convert("RGBA"))
    assert (picture[..., 3] == 255).all()
    assert (picture[..., :3] == (255, 0, 0)).all(axis=2).mean() > 0.1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"model": "u3net"}, "isnet-general-use"),
        ({"bgc": "red"}, "r,g,b,a"),
        ({"bgc": "1,2,3"}, "r,g,b,a"),
        ({"bgc": "1,2,3,256"}, "r,g,b,a"),
        ({"om": "perhaps"}, "true or false"),
        ({"af": "200"}, "af"),
        ({"extras": '{"x": 1}'}, "extras"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_we_cannot_do_is_refused(values, reason, client):
    answer = client.post(PATH, files={"file": b"x"}, data=values)

    assert answer.status_code == 400
    assert reason in answer.json()["detail"]


def test_a_request_without_an_image_is_refused(client):
    assert client.get(PATH).status_code == 400
    assert client.post(PATH, data={"om": "true"}).status_code == 400
    assert client.get(PATH, params={"url": "ftp://a/b"}).status_code == 400


def test_a_key_is_needed(client):
    answer = client.post(PATH, files={"file": b"x"}, headers={"X-Api-Key": ""})

    assert (answer.status_code, list(answer.json())) == (401, ["detail"])
