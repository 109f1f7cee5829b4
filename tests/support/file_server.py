"""A real HTTP server that serves files, with ranges, redirects and faults."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable


@dataclass(frozen=True)
class File:
    """What the server has at a path, and how it serves it."""

    body: bytes = b""
    status: int = 200
    location: str | None = None
    """Target of a redirect."""
    has_ranges: bool = True
    has_length: bool = True
    cut_after: int | None = None
    """The connection is closed after this many bytes of the answer."""
    hold_after: tuple[int, threading.Event] | None = None
    """After this many bytes of the answer, wait for the event."""


@dataclass(frozen=True)
class Request:
    """One request that the server received."""

    path: str
    range: str | None
    authorization: str | None
    host: str


class FileServer:
    """Serve `files` (by path) on a loopback port and record the `requests`."""

    def __init__(
        self,
        files: dict[str, File] | None = None,
        *,
        at: tuple[str, int] = ("127.0.0.1", 0),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.files = dict(files or {})
        self.requests: list[Request] = []
        self.on_request: Callable[[], None] = lambda: None
        """Called for each request, before the answer."""
        self._server = ThreadingHTTPServer(at, self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.port = self._server.server_port
        self.url = f"http://{at[0]}:{self.port}"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    @property
    def ranges(self) -> list[str | None]:
        return [request.range for request in self.requests]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = self.headers
                server.requests.append(
                    Request(self.path, headers["Range"], headers["Authorization"], headers["Host"])
                )
                server.on_request()
                _answer(self, server.files.get(self.path, File(status=404)))

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        return Handler


def _answer(handler: BaseHTTPRequestHandler, file: File) -> None:
    status, body = file.status, file.body
    wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers["Range"] or "")
    if status == 200 and wanted and file.has_ranges:
        start = int(wanted[1])
        status, body = (206, body[start:]) if start < len(body) else (416, b"")
    handler.send_response(status)
    if file.has_length:
        handler.send_header("Content-Length", str(len(body)))
    if status == 206:
        handler.send_header("Content-Range", f"bytes {start}-{len(file.body) - 1}/{len(file.body)}")
    if file.location:
        handler.send_header("Location", file.location)
    handler.end_headers()
    body = body[: file.cut_after]
    if file.hold_after:
        length, event = file.hold_after
        handler.wfile.write(body[:length])
        event.wait()
        body = body[length:]
    handler.wfile.write(body)
