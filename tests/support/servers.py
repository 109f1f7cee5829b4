"""One embedded Redis and S3 server per test session, and one bucket per test.

A pytest plugin: `tests/conftest.py` names it in `pytest_plugins`. Without pytest, use
`embedded_servers` as a context manager.
"""

from __future__ import annotations

import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
import redis

from producer.local.servers import EmbeddedServers
from shared.objects import S3Store
from shared.settings import ServiceSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mypy_boto3_s3.client import S3Client

LIMITED_IDENTITIES = {
    "reader": ("Read:inbox", "List:inbox"),
    "writer": ("Read:cutouts", "Write:cutouts"),
}
"""Identities with limited rights, for `servers.settings(name)`."""


@contextmanager
def embedded_servers() -> Iterator[EmbeddedServers]:
    """Run both servers in a temporary folder."""
    with (
        tempfile.TemporaryDirectory(prefix="rmbg-test-") as folder,
        EmbeddedServers(Path(folder), identities=LIMITED_IDENTITIES) as servers,
    ):
        yield servers


def raw_s3(settings: ServiceSettings) -> S3Client:
    """Return a plain boto3 client, for calls that our own store does not have."""
    return boto3.client(
        "s3",
        endpoint_url=settings.objects.endpoint,
        region_name=settings.objects.region,
        aws_access_key_id=settings.objects.access_key_id,
        aws_secret_access_key=settings.objects.secret_access_key,
    )


@pytest.fixture(scope="session")
def servers() -> Iterator[EmbeddedServers]:
    """The servers of this session; a test that stops a server starts its own instead."""
    with embedded_servers() as running:
        yield running


@contextmanager
def own_bucket(servers: EmbeddedServers, name: str) -> Iterator[None]:
    """Create bucket *name*, and delete it with its objects afterwards.

    SeaweedFS has room for one bucket per free GB of disk space, and answers writes to further
    buckets with 500. pytest-xdist may also create a module's fixtures more than once.
    """
    client = raw_s3(ServiceSettings.from_env(servers.settings()))
    client.create_bucket(Bucket=name)
    yield
    client.delete_bucket(Bucket=name)


@contextmanager
def own_environment(servers: EmbeddedServers, bucket: str) -> Iterator[dict[str, str]]:
    """Return the settings of a system with an empty Redis, and with *bucket* to read and write."""
    own = servers.settings() | {"RMBG_INPUT_BUCKETS": bucket, "RMBG_OUTPUT_BUCKET": bucket}
    with redis.Redis.from_url(own["RMBG_REDIS_URL"]) as client:
        client.flushall()
    with own_bucket(servers, bucket):
        yield own


@pytest.fixture
def bucket(servers: EmbeddedServers) -> Iterator[str]:
    """Name of an empty bucket for input and output that no other test uses."""
    name = f"t{uuid.uuid4().hex[:20]}"
    with own_bucket(servers, name):
        yield name


@pytest.fixture
def service_env(servers: EmbeddedServers, bucket: str) -> Mapping[str, str]:
    """`RMBG_*` variables for the test's own bucket and an empty Redis."""
    env = servers.settings() | {"RMBG_INPUT_BUCKETS": bucket, "RMBG_OUTPUT_BUCKET": bucket}
    with redis.Redis.from_url(env["RMBG_REDIS_URL"]) as client:
        client.flushall()
    return env


@pytest.fixture
def service_settings(service_env: Mapping[str, str]) -> ServiceSettings:
    """The settings in `service_env`."""
    return ServiceSettings.from_env(service_env)


@pytest.fixture(scope="session")
def object_store(servers: EmbeddedServers) -> S3Store:
    """A store with all rights."""
    return S3Store(ServiceSettings.from_env(servers.settings()).objects)
