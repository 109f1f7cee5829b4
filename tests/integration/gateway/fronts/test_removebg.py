"""The API of remove.bg."""

import base64
import io
import zipfile

import httpx
import numpy as np
import pytest
from PIL import Image
from support.file_server import File
from support.gateway import serving
from support.pictures import encoded, photo
from support.until import until

from producer.gateway.app import build_app
from producer.gateway.context import Gateway
from producer.gateway.probes import Metrics

pytestmark = pytest.mark.integration
PATH = "/v1.0/removebg"


def opened(answer):
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def code_of(answer, status=400):
    assert answer.status_code == status, answer.text
    [error] = answer.json()["errors"]
    assert error["title"]
    return error["code"]


def test_a_preview_has_a_quarter_of_a_megapixel(client, worker, image):
    answer = client.post(PATH, files={"image_file": image})

    cutout = opened(answer)
    width, height = cutout.size
    assert (cutout.format, cutout.mode) == ("PNG", "RGBA")
    assert 0.24e6 < width * height <= 0.25e6
    assert (answer.headers["x-width"], answer.headers["x-height"]) == (str(width), str(height))
    assert answer.headers["x-credits-charged"] == "0"
    assert answer.headers["x-type"] == "other"
    assert int(answer.headers["x-ratelimit-remaining"]) < int(answer.headers["x-ratelimit-limit"])
    assert 0 < int(answer.headers["x-foreground-width"]) <= 1200
    assert 0 < int(answer.headers["x-foreground-height"]) <= 900


def test_every_source_gives_the_same_picture(client, worker, image, files):
    files.files["/a.jpg"] = File(image)
    text = base64.b64encode(image).decode()
    answers = [
        client.post(PATH, files={"image_file": image}),
        client.post(PATH, files={"image_file_b64": (None, text)}),
        client.post(PATH, data={"image_file_b64": text}),
        client.post(PATH, data={"image_url": f"{files.url}/a.jpg"}),
        client.post(PATH, json={"image_file_b64": text, "crop": False, "scale": None}),
        client.post(PATH, json={"image_url": f"{files.url}/a.jpg"}),
    ]

    first, *others = [np.asarray(opened(each)) for each in answers]
    assert all(np.array_equal(first, each) for each in others)


def test_a_field_of_over_a_megabyte(client, worker):
    large = encoded(Image.effect_noise((1100, 1100), 90), "PNG")
    text = base64.b64encode(large).decode()
    assert len(text) > 2**20

    assert opened(client.post(PATH, files={"image_file_b64": (None, text)}))


def test_json_has_the_picture_in_base64(client, worker, image):
    headers = {"Accept": "application/json"}
    answer = client.post(PATH, files={"image_file": image}, headers=headers)

    data = answer.json()["data"]
    assert Image.open(io.BytesIO(base64.b64decode(data["result_b64"]))).mode == "RGBA"
    for name in ("left", "top", "width", "height"):
        assert str(data[f"foreground_{name}"]) == answer.headers[f"x-foreground-{name}"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"size": "full"}, ("PNG", "RGBA", (1200, 900))),
        ({"size": "full", "bg_color": "ff0000"}, ("JPEG", "RGB", (1200, 900))),
        ({"size": "full", "format": "webp"}, ("WEBP", "RGBA", (1200, 900))),
        ({"size": "full", "channels": "alpha"}, ("PNG", "L", (1200, 900))),
        ({"size": "medium", "format": "jpg"}, ("JPEG", "RGB", (1200, 900))),
    ],
)
def test_sizes_and_formats(fields, expected, client, worker, image):
    answer = client.post(PATH, files={"image_file": image}, data=fields)

    picture = opened(answer)
    assert (picture.format, picture.mode, picture.size) == expected
    assert answer.headers["content-type"] == Image.MIME[picture.format]


def test_a_zip_has_colour_and_mask(client, worker, image):
    answer = client.post(PATH, files={"image_file": image}, data={"format": "zip"})

    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert sorted(archive.namelist()) == ["alpha.png", "color.jpg"]


def test_crop_and_scale(client, worker, image):
    fields = {"size": "full", "crop": "true", "scale": "50%"}
    answer = client.post(PATH, files={"image_file": image}, data=fields)

    alpha = opened(answer).getchannel("A")
    left, top, right, bottom = alpha.point(lambda level: 255 * (level > 127)).getbbox()
    share = max((right - left) / alpha.width, (bottom - top) / alpha.height)
    assert share == pytest.approx(0.5, abs=0.05)


