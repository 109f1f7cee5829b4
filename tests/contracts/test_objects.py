"""The object store's contract, over a real S3; canned answers for what that never does."""

from __future__ import annotations

import errno
import io
import socket
import tempfile
import threading
import time
import tracemalloc
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from support.canned import canned, error, found
from support.object_clients import make_store
from support.servers import raw_s3

from shared.errors import (
    BucketUnavailable,
    InvalidKey,
    ObjectMissing,
    StoreUnavailable,
)
from shared.objects import PreconditionFailed, S3Store
from shared.settings import ServiceSettings, StoreSettings

pytestmark = pytest.mark.integration

PNG = "image/png"
# not among them: SeaweedFS takes "//" and a backslash for "/"
ODD_KEYS = [
    "plain.jpg",
    "a b/c d.jpg",
    "plus+percent%20&question?hash#.jpg",
    "ünïcode/日本/写真.jpg",
    "quote'\"<x>.jpg",
    "semi;colon:at@=,$!*().jpg",
    "tilde~caret^brace{}|.jpg",
]


@pytest.fixture
def store(client, settings):
    return make_store(client, settings)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def settings(servers):
    return ServiceSettings.from_env(servers.settings()).objects


# --- reading and writing


def test_what_is_put_can_be_got(store, bucket):
    etag = store.put(bucket, "k", b"bytes", content_type=PNG)

    body = store.get(bucket, "k")

    assert (body.data, body.etag) == (b"bytes", etag)
    assert '"' not in etag


def test_an_empty_object_and_a_large_one_come_back_whole(store, bucket):
    large = bytes(range(256)) * 40_000  # over SeaweedFS' chunk of 4 MB

    for key, data in (("empty", b""), ("large", large)):
        store.put(bucket, key, data, content_type=PNG)

        assert store.get(bucket, key).data == data


def test_what_is_downloaded_is_written_from_where_the_file_stands(store, bucket):
    large = bytes(range(256)) * 40_000
    store.put(bucket, "k", large, content_type=PNG)
    file = io.BytesIO()
    file.write(b"head")

    store.download(bucket, "k", file)

    assert file.getvalue() == b"head" + large


def test_downloading_what_is_not_there_writes_nothing(store, bucket):
    file = io.BytesIO()

    with pytest.raises(ObjectMissing, match=f"{bucket}/nix"):
        store.download(bucket, "nix", file)

    assert file.getvalue() == b""


def test_a_download_holds_little_of_the_object(store, bucket):
    """The records of a million items are 640 MB."""
    store.put(bucket, "k", bytes(32 << 20), content_type=PNG)
    tracemalloc.start()
    try:
        with tempfile.TemporaryFile() as file:
            store.download(bucket, "k", file)
            assert file.tell() == 32 << 20
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 8 << 20


def test_a_file_that_takes_no_more_is_not_the_stores_fault(store, bucket):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    store.put(bucket, "k", b"1", content_type=PNG)

    with pytest.raises(OSError, match="No space"):
        store.download(bucket, "k", Full())


def test_a_file_is_sent_from_where_it_stands(store, bucket):
    file = io.BytesIO(b"headbody")
    file.seek(4)

    store.put(bucket, "k", file, content_type=PNG)

    assert store.get(bucket, "k").data == b"body"


def test_put_twice_keeps_the_last(store, bucket):
    """A retried item overwrites its own result."""
    first = store.put(bucket, "k", b"1", content_type=PNG)
    second = store.put(bucket, "k", b"2", content_type=PNG)

    assert store.get(bucket, "k").data == b"2"
    assert first != second


def test_head_tells_size_tag_time_and_metadata(store, bucket):
    etag = store.put(
        bucket, "k", b"12345", content_type=PNG, metadata={"Source-Etag": "x", "record": "e30="}
    )

    info = store.head(bucket, "k")

    assert info.key == "k"
    assert info.size_bytes == 5
    assert info.etag == etag
    assert info.metadata == {"source-etag": "x", "record": "e30="}
    assert info.modified_at.tzinfo is UTC
    assert abs(info.modified_at - datetime.now(UTC)) < timedelta(minutes=5)


def test_names_of_metadata_come_in_lower_case_from_a_store_that_writes_them_large(at):
    with canned(found(b"", X_Amz_Meta_Source_Etag="x")) as server:
        info = at(server.url).head("bucket", "k")

    assert info.metadata == {"source-etag": "x"}
    assert info.modified_at == datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC)


