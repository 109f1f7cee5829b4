"""Configuration of the boto3 client."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config

from shared.errors import InvalidOption
from shared.objects.content_md5 import ContentMd5
from shared.tls import check_ca_bundle

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest
    from mypy_boto3_s3.client import S3Client

    from shared.settings import StoreSettings


def make_client(settings: StoreSettings, **config: Any) -> S3Client:  # noqa: ANN401 - botocore's own
    """Return an S3 client configured by *settings* instead of the environment.

    boto3's own credential chain is used only if *settings* hold no keys.

    Args:
        settings: Address and credentials.
        config: Further options of botocore's `Config`: timeouts, retries, connections.

    Raises:
        InvalidOption: If the file of certificates that boto3 is configured with cannot be loaded.
    """
    client = make_session(settings).client(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": addressing(settings)},
            # S3-compatible servers store the trailers of boto3's default as content.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            proxies={} if is_loopback(settings.endpoint) else None,
            tcp_keepalive=True,
            **{"ignore_configured_endpoint_urls": True} | config,
        ),
    )
    _check_ca_bundle(client)
    if settings.request_payer is not None:
        client.meta.events.register("before-sign.s3", _accept_costs)
    ContentMd5().register(client)
    return client


def make_session(settings: StoreSettings) -> boto3.Session:
    """Return a session of boto3 that finds credentials if *settings* hold none."""
    own_keys = settings.access_key_id is not None
    return boto3.Session(
        botocore_session=botocore.session.Session(
            # An AWS_PROFILE that does not exist would otherwise be an error.
            session_vars={"profile": (None, None, None, None)} if own_keys else None
        )
    )


def ca_bundle(client: S3Client) -> str | None:
    """Return the file of certificates that *client* is configured with; None: boto3's own."""
    # botocore has no public way to ask which of its sources (environment, config file) counts.
    bundle = client._endpoint.http_session._verify  # type: ignore[attr-defined]  # noqa: SLF001
    return bundle if isinstance(bundle, str) else None


def _check_ca_bundle(client: S3Client) -> None:
    """Load the certificates that *client* would only load, and fail on, for its first request."""
    bundle = ca_bundle(client)
    if bundle is None or client.meta.endpoint_url.startswith("http:"):
        return
    try:
        check_ca_bundle(bundle)
    except ValueError as err:
        raise InvalidOption(
            f"certificates for S3: {err}; fix AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE or ca_bundle in "
            "the configuration of AWS"
        ) from err


def addressing(settings: StoreSettings) -> Literal["auto", "path", "virtual"]:
    """Return where URLs name the bucket; `auto` leaves it to boto3."""
    if settings.addressing == "auto" and settings.endpoint:
        return "path"
    return settings.addressing


def _accept_costs(request: AWSRequest, signature_version: str, **_: object) -> None:
    if not signature_version.endswith("-query"):  # a link's reader sends no headers
        request.headers["x-amz-request-payer"] = "requester"


def is_loopback(endpoint: str | None) -> bool:
    """Return whether *endpoint* is on this machine, where no proxy reaches it."""
    host = urlsplit(endpoint or "").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