@pytest.mark.usefixtures("worker")
def test_an_image_as_the_background(client, image, files, object_store, bucket):
    blue = encoded(Image.new("RGB", (300, 300), (0, 0, 255)), "PNG")
    files.files["/bg.png"] = File(blue)
    by_url = {"bg_image_url": f"{files.url}/bg.png", "format": "png"}
    answers = [
        client.post(PATH, files={"image_file": image}, data=by_url),
        client.post(
            PATH, files={"image_file": image, "bg_image_file": blue}, data={"format": "png"}
        ),
    ]

    first, second = (np.asarray(opened(each).convert("RGB")) for each in answers)
    assert np.array_equal(first, second)
    assert (first == (0, 0, 255)).all(axis=2).mean() > 0.1
    notes = [each.key for each in object_store.list(bucket, "_jobs/.ended/")]
    assert len(notes) == 2  # housekeeping deletes the copies of the background by these


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"data": {"size": "full"}}, "missing_source"),
        ({"json": {"image_url": ""}}, "missing_source"),
        ({"json": {"image_url": "http://a/", "image_file_b64": "x"}}, "multiple_sources"),
        ({"json": {"image_url": "no url"}}, "invalid_image_url"),
        ({"json": {"image_url": "{files}/none"}}, "failed_image_download"),
        ({"json": {"image_url": "{files}/big"}}, "file_too_large"),
        ({"json": {"image_url": "a", "bg_image_url": "no url"}}, "invalid_bg_image_url"),
        ({"json": {"image_url": "a", "bg_image_url": "{files}/no"}}, "failed_bg_download"),
        ({"json": {"image_file_b64": "%"}}, "failed_to_read_image"),
        ({"files": {"image_file": b""}}, "failed_to_read_image"),
        ({"files": {"image_file": b"x"}, "data": {"size": "huge"}}, "invalid_size"),
        ({"files": {"image_file": b"x", "picture": b"x"}}, "unknown_parameter"),
        (
            {"json": {"image_url": "a", "bg_color": "red", "bg_image_url": "b"}},
            "multiple_bg_sources",
        ),
        ({"content": b"[", "headers": {"Content-Type": "application/json"}}, "invalid_json"),
        ({"content": b"[]", "headers": {"Content-Type": "application/json"}}, "invalid_json"),
        ({"files": {"image_file": b"x" * (8 * 2**20)}}, "file_too_large"),
    ],
)
def test_the_codes_of_requests_that_are_refused(sent, code, client, files):
    files.files["/big"] = File(b"x" * (8 * 2**20 + 1))
    if "json" in sent:
        put = {name: value.replace("{files}", files.url) for name, value in sent["json"].items()}
        sent = {"json": put}

    assert code_of(client.post(PATH, **sent)) == code


def test_the_codes_of_images_that_fail(client, worker, image):
    def code(data, **fields):
        return code_of(client.post(PATH, files={"image_file": data}, data=fields))

    assert code(b"this is a text") == "invalid_file_type"
    assert code(image[:200]) == "failed_to_read_image"
    assert code(encoded(Image.new("L", (20_000, 10_000)), "PNG")) == "resolution_too_high"
    assert code(image, roi="0px 0px 1300px 900px") == "roi_exceeds_bounds"
    blank = encoded(Image.new("RGB", (64, 48), "white"), "JPEG")
    assert code(blank) == "unknown_foreground"


def test_a_wrong_key_is_403(client):
    for path, method in ((PATH, "POST"), ("/v1.0/account", "GET")):
        answer = client.request(method, path, headers={"X-Api-Key": "wrong"})
        assert code_of(answer, 403) == "auth_failed"


def test_the_key_may_be_a_bearer_token(lab, key):
    headers = {"Authorization": f"Bearer {key}"}

    assert httpx.get(f"{lab}/v1.0/account", headers=headers).status_code == 200


def test_the_account_has_credits(client):
    found = client.get("/v1.0/account").json()["data"]["attributes"]

    assert found["credits"]["total"] > 0
    assert {"subscription", "payg", "enterprise"} < found["credits"].keys()
    assert found["api"]["free_calls"] > 0


def test_a_key_over_its_rate_gets_429(lab, new_key):
    headers = {"X-Api-Key": new_key("slow", rate_per_minute=1)}
    answers = [httpx.get(f"{lab}/v1.0/account", headers=headers) for _ in range(2)]

    assert code_of(answers[1], 429) == "rate_limit_exceeded"
    assert int(answers[1].headers["retry-after"]) >= 1


def test_the_preview_can_be_whole(gateway, key, worker, image):
    settings = gateway.settings.model_copy(update={"preview": "full"})
    with serving(build_app(Gateway.of(settings, gateway.services), Metrics())) as url:
        answer = httpx.post(
            url + PATH, files={"image_file": image}, headers={"X-Api-Key": key}, timeout=60
        )
    assert opened(answer).size == (1200, 900)


def test_a_jpeg_without_transparency_is_white(client, worker):
    answer = client.post(
        PATH, files={"image_file": encoded(photo(64, 48), "JPEG")}, data={"format": "jpg"}
    )

    assert opened(answer).mode == "RGB"


def test_parameters_in_the_address_count(client, worker, image):
    answer = client.post(PATH, params={"size": "full"}, files={"image_file": image})

    assert opened(answer).size == (1200, 900)
    refused = client.post(PATH, params={"colour": "red"}, files={"image_file": image})
    assert code_of(refused) == "unknown_parameter"


def test_an_image_to_improve_becomes_a_job_that_needs_a_person(client, worker, image):
    files = {"image_file": ("shoe.jpg", image)}
    answer = client.post("/v1.0/improve", files=files, data={"tag": "Red shoes!"})

    assert answer.status_code == 200, answer.text
    where = f"/v1/jobs/{answer.json()['id']}"
    until(lambda: client.get(where).json()["state"] == "done")
    [record] = client.get(f"{where}/results", params={"verdict": "review"}).json()["records"]
    assert record["image_key"].endswith("/shoe.jpg")
    assert record["cutout_key"].startswith("improve/Red-shoes/")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"data": {"tag": "a"}}, "missing_source"),
        ({"files": {"image_file": b""}}, "failed_to_read_image"),
        ({"files": {"image_file": b"x"}, "data": {"size": "full"}}, "unknown_parameter"),
    ],
)
def test_an_image_to_improve_with_problems(sent, code, client):
    assert code_of(client.post("/v1.0/improve", **sent)) == code