def test_metadata_holds_a_records_kilobyte_and_a_half(store, bucket):
    record = "A" * 1500
    store.put(bucket, "k", b"", content_type=PNG, metadata={"record": record})

    assert store.head(bucket, "k").metadata["record"] == record


def test_the_content_type_is_stored(store, bucket, servers):
    store.put(bucket, "k", b"", content_type=PNG)

    raw = raw_s3(ServiceSettings.from_env(servers.settings()))
    assert raw.head_object(Bucket=bucket, Key="k")["ContentType"] == PNG


def test_head_of_what_is_not_there_is_none(store, bucket):
    assert store.head(bucket, "absent") is None


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_keys_are_written_read_listed_signed_and_deleted(store, bucket, key):
    store.put(bucket, key, key.encode(), content_type=PNG)

    assert store.get(bucket, key).data == key.encode()
    assert store.head(bucket, key).key == key
    assert [info.key for info in store.list(bucket, key[:2])] == [key]
    with urllib.request.urlopen(store.sign(bucket, key, expires_s=60), timeout=10) as answer:
        assert answer.read() == key.encode()
    store.delete(bucket, [key])
    assert store.head(bucket, key) is None


def test_an_open_object_tells_its_size_and_etag_before_it_is_read(store, bucket):
    etag = store.put(bucket, "k", b"123456", content_type=PNG)

    with store.open(bucket, "k") as opened:
        assert (opened.size_bytes, opened.etag) == (6, etag)
        assert opened.read() == b"123456"


def test_an_open_object_that_is_not_read_can_be_opened_again(store, bucket):
    store.put(bucket, "k", b"old", content_type=PNG)
    with store.open(bucket, "k") as opened:
        assert opened.size_bytes == 3

    store.put(bucket, "k", b"newer", content_type=PNG)
    with store.open(bucket, "k") as opened:
        assert (opened.size_bytes, opened.read()) == (5, b"newer")


def test_opening_an_object_that_does_not_exist_names_bucket_and_key(store, bucket):
    with pytest.raises(ObjectMissing, match=f"{bucket}/absent"), store.open(bucket, "absent"):
        pytest.fail("it was opened")


def test_an_error_of_the_caller_passes_through_an_open_object(store, bucket):
    """It is not the store's, whatever its type."""
    store.put(bucket, "k", b"x", content_type=PNG)

    with pytest.raises(OSError, match="of the caller"), store.open(bucket, "k"):
        raise OSError("of the caller")


def test_the_body_of_an_open_object_that_is_not_read_is_not_received(at):
    """The head says enough: the body never comes here, and nobody waits for it."""
    with (
        canned(found(b"", claimed_bytes=10**12)) as server,
        at(server.url).open("bucket", "k") as opened,
    ):
        assert opened.size_bytes == 10**12


# --- conditions


def test_if_absent_writes_once(store, bucket):
    store.put(bucket, "k", b"first", content_type=PNG, if_absent=True)

    with pytest.raises(PreconditionFailed):
        store.put(bucket, "k", b"second", content_type=PNG, if_absent=True)
    assert store.get(bucket, "k").data == b"first"


def test_if_match_replaces_only_what_it_saw(store, bucket):
    seen = store.put(bucket, "k", b"first", content_type=PNG)
    store.put(bucket, "k", b"second", content_type=PNG, if_match=seen)

    with pytest.raises(PreconditionFailed):
        store.put(bucket, "k", b"third", content_type=PNG, if_match=seen)
    assert store.get(bucket, "k").data == b"second"


def test_if_match_of_what_is_gone_fails_and_writes_nothing(store, bucket):
    seen = store.put(bucket, "k", b"first", content_type=PNG)
    store.delete(bucket, ["k"])

    with pytest.raises(PreconditionFailed):
        store.put(bucket, "k", b"second", content_type=PNG, if_match=seen)
    assert store.head(bucket, "k") is None


def test_of_sixteen_writers_of_an_absent_key_one_wins(store, bucket):
    start = threading.Barrier(16)
    winners, losers = [], []

    def write(n):
        start.wait()
        try:
            store.put(bucket, "k", b"%d" % n, content_type=PNG, if_absent=True)
        except PreconditionFailed:
            losers.append(n)
        else:
            winners.append(n)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(winners), len(losers)) == (1, 15)
    assert store.get(bucket, "k").data == b"%d" % winners[0]


