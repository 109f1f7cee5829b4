"""Fixtures for tests of the fronts: a gateway that may fetch from loopback, and a worker."""

import httpx
import pytest
from PIL import Image, ImageDraw
from support.file_server import FileServer
from support.gateway import address, client_of, gateway, gateway_settings, new_key, serving
from support.pictures import encoded
from support.workers import WorkerProcess

from producer.gateway.app import build_app
from producer.gateway.context import Gateway
from producer.gateway.probes import Metrics

__all__ = ["address", "client_of", "gateway", "gateway_settings", "new_key"]


@pytest.fixture
def worker(service_env):
    """A real worker with a stand-in network."""
    process = WorkerProcess(service_env).wait_ready()
    yield process
    process.close()


@pytest.fixture
def image():
    """A JPEG of 1200 x 900 pixels: a dark subject, which the stand-in network finds, on white."""
    picture = Image.new("RGB", (1200, 900), "white")
    ImageDraw.Draw(picture).ellipse((300, 200, 900, 700), fill=(20, 20, 20))
    return encoded(picture, "JPEG")


@pytest.fixture
def files():
    """A server of images."""
    with FileServer() as server:
        yield server


@pytest.fixture
def lab(gateway):
    """Address of a gateway that may fetch from loopback."""
    settings = gateway.settings.model_copy(
        update={"allow_private": True, "max_body_bytes": 8 * 2**20}
    )
    with serving(build_app(Gateway.of(settings, gateway.services), Metrics())) as url:
        yield url


@pytest.fixture
def key(new_key):
    """Text of an API key."""
    return new_key("front")


@pytest.fixture
def client(lab, key):
    """An HTTP client with the key."""
    with httpx.Client(base_url=lab, headers={"X-Api-Key": key}, timeout=60) as connected:
        yield connected
