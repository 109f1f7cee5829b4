"""What the store over obstore leaves to boto3, and that both send the same requests."""

import multiprocessing
import threading
from urllib.parse import urlsplit

import pytest
from support.canned import canned, error, found
from support.object_clients import make_store

from shared.errors import (
    BucketUnavailable,
    InvalidKey,
    ObjectArchived,
    ObjectMissing,
    RequestRefused,
    StoreUnavailable,
)
from shared.objects import S3Store
from shared.objects.choice import make_worker_store
from shared.objects.obstore_clients import BucketClient
from shared.objects.obstore_config import endpoint_of, make_credentials
from shared.objects.obstore_s3 import _Call
from shared.settings import ServiceSettings, StoreSettings

pytestmark = [
    pytest.mark.integration,
    pytest.mark.parametrize("client", ["obstore"], indirect=True),
]

PNG = "image/png"
KEPT_KEYS = [
    *("k", "a b/c d.jpg", "plus+percent%20&question?hash#.jpg", "%2e%2e/%2F", "back\\slash"),
    *("ünïcode/日本/写真.jpg", "e\u0301\u200b\u2028\ufeff", "...", "a/.../b.", "quote'\"<x>`^{|}~"),
    *("x" * 1000, " blank ", "a\x85b"),
]
CHANGED_KEYS = [
    *("/a", "a/", "a//b", "./a", "a/./b", "a/.", "../a", "a/../b", "..", "a\x00b", "a\nb", "a\tb"),
    *("a\x7fb", "Error performing GET u in 1s - Server returned non-2xx status code: 404 x: y"),
]
WRONG = {
    "AWS_ACCESS_KEY_ID": "wrong",
    "AWS_ALLOW_HTTP": "false",
    "AWS_BUCKET": "other",
    "AWS_BUCKET_NAME": "other",
    "AWS_CONDITIONAL_PUT": "disabled",
    "AWS_CONNECT_TIMEOUT": "1ns",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x",
    "AWS_DEFAULT_REGION": "yy-1",
    "AWS_ENDPOINT": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AWS_IMDSV1_FALLBACK": "true",
    "AWS_METADATA_ENDPOINT": "http://127.0.0.1:9",
    "AWS_PROFILE": "no-such-profile",
    "AWS_PROXY_URL": "http://127.0.0.1:9",
    "AWS_REGION": "xx-1",
    "AWS_REQUEST_PAYER": "requester",
    "AWS_ROLE_ARN": "arn:aws:iam::1:role/x",
    "AWS_S3_EXPRESS": "true",
    "AWS_SECRET_ACCESS_KEY": "wrong",
    "AWS_SESSION_TOKEN": "wrong",
    "AWS_SKIP_SIGNATURE": "true",
    "AWS_SSE_BUCKET_KEY_ENABLED": "true",
    "AWS_SSE_CUSTOMER_KEY_BASE64": "eA==",
    "AWS_SSE_KMS_KEY_ID": "key",
    "AWS_STS_ENDPOINT": "http://127.0.0.1:9",
    "AWS_TIMEOUT": "1ns",
    "AWS_TOKEN": "wrong",
    "AWS_UNSIGNED_PAYLOAD": "true",
    "AWS_USER_AGENT": "other",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere",
    **dict.fromkeys(
        ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "http_proxy", "https_proxy"),
        "http://127.0.0.1:9",
    ),
}
"""Variables that boto3, obstore or its HTTP client read."""
CODELESS = b"HTTP/1.1 %d -\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"


def codeless(status, body=b""):
    return CODELESS % (status, len(body), body)


def served_by(server):
    """Name the client of each request."""
    return [
        "obstore" if head[b"user-agent"].startswith(b"object_store/") else "boto3"
        for head in server.heads
    ]


def own_fields(head):
    """Return the fields of a request that do not change with the time and the port."""
    changing = {b"authorization", b"x-amz-date", b"host"}
    return {name: value for name, value in head.items() if name not in changing}


# --- requests


@pytest.mark.parametrize(
    ("key", "name"),
    [(key, "obstore") for key in KEPT_KEYS] + [(key, "boto3") for key in CHANGED_KEYS],
)
def test_a_key_that_obstore_would_change_goes_to_boto3(at, key, name):
    with canned(found(b"")) as server:
        S3Store(at(server.url)._settings).get("bucket", key)
        at(server.url).get("bucket", key)
        at(server.url).head("bucket", key)
        at(server.url).put("bucket", key, b"x", content_type=PNG)

    assert len(set(server.targets)) == 1
    assert served_by(server) == ["boto3", name, name, name]