def test_a_conflict_of_conditional_writes_is_tried_again(at):
    """409: another write of the key is under way; the file is sent again from its start."""
    file = io.BytesIO(b"headbody")
    file.seek(4)
    with canned(error(409, "ConditionalRequestConflict"), found(b"")) as server:
        etag = at(server.url).put("bucket", "k", file, content_type=PNG, if_absent=True)

        assert etag == "e"
        assert server.bodies == [b"body", b"body"]


@pytest.mark.parametrize(
    "refusal",
    [
        error(500, "InternalError"),
        error(503, "SlowDown"),
        error(400, "InvalidRequest", "Content-MD5 is required"),
    ],
)
def test_a_file_that_is_sent_again_is_sent_from_where_it_stood(refusal, at):
    """The client goes back to position 0 of a body."""
    file = io.BytesIO(b"headbody")
    file.seek(4)
    with canned(refusal, found(b"")) as server:
        at(server.url, attempts=2).put("bucket", "k", file, content_type=PNG)

        assert server.bodies == [b"body", b"body"]


def test_a_store_that_says_not_found_to_a_condition_says_that_it_fails(at):
    """Amazon's answer to If-Match where nothing is; SeaweedFS says 412."""
    with canned(error(404, "NoSuchKey")) as server, pytest.raises(PreconditionFailed):
        at(server.url).put("bucket", "k", b"1", content_type=PNG, if_match="e")


def test_a_lasting_conflict_is_given_up_after_three_rounds(at):
    with canned(error(409, "ConditionalRequestConflict")) as server:
        with pytest.raises(StoreUnavailable, match="another write") as caught:
            at(server.url).put("bucket", "k", b"1", content_type=PNG, if_absent=True)

        assert server.requests == 3
    assert (caught.value.bucket, caught.value.operation) == ("bucket", "put")
    assert caught.value.code == "ConditionalRequestConflict"


# --- listing and deleting


def test_a_listing_is_in_order_below_the_prefix_and_after_the_start(store, bucket):
    for key in ("p/b", "p/a", "q/x", "p/c", "p"):
        store.put(bucket, key, key.encode(), content_type=PNG)

    assert [info.key for info in store.list(bucket, "p/")] == ["p/a", "p/b", "p/c"]
    assert [info.key for info in store.list(bucket, "p/", start_after="p/a")] == ["p/b", "p/c"]
    assert [info.key for info in store.list(bucket, "")] == ["p", "p/a", "p/b", "p/c", "q/x"]
    assert list(store.list(bucket, "none")) == []


def test_a_listing_tells_what_head_tells_but_metadata(store, bucket):
    store.put(bucket, "k", b"123", content_type=PNG, metadata={"a": "b"})

    listed = list(store.list(bucket, ""))

    assert listed == [replace(store.head(bucket, "k"), metadata={})]


