"""What the gateway's log says of a request, and what it leaves out."""

import asyncio
import logging

import httpx
import pytest

from producer.gateway.access_log import AccessLog


async def app(scope, _receive, send):
    scope["state"] = {"key_name": "shop"}
    await send({"type": "http.response.start", "status": 201, "headers": []})
    await send({"type": "http.response.body", "body": b"12345", "more_body": True})
    await send({"type": "http.response.body", "body": b"678"})


async def broken(*_):
    raise ConnectionError("the caller has left")


def ask(served, url, **options):
    """Send one request to *served*, whose clock shows 1.5 s more at each look."""
    times_s = iter((10.0, 11.5))
    transport = httpx.ASGITransport(AccessLog(served, clock=lambda: next(times_s)))

    async def call():
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.post(url, **options)

    return asyncio.run(call())


@pytest.fixture
def line(caplog):
    """Return the facts of the one line that was logged."""
    caplog.set_level(logging.INFO, "producer.gateway.access_log")

    def line():
        [record] = caplog.records
        names = ("method", "path", "key", "status", "bytes", "ms")
        return record.message, {name: getattr(record, name) for name in names}

    return line


def test_a_request_is_one_line_without_its_query_and_headers(line, caplog):
    headers = {"Authorization": "Bearer rmbg_secret", "X-Api-Key": "secret"}

    ask(app, "http://gateway/v1/files/a%20b%0A?signature=secret", headers=headers)

    assert line() == (
        "request",
        {
            "method": "POST",
            "path": "/v1/files/a%20b%0A",
            "key": "shop",
            "status": 201,
            "bytes": 8,
            "ms": 1500.0,
        },
    )
    assert "secret" not in str(vars(caplog.records[0]))


def test_a_request_without_an_answer_is_logged_too(line):
    with pytest.raises(ConnectionError):
        ask(broken, "http://gateway/v1/jobs")

    assert line()[1] | {"ms": 0} == {
        "method": "POST",
        "path": "/v1/jobs",
        "key": "",
        "status": 0,
        "bytes": 0,
        "ms": 0,
    }