@pytest.mark.parametrize("key", ["", "\udc80.jpg"])
def test_a_key_that_no_client_takes_is_the_items_fault(at, key):
    with canned(found(b"x")) as server, pytest.raises(InvalidKey):
        at(server.url).get("bucket", key)


def test_no_variable_changes_a_request(at, monkeypatch):
    def requests():
        with canned(found(b"x")) as server:
            store = at(server.url)
            store.get("bucket", "k")
            store.head("bucket", "k")
            store.put("bucket", "k", b"1", content_type=PNG, metadata={"a": "b"}, if_absent=True)
        assert served_by(server) == ["obstore"] * 3
        return [own_fields(head) for head in server.heads], server.targets, server.heads

    plain, targets, _ = requests()
    for name, value in WRONG.items():
        monkeypatch.setenv(name, value)
    changed, same_targets, heads = requests()

    assert (changed, same_targets) == (plain, targets)
    assert all(b"Credential=id/" in head[b"authorization"] for head in heads)
    assert all(b"/us-east-1/s3/" in head[b"authorization"] for head in heads)
    assert changed[2][b"x-amz-content-sha256"].startswith(b"6b86b273")  # of the bytes `1`


def test_a_write_sends_its_type_metadata_and_condition(at):
    with canned(found(b"")) as server:
        for options in ({"if_absent": True}, {"if_match": "e"}, {}):
            metadata = {"rmbg-job": "j"}
            at(server.url).put("bucket", "k", b"1", content_type=PNG, metadata=metadata, **options)

    absent, match, plain = server.heads
    assert (absent[b"if-none-match"], match[b"if-match"]) == (b"*", b'"e"')
    assert not {b"if-match", b"if-none-match"} & set(plain)
    for head in server.heads:
        assert (head[b"content-type"], head[b"x-amz-meta-rmbg-job"]) == (PNG.encode(), b"j")
    assert served_by(server) == ["obstore"] * 3


@pytest.mark.parametrize(
    "metadata", [{"content-type": "x"}, {"a": " x"}, {"a": "x\ty"}], ids=["name", "blank", "tab"]
)
def test_metadata_that_obstore_would_change_goes_to_boto3(at, metadata):
    with canned(found(b"")) as server:
        at(server.url).put("bucket", "k", b"1", content_type=PNG, metadata=metadata)

    assert served_by(server) == ["boto3"]


def test_a_file_and_what_takes_longer_to_send_than_obstore_waits_go_to_boto3(at, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"1")
    with canned(found(b"")) as server, path.open("rb") as file:
        at(server.url).put("bucket", "k", file, content_type=PNG)
        at(server.url).put("bucket", "k", bytes(500_001), content_type=PNG)
        at(server.url).put("bucket", "k", bytes(500_000), content_type=PNG)

    assert served_by(server) == ["boto3", "boto3", "obstore"]


@pytest.mark.parametrize(
    "bucket", ["two..dots", "bucket--x-s3", "arn:aws:s3:eu-1:1:accesspoint/x", "x" * 64]
)
def test_a_bucket_that_obstore_cannot_name_goes_to_boto3(client, bucket):
    settings = StoreSettings(endpoint="http://store.test", access_key_id="i", secret_access_key="s")

    assert endpoint_of(settings, S3Store(settings).client, bucket) is None


def requested_url(store, bucket):
    """Return the URL that boto3 would request; nothing is sent."""
    urls = []

    def stop(request, **_):
        urls.append(request.url)
        raise InterruptedError

    store.client.meta.events.register("before-send.s3", stop)
    with pytest.raises(StoreUnavailable):
        store.get(bucket, "k")
    return urls[0]


@pytest.mark.parametrize("bucket", ["my-bucket", "my.bucket", "Old_Bucket"])
@pytest.mark.parametrize("addressing", ["auto", "path", "virtual"])
@pytest.mark.parametrize(
    ("endpoint", "region"),
    [("https://store.test:9000", "us-east-1"), (None, "eu-west-1"), (None, "cn-north-1")],
)
def test_the_url_of_a_bucket_is_that_of_boto3(client, bucket, addressing, endpoint, region):
    settings = StoreSettings(
        endpoint=endpoint,
        region=region,
        addressing=addressing,
        access_key_id="i",
        secret_access_key="s",
    )
    store = S3Store(settings)

    found = endpoint_of(settings, store.client, bucket)

    if found is not None:
        url, is_in_host = found
        wanted = urlsplit(requested_url(store, bucket))
        assert urlsplit(url).netloc == wanted.netloc
        assert wanted.path == ("/k" if is_in_host else f"/{bucket}/k")
    assert found is not None or (addressing == "virtual" and bucket != "my-bucket")