@pytest.fixture
def full_bucket(store, bucket):
    """A bucket of 1,050 keys: more than one page and more than one delete request."""
    keys = [f"n/{number:05}" for number in range(1050)]

    def write(some):
        for key in some:
            store.put(bucket, key, b"", content_type=PNG)

    threads = [threading.Thread(target=write, args=(keys[n::16],)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return bucket, keys


def test_pages_are_joined_and_deletes_are_split(store, full_bucket):
    bucket, keys = full_bucket

    assert [info.key for info in store.list(bucket, "n/")] == keys
    store.delete(bucket, (key for key in keys[5:]))
    assert [info.key for info in store.list(bucket, "n/")] == keys[:5]


def test_a_page_is_asked_for_when_it_is_needed(full_bucket, settings):
    """A listing of a million keys is never held: the second page is not asked for early."""
    bucket, keys = full_bucket
    store = S3Store(settings)
    asked = []
    store._client.meta.events.register("before-send.s3.*", lambda request, **_: asked.append(1))

    listing = store.list(bucket, "n/")
    assert asked == []
    first = [next(listing).key for _ in range(1000)]
    assert (first, len(asked)) == (keys[:1000], 1)
    assert [info.key for info in listing] == keys[1000:]
    assert len(asked) == 2


def test_deleting_what_is_not_there_is_no_error(store, bucket):
    store.delete(bucket, ["absent"])
    store.delete(bucket, [])


# --- signing


def test_a_signed_link_reads_without_credentials_until_it_is_altered(store, bucket):
    store.put(bucket, "k", b"shown", content_type=PNG)
    url = store.sign(bucket, "k", expires_s=60)

    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == b"shown"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url.replace("/k?", "/other?"), timeout=10)


def test_signing_asks_no_server(at):
    url = at(f"http://127.0.0.1:{free_port()}").sign("bucket", "k", expires_s=3600)

    assert "X-Amz-Expires=3600" in url
    assert "the-secret" not in url


# --- what is missing, forbidden or refused


def test_getting_what_is_not_there_names_bucket_and_key(store, bucket):
    with pytest.raises(ObjectMissing, match=f"{bucket}/absent.jpg") as caught:
        store.get(bucket, "absent.jpg")

    assert (caught.value.bucket, caught.value.operation) == (bucket, "get")
    assert caught.value.code == "NoSuchKey"


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("get", lambda store: store.get("no-such-bucket", "k")),
        ("download", lambda store: store.download("no-such-bucket", "k", io.BytesIO())),
        ("put", lambda store: store.put("no-such-bucket", "k", b"", content_type=PNG)),
        (
            "put",
            lambda store: store.put("no-such-bucket", "k", b"", content_type=PNG, if_absent=True),
        ),
        ("list", lambda store: list(store.list("no-such-bucket", ""))),
        ("delete", lambda store: store.delete("no-such-bucket", ["k"])),
        ("check", lambda store: store.check("no-such-bucket")),
    ],
    ids=["get", "download", "put", "put if absent", "list", "delete", "check"],
)
def test_a_missing_bucket_raises_bucket_unavailable_with_the_call(store, operation, call):
    with pytest.raises(BucketUnavailable, match="no-such-bucket") as caught:
        call(store)

    assert (caught.value.bucket, caught.value.operation) == ("no-such-bucket", operation)
    assert caught.value.code == "NoSuchBucket"


def test_a_name_that_no_bucket_can_have_is_the_buckets_fault(store):
    with pytest.raises(BucketUnavailable, match="not a bucket"):
        store.get("not a bucket", "k")


@pytest.mark.parametrize("key", ["", "\udc80.jpg", "x" * 256 + ".jpg"])
def test_a_key_the_store_cannot_have_is_the_items_fault(store, bucket, key):
    with pytest.raises(InvalidKey):
        store.put(bucket, key, b"", content_type=PNG)


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.put("inbox", "k", b"", content_type=PNG),
        lambda store: store.delete("inbox", ["k"]),
        lambda store: store.get("cutouts", "k"),
        lambda store: store.head("cutouts", "k"),
        lambda store: list(store.list("cutouts", "")),
        lambda store: store.check("cutouts"),
    ],
    ids=["put", "delete", "get", "head", "list", "check"],
)
def test_a_forbidden_bucket_is_the_buckets_fault(servers, call, client):
    """An identity that may read `inbox` and nothing else."""
    reader = make_store(client, ServiceSettings.from_env(servers.settings("reader")).objects)

    with pytest.raises(BucketUnavailable, match=r"inbox|cutouts"):
        call(reader)


def test_the_rights_of_a_reader_and_of_a_writer_are_enough(servers, client):
    """Get and List on inputs; Get and Put on outputs."""
    reader = make_store(client, ServiceSettings.from_env(servers.settings("reader")).objects)
    writer = make_store(client, ServiceSettings.from_env(servers.settings("writer")).objects)

    reader.check("inbox")
    assert list(reader.list("inbox", "nothing-here/")) == []
    writer.check("cutouts")
    writer.put("cutouts", "k", b"1", content_type=PNG)
    assert writer.head("cutouts", "k").size_bytes == 1


@pytest.mark.parametrize("change", ["access_key_id", "secret_access_key"])
def test_wrong_credentials_say_which_service_and_what_to_check(settings, bucket, change, client):
    store = make_store(client, settings.model_copy(update={change: "wrong-one"}))

    for call in (store.check, lambda name: store.get(name, "k")):
        with pytest.raises(BucketUnavailable) as caught:
            call(bucket)
        text = str(caught.value)
        assert settings.endpoint in text
        assert "check RMBG_S3_ACCESS_KEY_ID" in text
        assert settings.access_key_id not in text
        assert settings.secret_access_key not in text
        assert "wrong-one" not in text


