"""The object store over each of its clients, for tests that must hold for all of them."""

import pytest

from shared.objects import S3Store
from shared.objects.obstore_config import Limits
from shared.objects.obstore_s3 import ObstoreS3
from shared.settings import StoreSettings

CLIENTS = ("boto3", "obstore")


def make_store(client, settings, **limits):
    """Return a store over *client*; *limits* are those of `S3Store`."""
    limits = {"max_connections": 32} | limits
    store = S3Store(settings, **limits)
    if client == "boto3":
        return store
    return ObstoreS3(settings, store, Limits(max_bytes=100_000_000, **limits))


@pytest.fixture(params=CLIENTS)
def client(request):
    """Name of a client."""
    return request.param


@pytest.fixture
def at(client):
    """Return a function that makes a store with short timeouts at a URL."""

    def make(url, **options):
        limits = {"connect_timeout_s": 1, "read_timeout_s": 0.5}
        limits |= {name: options.pop(name) for name in ("attempts",) if name in options}
        settings = StoreSettings(
            endpoint=url, access_key_id="id", secret_access_key="the-secret", **options
        )
        return make_store(client, settings, **limits)

    return make