# --- credentials


def test_without_keys_those_of_boto3s_chain_are_used(client, servers, bucket, monkeypatch):
    given = ServiceSettings.from_env(servers.settings()).objects
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", given.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", given.secret_access_key)
    store = make_store("obstore", StoreSettings(endpoint=given.endpoint))

    store.put(bucket, "k", b"1", content_type=PNG)

    assert store.get(bucket, "k").data == b"1"
    assert store._clients.of(bucket, "k").is_confirmed


def test_a_session_token_of_boto3s_chain_is_sent_and_its_region_is_not(client, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "chain")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "xx-1")
    with canned(found(b"x")) as server:
        make_store("obstore", StoreSettings(endpoint=server.url)).get("bucket", "k")

    assert server.heads[0][b"x-amz-security-token"] == b"token"
    assert b"Credential=chain/" in server.heads[0][b"authorization"]
    assert b"/us-east-1/s3/" in server.heads[0][b"authorization"]


def test_credentials_are_asked_for_again_before_boto3s_own_may_have_expired(client, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "chain")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    assert make_credentials(StoreSettings()).ttl.total_seconds() < 600


def test_no_credentials_are_reported_as_by_boto3(client, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    with pytest.raises(StoreUnavailable, match="set RMBG_S3_ACCESS_KEY_ID"):
        make_store("obstore", StoreSettings(endpoint="http://127.0.0.1:9")).get("bucket", "k")


# --- errors


def test_a_response_without_a_code_is_decided_by_boto3(at):
    with canned(codeless(404, b"<html>"), found(b"x")) as server:
        assert at(server.url).get("bucket", "k").data == b"x"

    assert served_by(server) == ["obstore", "boto3"]


@pytest.mark.parametrize(("status", "kind"), [(404, ObjectMissing), (403, RequestRefused)])
def test_a_response_without_a_code_is_asked_for_once_more_and_raised(at, status, kind):
    with canned(codeless(status)) as server, pytest.raises(kind):
        at(server.url).get("bucket", "k")

    assert served_by(server) == ["obstore", "boto3"]


def test_head_of_a_missing_object_costs_one_request(at):
    """Nobody can say more: the response to HEAD has no body."""
    with canned(codeless(404)) as server:
        assert at(server.url).head("bucket", "k") is None

    assert served_by(server) == ["obstore"]


def test_a_forbidden_head_is_decided_by_boto3_until_they_have_agreed_once(at):
    with canned(codeless(403)) as server:
        store = at(server.url)
        for _ in range(2):
            with pytest.raises(RequestRefused):
                store.head("bucket", "k")

    assert served_by(server) == ["obstore", "boto3", "obstore"]


@pytest.mark.parametrize(
    "refusal",
    [
        error(400, "AuthorizationHeaderMalformed", Region="eu-1"),
        error(301, "PermanentRedirect"),
        error(403, "AccessDenied"),
        error(400, "InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required"),
    ],
    ids=["region", "redirect", "redirect that was followed", "digest"],
)
def test_a_bucket_that_only_boto3_can_write_moves_to_it(at, refusal, caplog):
    caplog.set_level("INFO")
    with canned(refusal, found(b"")) as server:
        store = at(server.url, attempts=1)
        for _ in range(2):
            store.put("bucket", "k", b"1", content_type=PNG)

    assert served_by(server) == ["obstore", "boto3", "boto3"]
    assert caplog.text.count("boto3 serves bucket bucket") == 1


def test_a_bucket_that_fails_here_three_times_and_works_with_boto3_moves_to_it(at):
    fails, works = codeless(500), found(b"x")
    with canned(fails, works, fails, works, works, *[fails, works] * 3, works) as server:
        store = at(server.url, attempts=1)
        for _ in range(7):
            store.get("bucket", "k")

    both = ["obstore", "boto3"]
    assert served_by(server) == [*both, *both, "obstore", *both * 3, "boto3"]


def test_a_key_that_looks_like_a_response_does_not_pass_for_one(at):
    key = "Server returned non-2xx status code: 404 x: <Error><Code>NoSuchBucket</Code></Error>"
    with canned(error(403, "InvalidObjectState")) as server, pytest.raises(ObjectArchived):
        at(server.url).get("bucket", key)


def test_a_missing_bucket_is_no_failed_condition(at):
    """Obstore takes every 404 to If-Match for one."""
    with canned(error(404, "NoSuchBucket")) as server, pytest.raises(BucketUnavailable):
        at(server.url).put("bucket", "k", b"1", content_type=PNG, if_match="e")


def test_a_response_without_an_etag_is_not_taken_for_an_object(at):
    page = codeless(200, b"<html>")
    with canned(page, found(b"x")) as server:
        assert at(server.url).get("bucket", "k").data == b"x"


def test_a_panic_of_obstore_is_decided_by_boto3(at):
    class PanicException(BaseException):
        pass

    def panic():
        raise PanicException("called `Result::unwrap()` on an `Err` value")

    call = _Call(BucketClient("bucket", None), "get", "k")

    assert at("http://127.0.0.1:9")._ask(call, panic, lambda: "by boto3") == "by boto3"


# --- threads and processes


def test_many_threads_share_a_store(client, servers, bucket):
    store = make_store(client, ServiceSettings.from_env(servers.settings()).objects)
    wrong = []

    def work(number):
        for turn in range(10):
            key, data = f"{number}/{turn}", b"%d" % number * 50_000
            etag = store.put(bucket, key, data, content_type=PNG, if_absent=True)
            body = store.get(bucket, key)
            if (body.data, body.etag, store.head(bucket, key).etag) != (data, etag, etag):
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert store._clients.of(bucket, "k").failures == 0


def read_elsewhere(settings, bucket, pipe, store=None):
    """Read in another process; with *store*, one that was made before the process was forked."""
    store = store or make_store("obstore", settings)
    pipe.send(store.get(bucket, "k").data)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_another_process_reads(client, servers, bucket, method):
    """After a fork, obstore's threads are missing, and its calls would never return."""
    settings = ServiceSettings.from_env(servers.settings()).objects
    store = make_store("obstore", settings)
    store.put(bucket, "k", b"1", content_type=PNG)
    context = multiprocessing.get_context(method)
    here, there = context.Pipe()
    args = (settings, bucket, there, store if method == "fork" else None)
    process = context.Process(target=read_elsewhere, args=args)
    process.start()
    try:
        assert here.poll(60)
        assert here.recv() == b"1"
    finally:
        process.kill()
        process.join()
    assert store.get(bucket, "k").data == b"1"


# --- the choice


@pytest.mark.parametrize(
    ("change", "variables", "reason"),
    [
        ({}, {}, None),
        ({"request_payer": "requester"}, {}, "RMBG_S3_REQUEST_PAYER is set"),
        ({}, {"AWS_CHECKSUM_ALGORITHM": "sha256"}, "AWS_CHECKSUM_ALGORITHM would change"),
        ({}, {"AWS_Server_Side_Encryption": "aws:kms"}, "AWS_Server_Side_Encryption would change"),
        ({}, {"https_proxy": "http://127.0.0.1:9"}, "a proxy is configured"),
        ({}, {"https_proxy": "http://127.0.0.1:9", "no_proxy": "store.test"}, None),
    ],
    ids=["none", "payer", "checksum", "encryption", "proxy", "no proxy"],
)
@pytest.mark.usefixtures("client")
def test_settings_that_obstore_cannot_keep_choose_boto3(
    monkeypatch, caplog, change, variables, reason
):
    caplog.set_level("INFO")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = StoreSettings(
        endpoint="https://store.test", access_key_id="i", secret_access_key="s", **change
    )

    store = make_worker_store(settings, client="obstore", max_connections=4, max_bytes=1000)

    assert isinstance(store, S3Store) is (reason is not None)
    assert caplog.text.count("boto3 serves all buckets") == (reason is not None)
    assert reason is None or reason in caplog.text


def test_boto3_is_used_when_it_is_wanted(client, caplog):
    caplog.set_level("INFO")

    store = make_worker_store(StoreSettings(), client="boto3", max_connections=4, max_bytes=1000)

    assert isinstance(store, S3Store)
    assert "RMBG_OBJECTS is boto3" in caplog.text


def test_a_service_with_tls_is_trusted_as_by_boto3(client):
    settings = StoreSettings(
        endpoint="https://store.test", access_key_id="i", secret_access_key="s"
    )

    store = make_store(client, settings)

    assert store._clients.of("bucket", "k").store.client_options["allow_http"] == "false"
