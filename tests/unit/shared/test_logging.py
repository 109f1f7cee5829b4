"""What log lines look like, and what they never hold."""

from __future__ import annotations

import doctest
import io
import json
import logging
import os
import pty
import sys
from datetime import UTC, datetime, timedelta

import pytest

from shared import logging as log
from shared.errors import InvalidOption

logger = logging.getLogger("test.log")


@pytest.fixture(autouse=True)
def as_before():
    """Leave logging as it was: the root logger is everybody's."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(*, level="info", as_json=True, emit):
    stream = io.StringIO()
    log.configure(stream, level=level, json=as_json)
    emit()
    return stream.getvalue()


def line(**extra):
    """The one JSON line of an info record with *extra*."""
    text = written(emit=lambda: logger.info("batch done", extra=extra))
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return json.loads(text)


def test_a_record_is_one_line_of_json_with_its_facts():
    body = line(batch_size=4, wait_s=0.25, image_key="a b.jpg")

    at = datetime.fromisoformat(body.pop("at"))
    assert at.tzinfo == UTC
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=1)
    assert body == {
        "level": "info",
        "logger": "test.log",
        "message": "batch done",
        "batch_size": 4,
        "wait_s": 0.25,
        "image_key": "a b.jpg",
    }
    assert list(line(z=1))[:4] == ["at", "level", "logger", "message"]


def test_values_that_json_cannot_hold_do_not_spoil_a_line():
    body = line(rate=float("nan"), most=float("inf"), path=io, key="a\nb")

    assert (body["rate"], body["most"], body["key"]) == ("nan", "inf", "a\nb")
    assert body["path"] == str(io)


@pytest.mark.parametrize(
    ("key", "logged"),
    [
        ("\udc80.jpg", r"\udc80.jpg"),
        ("\ud83d.jpg", r"\ud83d.jpg"),
        ("\udc80\udc81\U0001f600\udc82", "\\udc80\\udc81\U0001f600\\udc82"),
        (r"\udc80.jpg", r"\udc80.jpg"),
        ("\\\udc80", r"\\udc80"),
        ("\U0001f600é.jpg", "\U0001f600é.jpg"),
    ],
)
def test_a_lone_surrogate_is_logged_as_its_escape_and_valid_text_unchanged(key, logged):
    body = line(image_key=key, keys=[key])

    assert body["image_key"] == logged
    assert body["keys"] == [logged]


def test_an_extra_cannot_pass_for_a_lines_own_field():
    body = line(level="critical", at="never", traceback="none")

    assert body["level"] == "info"
    assert body["at"] != "never"
    assert "traceback" not in body


def fail():
    try:
        int("broken")
    except ValueError:
        logger.exception("item failed", extra={"job_id": "j"})


def test_an_exception_is_a_field_of_its_line():
    body = json.loads(written(emit=fail))

    assert body["message"] == "item failed"
    assert body["traceback"].startswith("Traceback")
    assert body["traceback"].endswith("literal for int() with base 10: 'broken'")


def test_plain_text_is_for_people():
    text = written(
        as_json=False,
        emit=lambda: logger.warning("item deferred", extra={"job_id": "j1", "reason": "a b"}),
    )

    assert text[8:] == ' WARNING test.log: item deferred job_id=j1 reason="a b"\n'


def test_plain_text_shows_the_traceback():
    text = written(as_json=False, emit=fail)

    assert "item failed job_id=j\nTraceback" in text
    assert text.endswith("literal for int() with base 10: 'broken'\n")


@pytest.mark.parametrize(
    "key", ["a\n12:00:00 INFO x: forged", "a\x1b[2J", "a level=error", "\udc80"]
)
def test_a_key_cannot_forge_a_line_or_a_field(key):
    text = written(as_json=False, emit=lambda: logger.info("x", extra={"image_key": key}))

    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert " level=error" not in text.replace('"a level=error"', "")


def test_a_file_gets_json_and_a_terminal_text():
    def emit():
        logger.info("x")

    assert json.loads(written(as_json=None, emit=emit))["message"] == "x"

    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal, os.fdopen(leader, "rb") as screen:
        log.configure(terminal)
        emit()
        assert screen.readline().endswith(b" INFO test.log: x\r\n")


SECRETS = [
    "redis://:hunter2@host:6379/0",
    "rediss://user:hunter2@host/0?x=1",
    "redis://:p@hunter2@host/0",
    "http://s3/b/k?X-Amz-Algorithm=A&X-Amz-Signature=hunter2&a=1",
    "https://s3/b/k?X-Amz-Credential=hunter2%2Fx&X-Amz-Security-Token=hunter2",
    "/b/k?AWSAccessKeyId=hunter2&Signature=hunter2&Expires=1",
    "AWS4-HMAC-SHA256 Credential=hunter2/2026/s3, SignedHeaders=host, Signature=hunter2",
    "redis://host/0?password=hunter2",
]


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_is_written_wherever_it_stands(secret, as_json):
    def emit():
        logger.info("went to %s", secret)
        logger.info("constant", extra={"reason": f'"{secret}"', "more": {"urls": [secret]}})
        try:
            int(secret)
        except ValueError:
            logger.exception("failed")

    text = written(as_json=as_json, emit=emit)

    assert "hunter2" not in text
    assert text.count("***") >= 4
    if as_json:
        assert [json.loads(each)["level"] for each in text.splitlines()] == [
            "info",
            "info",
            "error",
        ]


@pytest.mark.parametrize(
    "harmless",
    [
        "s3://inbox/a@2x.jpg",
        "http://host:9000/b/k@2x.jpg?x=1",
        "mail a@b",
        "redis://host:1/0",
        "x: y@z",
    ],
)
def test_what_is_no_secret_stays(harmless):
    assert log.mask(harmless) == harmless


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(log) == (0, 1)


def test_lines_below_the_level_are_left_out():
    def emit():
        logger.info("no")
        logger.warning("yes")

    assert [
        json.loads(each)["message"] for each in written(level="WARNING", emit=emit).splitlines()
    ] == ["yes"]


def test_libraries_that_log_signatures_stay_silent_at_debug():
    def emit():
        logger.debug("ours")
        logging.getLogger("botocore.auth").debug("StringToSign")
        logging.getLogger("botocore.auth").warning("theirs")

    messages = [
        json.loads(each)["message"] for each in written(level="debug", emit=emit).splitlines()
    ]
    assert messages == ["ours", "theirs"]


def test_a_level_that_does_not_exist_is_refused():
    with pytest.raises(InvalidOption, match="unknown log level 'loud'; use one of debug, info"):
        log.configure(sys.stdout, level="loud")


def test_configuring_twice_writes_once_and_leaves_others_handlers_alone():
    other = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(other)
    first = io.StringIO()
    log.configure(first, json=True)

    text = written(emit=lambda: logger.info("x"))

    assert text.count("\n") == 1
    assert first.getvalue() == ""
    assert other in logging.getLogger().handlers
