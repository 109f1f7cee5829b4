"""Fixtures for tests of the gateway: a real server on loopback, keys, and a client for each."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest
import uvicorn

from producer.gateway.app import build_app
from producer.gateway.context import Gateway
from producer.gateway.probes import Metrics
from producer.gateway.settings import GatewaySettings
from producer.services import Services
from shared.access import ApiKey, digest, new_text
from support.until import until

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def serving(app) -> Iterator[str]:
    """Serve *app* on loopback; yield its address."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        [listener] = server.servers[0].sockets
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def gateway_settings(service_env):
    """Settings of a gateway over the test's services."""
    own = {
        "RMBG_GATEWAY_MAX_BODY_BYTES": str(2**20),
        "RMBG_GATEWAY_WEBHOOK_SECRETS": "a-secret-of-at-least-32-characters",
    }
    return GatewaySettings.from_env({**service_env, **own})


@pytest.fixture
def gateway(gateway_settings):
    """The gateway, for tests that look behind the HTTP API."""
    return Gateway.of(gateway_settings, Services(gateway_settings.services))


@pytest.fixture
def address(gateway):
    """Address of the gateway."""
    with serving(build_app(gateway, Metrics())) as url:
        yield url


@pytest.fixture
def new_key(gateway, bucket):
    """Create an API key and return its text."""

    def create(name="shop", **details):
        text = new_text(name)
        given = {"tenant": name, "bucket": bucket, "created_at": datetime.now(UTC)}
        key = ApiKey(**given | details, name=name, sha256=digest(text))
        assert gateway.services.jobs.api_keys.add(key)
        return text

    return create


@pytest.fixture
def client_of(address):
    """Return an HTTP client that sends the API key of the given text."""
    clients = []

    def connect(text):
        headers = {"Authorization": f"Bearer {text}"} if text else {}
        clients.append(httpx.Client(base_url=address, headers=headers, timeout=30))
        return clients[-1]

    yield connect
    for each in clients:
        each.close()


@pytest.fixture
def shop(new_key, client_of):
    """An HTTP client of the tenant `shop`, whose prefix is `shop`."""
    return client_of(new_key(prefix="shop"))
