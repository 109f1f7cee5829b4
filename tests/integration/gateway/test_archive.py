"""`GET /v1/jobs/{id}/archive` and `rmbg download`: whole, in order, with what is missing."""

import io
import zipfile

import httpx
import pytest

from producer.gateway.archives import AHEAD, Archive
from producer.results.archive import ArchiveFile
from shared.errors import ObjectMissing

pytestmark = pytest.mark.integration
IMAGES = 24


@pytest.fixture
def job(shop, hand):
    """A done job of 24 images, one of which failed."""
    keys = [f"shop/{n:02}{'bad' * (n == 5)}.jpg" for n in range(IMAGES)]
    job_id = shop.post("/v1/jobs", json={"keys": keys, "model": "RMBG-1.4"}).json()["job_id"]
    hand.run(job_id)
    return job_id


def archive_of(answer):
    assert answer.status_code == 200, answer.text
    assert int(answer.headers["content-length"]) == len(answer.content)
    return zipfile.ZipFile(io.BytesIO(answer.content))


def keys_of(shop, job, output="cutout_key"):
    return [each.get(output) for each in shop.get(f"/v1/jobs/{job}/results").json()["records"]]


def test_an_archive_has_every_file_in_the_order_of_the_images(shop, job):
    answer = shop.get(f"/v1/jobs/{job}/archive", params={"output": "cutout"})

    with archive_of(answer) as archive:
        assert archive.testzip() is None
        wanted = [f"cutout/shop/{n:02}.jpg.png" for n in range(IMAGES) if n != 5]
        assert archive.namelist() == wanted
        assert {archive.read(name) for name in wanted} == {b"png"}
        assert {each.compress_type for each in archive.infolist()} == {zipfile.ZIP_STORED}
    assert answer.headers["x-rmbg-parts"] == "1"
    with archive_of(shop.get(f"/v1/jobs/{job}/archive")) as archive:
        assert len(archive.namelist()) == 2 * (IMAGES - 1)


def test_a_missing_object_is_named(shop, job, gateway, bucket):
    gone = keys_of(shop, job)[3]
    gateway.services.objects.delete(bucket, [gone])

    with archive_of(shop.get(f"/v1/jobs/{job}/archive", params={"output": "cutout"})) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[-1] == "MISSING.txt"
        assert archive.read("MISSING.txt").decode() == f"3\tcutout/shop/03.jpg.png\t{gone}\n"
        assert len(archive.namelist()) == IMAGES - 1


@pytest.mark.parametrize("change", ["delete", "replace"])
def test_an_object_that_is_lost_in_mid_stream_breaks_the_archive(change, gateway, bucket):
    store = gateway.services.objects
    files = [ArchiveFile(n, f"x/{n}", f"{n}", 3) for n in range(3 * AHEAD)]
    for each in files:
        store.put(bucket, each.key, b"abc" * 2**18, content_type="image/png")
    archive = Archive(store, bucket, files)
    body = archive.body()
    next(body)

    if change == "delete":
        store.delete(bucket, [files[-1].key])
    else:
        store.put(bucket, files[-1].key, b"abcd", content_type="image/png")

    with pytest.raises(ObjectMissing, match=files[-1].key):
        list(body)
    archive.close()


def test_a_caller_notices_an_archive_that_breaks(shop, job, gateway, bucket, object_store):
    """The length is known before, so that a client never takes a part for the whole."""
    for key in keys_of(shop, job):
        if key:
            object_store.put(bucket, key, b"abcd" * 2**17, content_type="image/png")
    last = keys_of(shop, job)[-1]

    with shop.stream("GET", f"/v1/jobs/{job}/archive", params={"output": "cutout"}) as answer:
        pieces = answer.iter_raw(2**16)
        next(pieces)
        object_store.delete(bucket, [last])
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)


def test_a_key_reads_two_archives_at_once(shop, job, gateway):
    gateway.archive_readers.enter("shop")
    gateway.archive_readers.enter("shop")
    refused = shop.get(f"/v1/jobs/{job}/archive")
    gateway.archive_readers.leave("shop")

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")
    assert [shop.get(f"/v1/jobs/{job}/archive").status_code for _ in range(3)] == [200] * 3


def test_links_instead_of_a_zip(shop, job):
    body = shop.get(f"/v1/jobs/{job}/archive", params={"output": "mask", "format": "links"}).json()

    assert body["parts"] == 1
    assert [each["path"] for each in body["links"]][:2] == [
        "mask/shop/00.jpg.png",
        "mask/shop/01.jpg.png",
    ]
    assert httpx.get(body["links"][0]["url"]).content == b"png"


def test_what_does_not_exist_is_refused(shop, job, new_key, client_of):
    path = f"/v1/jobs/{job}/archive"
    assert shop.get(path, params={"part": 2}).status_code == 404
    assert "cutout" in shop.get(path, params={"output": "web"}).json()["detail"]
    assert client_of(new_key("other")).get(path).status_code == 404
    running = shop.post("/v1/jobs", json={"keys": ["shop/a.jpg"]}).json()["job_id"]
    assert shop.get(f"/v1/jobs/{running}/archive").json()["title"] == "Job not done"


def test_a_download_goes_on_where_it_was_interrupted(run_rmbg, shop, job, object_store, tmp_path):
    out = tmp_path / "out"
    first = run_rmbg("download", job, out, "--output", "cutout")
    assert (first.returncode, first.stderr) == (0, b"23 files downloaded, 0 there before\n")
    (out / "cutout/shop/01.jpg.png").unlink()
    (out / "cutout/shop/02.jpg.png").write_bytes(b"")
    gone = keys_of(shop, job)[3]
    object_store.delete(run_rmbg.keywords["env"]["RMBG_OUTPUT_BUCKET"], [gone])
    (out / "cutout/shop/03.jpg.png").unlink()

    again = run_rmbg("download", job, out, "--output", "cutout")

    assert again.returncode == 1
    assert b"2 files downloaded, 20 there before" in again.stderr
    assert (out / "MISSING.txt").read_text() == f"3\tcutout/shop/03.jpg.png\t{gone}\n"
    assert (out / "cutout/shop/02.jpg.png").read_bytes() == b"png"