def test_no_credentials_at_all_say_what_to_set(servers, bucket, monkeypatch, tmp_path, client):
    """Where no key is set boto3's own chain is asked, here with nothing in it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    endpoint = servers.settings()["RMBG_S3_ENDPOINT"]

    with pytest.raises(StoreUnavailable, match="set RMBG_S3_ACCESS_KEY_ID"):
        make_store(client, StoreSettings(endpoint=endpoint)).check(bucket)


def test_the_surroundings_aws_variables_do_not_matter(settings, bucket, monkeypatch, client):
    monkeypatch.setenv("AWS_PROFILE", "does-not-exist")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "else")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    make_store(client, settings).check(bucket)


def test_without_an_endpoint_it_is_amazons_whatever_the_surroundings_name(monkeypatch, at):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")

    url = at(None, attempts=1).sign("my-bucket", "k", expires_s=60)

    assert urlsplit(url).hostname.startswith("my-bucket.s3.")
    assert urlsplit(url).hostname.endswith(".amazonaws.com")


# --- a store that is away, slow or out of order


def test_check_finds_a_good_bucket_good(store, bucket):
    store.check(bucket)


CALLS = {
    "get": lambda store: store.get("bucket", "k"),
    "head": lambda store: store.head("bucket", "k"),
    "put": lambda store: store.put("bucket", "k", b"1", content_type=PNG),
    "list": lambda store: list(store.list("bucket", "")),
    "delete": lambda store: store.delete("bucket", ["k"]),
    "check": lambda store: store.check("bucket"),
}


@pytest.mark.parametrize(("operation", "call"), CALLS.items(), ids=CALLS)
def test_an_unreachable_store_is_unavailable(operation, call, at):
    url = f"http://127.0.0.1:{free_port()}"

    with pytest.raises(StoreUnavailable, match=f"{url}.*check RMBG_S3_ENDPOINT") as caught:
        call(at(url))

    assert (caught.value.bucket, caught.value.operation) == ("bucket", operation)
    assert caught.value.code == ""


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_store_that_never_answers_is_unavailable(call, at):
    with canned(None) as server, pytest.raises(StoreUnavailable, match=server.url):
        call(at(server.url, attempts=1))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_busy_store_is_unavailable(call, at):
    with canned(error(503, "SlowDown")) as server, pytest.raises(StoreUnavailable):
        call(at(server.url, attempts=1))


def test_check_keeps_its_ten_seconds_with_the_products_timeouts(client):
    """A black hole: connections are taken, and nothing is ever answered."""
    settings = StoreSettings(access_key_id="id", secret_access_key="the-secret")
    with canned(None) as server:
        started_s = time.monotonic()
        with pytest.raises(StoreUnavailable, match="check RMBG_S3_ENDPOINT"):
            make_store(client, settings.model_copy(update={"endpoint": server.url})).check("bucket")

        assert time.monotonic() - started_s < 10


def test_a_fault_that_passes_is_tried_again(at):
    with canned(error(500, "InternalError"), error(503, "SlowDown"), found(b"x")) as server:
        assert at(server.url).get("bucket", "k").data == b"x"
        assert server.requests == 3


def test_attempts_are_limited(at):
    with canned(error(500, "InternalError")) as server:
        with pytest.raises(StoreUnavailable, match="InternalError, HTTP 500"):
            at(server.url, attempts=2).get("bucket", "k")

        assert server.requests == 2


def test_a_torn_body_is_unavailable_and_never_passed_on(at):
    with (
        canned(found(b"half", claimed_bytes=8)) as server,
        pytest.raises(StoreUnavailable, match="get got no answer"),
    ):
        at(server.url).get("bucket", "k")


def test_a_torn_download_is_unavailable(at):
    with (
        canned(found(b"half", claimed_bytes=8)) as server,
        pytest.raises(StoreUnavailable, match="download got no answer"),
    ):
        at(server.url).download("bucket", "k", io.BytesIO())


def test_an_address_where_no_s3_answers_is_unavailable(at):
    """Not "no such object": nothing there knows of objects."""
    page = b"HTTP/1.1 404 -\r\nConnection: close\r\nContent-Length: 6\r\n\r\n<html>"
    with canned(page) as server, pytest.raises(StoreUnavailable):
        at(server.url).check("bucket")


def test_errors_hold_no_secret(settings, client):
    with pytest.raises(StoreUnavailable) as caught:
        make_store(
            client, settings.model_copy(update={"endpoint": f"http://127.0.0.1:{free_port()}"})
        ).get("bucket", "k")

    assert settings.secret_access_key not in str(caught.value)
    assert settings.access_key_id not in str(caught.value)
