"""Serve metrics and probes over HTTP."""

import logging
import socket
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from shared.errors import InvalidOption
from worker.lifecycle import start_thread
from worker.monitoring.health import Health

logger = logging.getLogger(__name__)

TEXT: Final = "text/plain; charset=utf-8"
METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The text format that every version of Prometheus reads."""
TIMEOUT_S: Final = 5.0
"""Longest wait for the next byte of a request."""
Answer = tuple[HTTPStatus, str, bytes]


class HttpServer:
    """Serves `/metrics`, `/livez` and `/readyz`. Read-only, without authentication."""

    def __init__(
        self, address: tuple[str, int], *, registry: CollectorRegistry, health: Health
    ) -> None:
        self._address = address
        self._pages: dict[str, Callable[[], Answer]] = {
            "/metrics": lambda: (HTTPStatus.OK, METRICS, generate_latest(registry)),
            "/livez": lambda: _probed(health.alive()),
            "/readyz": lambda: _probed(health.ready()),
        }

    def start(self) -> None:
        """Serve until the process ends.

        Raises:
            InvalidOption: If the address cannot be bound.
        """
        try:
            server = _Server(self._address, self._pages)
        except OSError as err:
            host, port = self._address
            raise InvalidOption(
                f"RMBG_HTTP={host}:{port} cannot be bound: {err}; choose another address"
            ) from err
        start_thread("http", server.serve_forever)
        bound = {"host": str(server.server_address[0]), "port": server.server_port}
        logger.info("serving metrics", extra=bound)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], pages: dict[str, Callable[[], Answer]]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.pages = pages
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the base's signature
        logger.debug("HTTP request failed", exc_info=sys.exc_info())


class _Handler(BaseHTTPRequestHandler):
    timeout = TIMEOUT_S
    server: _Server

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        missing = (HTTPStatus.NOT_FOUND, TEXT, b"/metrics /livez /readyz\n")
        status, kind, body = page() if page else missing
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        logger.debug("HTTP request", extra={"request": format % args})


def _probed(problem: str | None) -> Answer:
    if problem is None:
        return HTTPStatus.OK, TEXT, b"ok\n"
    return HTTPStatus.SERVICE_UNAVAILABLE, TEXT, f"{problem}\n".encode()
