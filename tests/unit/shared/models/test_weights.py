"""The weights cache, filled from a real HTTP server."""

import hashlib
import logging
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.cards import card
from support.file_server import File, FileServer
from support.until import until

from shared.errors import WeightsInvalid
from shared.models import weights
from shared.models.card import Source
from shared.models.registry import REGISTRY

BODY = bytes(range(256)) * 4096
HALF = len(BODY) // 2
NOWHERE = "http://127.0.0.1:1/never"
ROOT = Path(__file__).parents[4]
OVERLAP_S = 0.5
"""How long an answer is held back for a second request that must not come."""
PULL = f"""
import sys
sys.path.append("tests")
from pathlib import Path
from shared.models import weights
from shared.models.card import Source
from support.cards import card

source = Source(
    kind="github", location={NOWHERE!r}, file_name="net.onnx", checksum="sha256:" + sys.argv[3]
)
model = card(source)
print("pulling", flush=True)
print(weights.pull(model, Path(sys.argv[1]), base_url=sys.argv[2]), flush=True)
"""


def source(body=BODY, *, kind="github", location=NOWHERE, name="net.onnx"):
    digest = hashlib.sha256(body).hexdigest()
    return Source(kind=kind, location=location, file_name=name, checksum=f"sha256:{digest}")


def model(*sources):
    return card(*(sources or (source(),)))


def files_in(home):
    """Return the names in the cache, the lock left out."""
    return sorted(p.name for p in (home / "weights").iterdir() if not p.name.endswith(".lock"))


def partial(home):
    """Return the path of the unfinished download of `source()`."""
    (home / "weights").mkdir(exist_ok=True)
    return home / "weights" / f".{source().digits[:16]}-net.onnx.part"


@pytest.fixture
def server():
    with FileServer({"/net.onnx": File(BODY)}) as running:
        yield running


@pytest.fixture
def pull(tmp_path, server):
    """Pull a model from the server as a mirror; by default the one model above."""
    return lambda which=None, **options: weights.pull(
        which or model(), tmp_path, base_url=server.url, **options
    )


@pytest.fixture
def pulling_process(tmp_path, server):
    """Start a process that pulls the model, and return it when it is about to."""
    started = []

    def start():
        command = [sys.executable, "-c", PULL, str(tmp_path), server.url, source().digits]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        started.append(process)
        assert process.stdout.readline() == "pulling\n"
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def test_a_pull_leaves_a_verified_file_under_its_hash(pull, tmp_path):
    path = pull()

    assert path.read_bytes() == BODY
    assert path == tmp_path / "weights" / f"{source().digits[:16]}-net.onnx"
    assert weights.locate(model(), tmp_path) == path
    assert files_in(tmp_path) == [path.name]


def test_a_second_pull_sends_no_request(pull, server):
    pull()
    pull()

    assert server.paths == ["/net.onnx"]


def test_threads_that_pull_at_once_download_once(pull, server):
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: pull(), range(4)))

    assert len(set(paths)) == 1
    assert server.paths == ["/net.onnx"]


def test_two_processes_that_pull_at_once_download_once(pulling_process, server):
    """The first answer is held back until the second process had time to send a request."""
    both_pull, second_request = threading.Event(), threading.Event()

    def hold():
        if len(server.requests) > 1:
            second_request.set()
        both_pull.wait()
        second_request.wait(OVERLAP_S)

    server.on_request = hold
    processes = [pulling_process(), pulling_process()]
    both_pull.set()
    paths = {process.communicate()[0] for process in processes}

    assert len(paths) == 1
    assert server.paths == ["/net.onnx"]


def test_the_lock_of_a_killed_process_is_no_obstacle_and_its_bytes_are_kept(
    pulling_process, pull, server, tmp_path
):
    arrived = partial(tmp_path)
    never = threading.Event()
    server.files["/net.onnx"] = File(BODY, hold_after=(HALF, never))
    process = pulling_process()
    until(lambda: arrived.exists() and arrived.stat().st_size)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept_bytes = arrived.stat().st_size
    server.files["/net.onnx"] = File(BODY)

    path = pull()
    never.set()

    assert path.read_bytes() == BODY
    assert server.ranges == [None, f"bytes={kept_bytes}-"]


def test_an_interrupted_download_is_continued_by_the_next_pull(pull, server, tmp_path):
    server.files["/net.onnx"] = File(BODY, cut_after=HALF)
    with pytest.raises(WeightsInvalid, match="rmbg weights pull net"):
        pull()
    kept_bytes = partial(tmp_path).stat().st_size
    server.files["/net.onnx"] = File(BODY)

    path = pull()

    assert path.read_bytes() == BODY
    assert server.ranges == [None, f"bytes={kept_bytes}-"]
    assert files_in(tmp_path) == [path.name]


@pytest.mark.parametrize(
    "wrong", [b"x" * HALF, b"x" * len(BODY), BODY + b"more"], ids=["half", "whole", "too long"]
)
def test_a_partial_file_of_another_version_is_downloaded_again_from_the_start(
    pull, server, tmp_path, wrong
):
    """The checksum decides, whatever the server says about the range."""
    partial(tmp_path).write_bytes(wrong)

    path = pull()

    assert path.read_bytes() == BODY
    assert server.ranges == [f"bytes={len(wrong)}-", None]


