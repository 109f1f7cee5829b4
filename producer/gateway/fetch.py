"""Fetch addresses that callers name, without reaching what only the gateway can reach.

A name is resolved once, every address that it has is checked, and the connection goes to a checked
address: a name that has another address a moment later (DNS rebinding) gains nothing. The Host
header and the name of the TLS certificate stay those of the URL. Redirects are not followed, and
bytes and time are limited.
"""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, TypeAlias

import anyio
import httpcore
import httpx

from producer.gateway.addresses import is_public
from producer.gateway.limits import too_large
from producer.gateway.problems import Problem
from producer.gateway.settings import GatewaySettings
from shared.urls import split_url

CONNECT_S: Final = 5.0
"""Longest wait for a connection, in seconds."""
_PORTS: Final = {"http": 80, "https": 443}
_HEADERS: Final = {"User-Agent": "rmbg-queue", "Accept": "*/*", "Connection": "close"}

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host, as text."""


async def system_resolver(host: str, port: int) -> list[str]:
    """Return the addresses of *host* as the system resolves it.

    Raises:
        OSError: If it has none.
    """
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


@dataclass(frozen=True)
class Response:
    """The response of another server."""

    status: int
    headers: Mapping[str, str]
    """Names are in lower case."""
    body: bytes


@dataclass(frozen=True)
class Fetcher:
    """Sends requests to servers that callers name."""

    max_bytes: int
    """Largest body that is read."""
    timeout_s: float = 20.0
    """Longest time of a request, from the resolution to the last byte, in seconds."""
    is_allowed: Callable[[str], bool] = is_public
    """Whether an address may be connected to."""
    resolve: Resolver = system_resolver
    tls: ssl.SSLContext = field(default_factory=httpx.create_ssl_context)
    is_cut: bool = False
    """Whether a longer body is cut off in place of being refused."""

    def check(self, url: str) -> None:
        """Check what can be known of *url* before a request: its form, and an address in it.

        Raises:
            Problem: If it would be refused.
        """
        host = _parsed(url).host.decode().strip("[]")
        with contextlib.suppress(ValueError):
            if not self.is_allowed(str(ipaddress.ip_address(host))):
                raise refused(f"{host} is not a public address")

    async def get(self, url: str) -> bytes:
        """Return the body that *url* has.

        Raises:
            Problem: If the URL is refused, the server fails, or the body is over the limit.
        """
        response = await self.send("GET", url)
        if response.status != HTTPStatus.OK:
            is_redirect = 300 <= response.status < 400  # noqa: PLR2004 - the class of redirects
            hint = "; redirects are not followed: give the final address" if is_redirect else ""
            raise failed(url, f"its server answered {response.status}{hint}")
        return response.body

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Response:
        """Send one request and return the response, whatever its status is.

        Raises:
            Problem: If the URL is refused, the server does not answer, or the body is over the
                limit.
        """
        target = _parsed(url)
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._send(method, target, dict(headers or {}), content)
        except TimeoutError as err:
            raise failed(url, f"no complete response within {self.timeout_s:g} s") from err
        except (httpcore.NetworkError, httpcore.TimeoutException, OSError) as err:
            raise failed(url, "its server cannot be reached") from err
        except httpcore.ProtocolError as err:
            raise failed(url, "its server does not speak HTTP") from err

    async def _send(
        self, method: str, target: httpcore.URL, headers: dict[str, str], content: bytes | None
    ) -> Response:
        backend = _Pinned(self.resolve, self.is_allowed)
        sent = {**_HEADERS, **headers}
        async with (
            httpcore.AsyncConnectionPool(self.tls, network_backend=backend) as pool,
            pool.stream(
                method,
                target,
                headers=list(sent.items()),
                content=content,
                extensions={"timeout": {"connect": CONNECT_S}},
            ) as response,
        ):
            received = {
                name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in response.headers
            }
            body = await self._read(response, received.get("content-length", ""))
        return Response(response.status, received, body)

    async def _read(self, response: httpcore.Response, named: str) -> bytes:
        if named.isdecimal() and int(named) > self.max_bytes and not self.is_cut:
            raise too_large(self.max_bytes)
        body = bytearray()
        async for piece in response.aiter_stream():
            body += piece
            if len(body) > self.max_bytes:
                if self.is_cut:
                    return bytes(body[: self.max_bytes])
                raise too_large(self.max_bytes)
        return bytes(body)


def fetcher_of(settings: GatewaySettings) -> Fetcher:
    """Return what fetches the images that requests name."""
    return Fetcher(settings.max_body_bytes, is_allowed=allowed_by(settings))


def allowed_by(settings: GatewaySettings) -> Callable[[str], bool]:
    """Return what says whether an address may be connected to."""
    return (lambda _address: True) if settings.allow_private else is_public


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only; the name stays the one that TLS and HTTP see."""

    def __init__(self, resolve: Resolver, is_allowed: Callable[[str], bool]) -> None:
        self._resolve = resolve
        self._is_allowed = is_allowed
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of *host* that answers, if all may be connected to."""
        addresses = await self._resolve(host, port)
        if not all(map(self._is_allowed, addresses)):
            raise refused(f"{host} has an address that is not public")
        error: Exception = OSError(f"{host} has no address")
        for address in addresses:
            try:
                return await self._network.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as err:
                error = err
        raise error


def refused(detail: str) -> Problem:
    """Return the problem of a URL that the gateway does not fetch."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "url-refused", detail)


def failed(url: str, why: str) -> Problem:
    """Return the problem of a URL that could not be fetched."""
    host = httpx.URL(url).raw_host.decode("ascii")  # `host` fails on invalid Punycode
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "url-failed", f"the URL at {host}: {why}")


def _parsed(url: str) -> httpcore.URL:
    parts = split_url(url)
    try:
        given = httpx.URL(url)
    except httpx.InvalidURL:
        parts = None
    if parts is None or not parts.hostname or parts.scheme not in _PORTS:
        raise refused("the URL must be a complete one that begins with http:// or https://")
    if parts.username or parts.password:
        raise refused("the URL must not contain a user or password")
    return httpcore.URL(
        scheme=given.raw_scheme,
        host=given.raw_host,
        port=given.port or _PORTS[given.scheme],
        target=given.raw_path,
    )
