"""What each answer of an object store means; canned responses for what no server here gives."""

import base64
import hashlib
from functools import partial

import pytest
from support.canned import canned, error, found

from shared.errors import (
    BucketUnavailable,
    InvalidKey,
    ObjectArchived,
    ObjectMissing,
    RequestRefused,
    StoreUnavailable,
)
from shared.objects import PreconditionFailed, S3Store
from shared.settings import ServiceSettings

pytestmark = pytest.mark.integration

PNG = "image/png"
ONLY_BOTO3 = pytest.mark.parametrize("client", ["boto3"], indirect=True)
"""What boto3 itself does; the store over obstore leaves it to boto3."""


@pytest.fixture
def at(at):
    """A store that tries once."""
    return partial(at, attempts=1)


@pytest.mark.parametrize(
    ("status", "code", "kind", "text"),
    [
        (403, "InvalidObjectState", ObjectArchived, r"archived \(GLACIER\); restore it first"),
        (404, "NoSuchKey", ObjectMissing, "object not found"),
        (400, "KeyTooLongError", InvalidKey, "name too long, .* does not accept this key; rename"),
        (403, "AccessDenied", RequestRefused, "check the permissions of RMBG_S3_ACCESS_KEY_ID"),
        (404, "NoSuchBucket", BucketUnavailable, "create it or fix RMBG_INPUT_BUCKETS"),
        (403, "AllAccessDisabled", BucketUnavailable, "contact its operator: own words"),
        (403, "InvalidAccessKeyId", BucketUnavailable, "credentials were refused"),
        (501, "NotImplemented", BucketUnavailable, "RMBG_S3_CONDITIONAL=off: own words"),
        (400, "ExpiredToken", StoreUnavailable, "credentials have expired"),
        (403, "RequestTimeTooSkewed", StoreUnavailable, "clocks"),
        (408, "Whatever", StoreUnavailable, "busy"),
        (425, "Whatever", StoreUnavailable, "busy"),
        (429, "Whatever", StoreUnavailable, "busy"),
        (503, "SlowDown", StoreUnavailable, "busy"),
        (500, "InternalError", StoreUnavailable, "the service failed: own words"),
        (599, "Whatever", StoreUnavailable, "the service failed: own words"),
        (400, "InvalidRequest", RequestRefused, "refuses this request: own words"),
        (402, "Whatever", RequestRefused, r"refuses this request: own words \(Whatever, HTTP 402"),
        (418, "Whatever", RequestRefused, "refuses this request: own words"),
        (451, "Whatever", RequestRefused, "refuses this request: own words"),
    ],
)
def test_an_answer_about_a_key_has_one_meaning(status, code, kind, text, at):
    answer = error(status, code, "own words", StorageClass="GLACIER")
    with canned(answer) as server, pytest.raises(kind, match=text) as caught:
        at(server.url).get("bucket", "k")

    assert type(caught.value) is kind
    assert (caught.value.bucket, caught.value.operation) == ("bucket", "get")
    assert caught.value.code == code


def test_a_name_that_is_too_long_is_said_in_words_without_a_code(object_store):
    """SeaweedFS accepts 255 bytes between two slashes, as file systems do."""
    with pytest.raises(InvalidKey, match="name too long") as caught:
        object_store.put("cutouts", f"mask/{'x' * 252}.png", b"x", content_type=PNG)

    assert "HTTP" not in str(caught.value)
    assert "KeyTooLong" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", BucketUnavailable),
        (418, "Whatever", BucketUnavailable),
        (404, "NoSuchKey", StoreUnavailable),
        (500, "InternalError", StoreUnavailable),
    ],
)
def test_an_answer_about_a_bucket_blames_no_key(status, code, kind, at):
    with canned(error(status, code)) as server, pytest.raises(kind) as caught:
        list(at(server.url).list("bucket", ""))

    assert type(caught.value) is kind


