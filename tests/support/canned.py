"""A web server with prepared answers, for those that no real store gives on demand."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def error(status: int, code: str, message: str = "-", **elements: str) -> bytes:
    """Return an S3 error response as raw HTTP, with further *elements* of its document."""
    fields = {"Code": code, "Message": message} | elements
    text = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    body = f"<?xml version='1.0'?><Error>{text}</Error>".encode()
    return _http(status, body, {"Content-Type": "application/xml"})


def found(body: bytes, *, claimed_bytes: int | None = None, **headers: str) -> bytes:
    """Return an object as raw HTTP; with *claimed_bytes* over the body's length it is truncated."""
    fields = {"ETag": '"e"', "Last-Modified": "Mon, 23 Nov 2026 01:02:03 GMT"}
    further = {name.replace("_", "-"): value for name, value in headers.items()}
    return _http(200, body, fields | further, claimed_bytes)


def _http(
    status: int, body: bytes, headers: dict[str, str], claimed_bytes: int | None = None
) -> bytes:
    lines = [f"HTTP/1.1 {status} -", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body) if claimed_bytes is None else claimed_bytes}", "", ""]
    return "\r\n".join(lines).encode() + body


class CannedServer:
    """Server that gives the n-th answer to the n-th connection, and the last one to all later."""

    def __init__(self, answers: Sequence[bytes | None]) -> None:
        self.answers = answers
        self.requests = 0
        self.bodies: list[bytes] = []
        self.heads: list[dict[bytes, bytes]] = []
        """Fields of each request, with names in lower case."""
        self.targets: list[bytes] = []
        """What each request is for: path and query."""
        self._held: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """URL of the server."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """Stop listening and close the connections that got no answer."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._held:
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            answer = self.answers[min(self.requests, len(self.answers) - 1)]
            self.requests += 1
            if answer is None:
                self._held.append(connection)
                continue
            with connection:
                target, head, body = _read_request(connection)
                self.targets.append(target)
                self.heads.append(head)
                self.bodies.append(body)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)


def _read_request(connection: socket.socket) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Return target, fields and body; closing before both are read would reset the connection."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65536)
    head, _, body = head.partition(b"\r\n\r\n")
    pairs = (line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    fields = {name.lower(): value for name, value in pairs}
    if fields.get(b"expect") == b"100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while len(body) < int(fields.get(b"content-length", 0)):
        body += connection.recv(65536)
    return head.split(b" ", 2)[1], fields, body


@contextmanager
def canned(*answers: bytes | None) -> Iterator[CannedServer]:
    """Run a server that gives *answers*, one per connection; None accepts it without answering."""
    server = CannedServer(answers)
    try:
        yield server
    finally:
        server.close()
