"""How boto3 is set up."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from shared.settings import StoreSettings


def make_client(settings: StoreSettings, **config: Any) -> S3Client:  # noqa: ANN401 - botocore's own
    """Return an S3 client that listens to *settings* and not to its surroundings.

    Only where *settings* hold no keys is boto3's own credential chain asked.

    Args:
        settings: Where, and who we are.
        config: Further options of botocore's `Config`: timeouts, retries, connections.
    """
    own_keys = settings.access_key_id is not None
    session = boto3.Session(
        botocore_session=botocore.session.Session(
            # or an AWS_PROFILE that does not exist would stop us, although we need none
            session_vars={"profile": (None, None, None, None)} if own_keys else None
        )
    )
    return session.client(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if settings.endpoint else "auto"},
            # S3-compatible servers store the trailers of boto3's default as content
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            proxies={} if _is_loopback(settings.endpoint) else None,
            tcp_keepalive=True,
            **{"ignore_configured_endpoint_urls": True} | config,
        ),
    )


def _is_loopback(endpoint: str | None) -> bool:
    """Tell whether a proxy of the surroundings could not reach *endpoint*."""
    host = urlsplit(endpoint or "").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