@pytest.mark.parametrize(
    "elements",
    [
        {"Region": "eu-central-003"},
        {"message": "the region 'us-east-1' is wrong; expecting 'eu-central-003'"},
    ],
)
def test_a_wrong_region_is_named(elements, at):
    answer = error(400, "AuthorizationHeaderMalformed", **elements)
    with canned(answer) as server, pytest.raises(BucketUnavailable) as caught:
        at(server.url).get("bucket", "k")

    assert "the store expects region eu-central-003; set RMBG_S3_REGION" in str(caught.value)


def test_an_error_of_one_key_among_several_deleted_ones_is_named(at):
    answer = (
        b"<DeleteResult><Error><Key>a</Key><Code>AccessDenied</Code>"
        b"<Message>-</Message></Error></DeleteResult>"
    )
    with canned(found(answer)) as server, pytest.raises(RequestRefused, match="bucket/a"):
        at(server.url).delete("bucket", ["a", "b"])


# --- Content-MD5


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("MissingContentMD5", "-"),
        ("InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required for ..."),
    ],
)
@ONLY_BOTO3
def test_a_store_that_asks_for_a_digest_gets_one_from_then_on(code, message, at):
    wanted = base64.b64encode(hashlib.md5(b"bytes").digest())
    with canned(error(400, code, message), found(b"")) as server:
        store = at(server.url)
        store.put("bucket", "k", b"bytes", content_type=PNG)
        store.put("bucket", "k2", b"bytes", content_type=PNG)

    assert server.requests == 3
    assert [head.get(b"content-md5") for head in server.heads] == [None, wanted, wanted]


@ONLY_BOTO3
def test_a_store_that_is_still_not_content_is_asked_no_third_time(at):
    with canned(error(400, "MissingContentMD5")) as server, pytest.raises(RequestRefused):
        at(server.url).put("bucket", "k", b"bytes", content_type=PNG)

    assert server.requests == 2


@ONLY_BOTO3
def test_the_digest_of_a_file_covers_what_is_sent(tmp_path, at):
    path = tmp_path / "file"
    path.write_bytes(b"bytes")
    with canned(error(400, "MissingContentMD5"), found(b"")) as server, path.open("rb") as file:
        at(server.url).put("bucket", "k", file, content_type=PNG)

    assert server.heads[1][b"content-md5"] == base64.b64encode(hashlib.md5(b"bytes").digest())
    assert server.bodies[1] == b"bytes"


# --- settings


@ONLY_BOTO3
def test_requester_pays_is_sent_with_every_request_but_not_demanded_of_a_links_reader(at):
    with canned(found(b"x")) as server:
        store = at(server.url, request_payer="requester")
        store.get("bucket", "k")
        link = store.sign("bucket", "k", expires_s=60)

    assert server.heads[0][b"x-amz-request-payer"] == b"requester"
    assert "x-amz-request-payer" not in link


@pytest.mark.parametrize(
    ("addressing", "start"),
    [
        ("auto", "http://store.test/bucket/k?"),
        ("path", "http://store.test/bucket/k?"),
        ("virtual", "http://bucket.store.test/k?"),
    ],
)
def test_the_bucket_is_named_where_the_settings_say(addressing, start, at):
    store = at("http://store.test", addressing=addressing)

    assert store.sign("bucket", "k", expires_s=60).startswith(start)


# --- a store without conditional writes


def test_without_conditional_writes_the_condition_is_checked_before_the_write(
    object_store, bucket, servers
):
    settings = ServiceSettings.from_env(servers.settings() | {"RMBG_S3_CONDITIONAL": "off"})
    store = S3Store(settings.objects)
    etag = store.put(bucket, "k", b"1", content_type=PNG, if_absent=True)

    for condition in ({"if_absent": True}, {"if_match": "another"}):
        with pytest.raises(PreconditionFailed):
            store.put(bucket, "k", b"2", content_type=PNG, **condition)
    assert object_store.get(bucket, "k").data == b"1"

    store.put(bucket, "k", b"3", content_type=PNG, if_match=etag)
    assert object_store.get(bucket, "k").data == b"3"


def test_without_conditional_writes_no_condition_is_sent(at):
    with canned(error(404, "404"), found(b"")) as server:
        at(server.url, conditional=False).put("bucket", "k", b"1", content_type=PNG, if_absent=True)

    assert b"if-none-match" not in server.heads[1]
