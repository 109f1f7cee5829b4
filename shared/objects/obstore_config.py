"""Configuration of obstore's clients, so that they send what boto3 would send."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from shared.objects.client import addressing, ca_bundle, is_loopback, make_session

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from shared.settings import StoreSettings

LEAST_BYTES_PER_S: Final = 1_000_000
"""Slowest transfer that obstore's time limits allow; boto3 serves what is slower."""
_CREDENTIALS_TTL: Final = timedelta(minutes=8)
"""How long obstore keeps credentials of boto3's chain; boto3 renews them 10 minutes early."""
_STICKY: Final = frozenset({"aws_checksum_algorithm", "aws_server_side_encryption"})
"""Variables that obstore reads and that no argument overrides."""
_BUCKET: Final = re.compile(r"[A-Za-z0-9](?!.*(?:\.\.|--))[A-Za-z0-9._-]{2,62}")
"""Names that obstore serves; `--` is in names of buckets with endpoints of their own."""
_HOST_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Time limits and connections of obstore's clients."""

    max_bytes: int
    """Largest object that is read, in bytes."""
    max_connections: int
    connect_timeout_s: float = 3.0
    read_timeout_s: float = 15.0
    attempts: int = 3

    @property
    def max_put_bytes(self) -> int:
        """Largest body that is sent: obstore's read timeout runs while it sends."""
        return int(self.read_timeout_s * LEAST_BYTES_PER_S)


def why_boto3(settings: StoreSettings, client: S3Client) -> str | None:
    """Return why obstore cannot serve any bucket of these settings; None if it can."""
    if find_spec("obstore") is None:
        return "obstore is not installed"
    if settings.request_payer is not None:
        return "RMBG_S3_REQUEST_PAYER is set"
    url = client.meta.endpoint_url
    if not is_loopback(url) and urlsplit(url).scheme in get_environ_proxies(url):
        return "a proxy is configured for the object store"
    # obstore reads the environment itself, so settings cannot stand between.
    names = os.environ  # noqa: TID251
    if found := [n for n in names if n.startswith("AWS_") and n.lower() in _STICKY]:
        return f"{', '.join(sorted(found))} would change what obstore sends"
    return None


def endpoint_of(settings: StoreSettings, client: S3Client, bucket: str) -> tuple[str, bool] | None:
    """Return the URL to request objects of *bucket* at, and whether its host names the bucket.

    None if obstore cannot address the bucket as boto3 does.
    """
    if not _BUCKET.fullmatch(bucket):
        return None
    url, style = client.meta.endpoint_url, addressing(settings)
    if style == "path":
        return url, False
    if not _HOST_BUCKET.fullmatch(bucket):
        return (url, False) if style == "auto" else None
    parts = urlsplit(url)
    return parts._replace(netloc=f"{bucket}.{parts.netloc}").geturl(), True


def make_credentials(settings: StoreSettings) -> Any:  # noqa: ANN401 - a protocol of obstore's stubs
    """Return what tells obstore the keys: those of *settings*, else those of boto3's chain.

    Raises:
        ValueError: If boto3 finds none.
    """
    from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415 - an optional package

    if settings.access_key_id is None:
        return Boto3CredentialProvider(make_session(settings), ttl=_CREDENTIALS_TTL)
    keys = {
        "access_key_id": settings.access_key_id,
        "secret_access_key": settings.secret_access_key,
        "token": None,  # or AWS_SESSION_TOKEN would be sent
        "expires_at": None,
    }
    return lambda: keys


def make_options(
    settings: StoreSettings, endpoint: tuple[str, bool], limits: Limits, certificates: bytes | None
) -> dict[str, Any]:
    """Return keyword arguments of obstore's `S3Store` that leave nothing to the environment."""
    url, is_in_host = endpoint
    return {
        "config": {
            "endpoint": url,
            "aws_endpoint_url_s3": url,  # AWS_ENDPOINT_URL_S3 would count for more than `endpoint`
            "region": settings.region,
            "virtual_hosted_style_request": is_in_host,
            "conditional_put": "etag",
            "disable_tagging": True,
            "request_payer": False,
            "s3_express": False,
            "skip_signature": False,
            "unsigned_payload": False,
        },
        "client_options": _client_options(url, limits, certificates),
        "retry_config": {
            "max_retries": limits.attempts - 1,
            "retry_timeout": timedelta(seconds=20),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=5),
                "base": 2,
            },
        },
    }


def _client_options(url: str, limits: Limits, certificates: bytes | None) -> Mapping[str, Any]:
    whole_s = limits.read_timeout_s + limits.max_bytes / LEAST_BYTES_PER_S
    options = {
        "allow_http": url.startswith("http:"),
        "allow_invalid_certificates": False,
        "connect_timeout": timedelta(seconds=limits.connect_timeout_s),
        "http1_only": True,
        "pool_idle_timeout": timedelta(seconds=30),
        "pool_max_idle_per_host": str(limits.max_connections),
        # A proxy that is given and excluded everywhere: none given means that of the environment.
        "proxy_url": "http://127.0.0.1:9",
        "proxy_excludes": "*,0.0.0.0/0,::/0",
        "randomize_addresses": False,
        "read_timeout": timedelta(seconds=limits.read_timeout_s),
        "timeout": timedelta(seconds=whole_s),
    }
    if certificates is not None:
        options |= {"disable_system_certificates": True, "root_certificate": certificates}
    return options


def read_certificates(client: S3Client) -> bytes | None:
    """Return the certificates that boto3 trusts, in PEM; None for a service without TLS."""
    if client.meta.endpoint_url.startswith("http:"):
        return None
    own: Any = get_cert_path(verify=True)
    return Path(ca_bundle(client) or own).read_bytes()