@pytest.mark.parametrize(
    "answer",
    [
        File(BODY[:-1], has_length=False),
        File(b"an error page"),
    ],
    ids=["truncated without a length", "another file"],
)
def test_a_file_with_the_wrong_checksum_is_removed_and_reported(pull, server, tmp_path, answer):
    server.files["/net.onnx"] = answer

    with pytest.raises(WeightsInvalid, match=rf"SHA-256 is .* expected {source().digits}"):
        pull()

    assert files_in(tmp_path) == []


def test_progress_is_reported_in_bytes(pull):
    reported = []

    pull(progress=lambda *now: reported.append(now))

    assert reported[-1] == (len(BODY), len(BODY))


def test_a_download_is_logged_at_its_start_and_end(pull, caplog):
    """A worker without a terminal shows why its start takes minutes."""
    caplog.set_level(logging.INFO, "shared.models.weights")

    pull()
    pull()

    assert [record.message for record in caplog.records] == [
        "downloading weights",
        "weights downloaded",
    ]


def test_sources_are_tried_in_order(tmp_path, server):
    """The first cannot be reached; the second has a file and a hash of its own."""
    server.files["/b"] = File(b"half precision")
    second = source(b"half precision", location=f"{server.url}/b", name="half.onnx")
    both = model(source(), second)

    path = weights.pull(both, tmp_path)

    assert path.read_bytes() == b"half precision"
    assert weights.locate(both, tmp_path) == path


def test_the_unfinished_download_of_another_source_is_removed(tmp_path, server):
    server.files |= {"/a": File(BODY, cut_after=HALF), "/b": File(b"half precision")}
    first = source(location=f"{server.url}/a")
    second = source(b"half precision", location=f"{server.url}/b", name="half.onnx")

    path = weights.pull(model(first, second), tmp_path)

    assert files_in(tmp_path) == [path.name]


def test_an_npm_package_is_a_source_too(tmp_path, npm_package):
    npm_package({"resources.json": b'{"/m": {"chunks": [{"hash": "a"}], "size": 1}}', "a": BODY})
    packed = Source(
        kind="npm", location="net@1.0.0", resource="/m", file_name="a", checksum=source().checksum
    )

    path = weights.pull(model(packed), tmp_path)

    assert path.read_bytes() == BODY
    assert files_in(tmp_path) == [path.name]


def test_the_token_for_hugging_face_is_not_sent_to_a_mirror(pull, server):
    pull(hf_token="hf_secret")

    assert [request.authorization for request in server.requests] == [None]


def test_a_damaged_file_in_the_cache_is_downloaded_again(pull):
    path = pull()
    path.write_bytes(BODY[:-1])

    assert pull().read_bytes() == BODY


def test_offline_sends_no_request_and_names_the_variable(pull, server):
    with pytest.raises(WeightsInvalid, match="RMBG_OFFLINE"):
        pull(offline=True)

    assert server.requests == []


def test_offline_uses_the_cached_file(pull):
    path = pull()

    assert pull(offline=True) == path


def test_a_cache_that_has_the_file_is_only_read(tmp_path):
    path = tmp_path / "weights" / f"{source().digits[:16]}-net.onnx"
    path.parent.mkdir()
    path.write_bytes(BODY)
    before = path.parent.stat().st_mtime_ns

    assert weights.pull(model(), tmp_path, offline=True) == path
    assert list(path.parent.iterdir()) == [path]
    assert path.parent.stat().st_mtime_ns == before


def test_known_lists_every_model_with_its_path(tmp_path):
    assert {m.name: path for m, path in weights.known(tmp_path)} == dict.fromkeys(REGISTRY)


def test_a_file_that_is_known_by_its_md5_is_checked_and_recorded_by_its_sha256(server, tmp_path):
    known = source().model_copy(update={"checksum": f"md5:{hashlib.md5(BODY).hexdigest()}"})
    wrong = known.model_copy(update={"checksum": "md5:" + "0a" * 16})

    path = weights.pull(model(known), tmp_path, base_url=server.url)

    assert weights.registered_sha256(model(known), path) == source().digits
    with pytest.raises(WeightsInvalid, match=r"MD5 is [0-9a-f]{32}, expected 0a0a"):
        weights.pull(model(wrong), tmp_path, base_url=server.url)


def test_verify_names_both_hashes_and_the_fix(tmp_path):
    file = tmp_path / "net.onnx"
    file.write_bytes(b"other")

    with pytest.raises(WeightsInvalid) as raised:
        weights.verify(file, source())

    text = str(raised.value)
    assert str(file) in text
    assert source().digits in text
    assert hashlib.sha256(b"other").hexdigest() in text
    assert "rmbg weights pull" in text


def test_verify_reports_a_missing_file(tmp_path):
    with pytest.raises(WeightsInvalid, match="No such file"):
        weights.verify(tmp_path / "net.onnx", source())
