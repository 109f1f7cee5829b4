"""Decode images in a child process, on behalf of `worker.imaging.decode.isolated.decoder`.

Protocol, both ways over one socket: a length (4 bytes, big-endian), that many bytes of JSON, then
the raw bytes that the JSON announces. No pickle, because a process that decodes hostile files is
not trusted.
"""

import contextlib
import json
import resource
import signal
import socket
import struct
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from shared.errors import ImageTooLarge, ItemError
from worker.imaging.decode.decoder import Truncated, decode
from worker.imaging.decode.limits import Limits

LENGTH: Final = struct.Struct(">I")
_GRACE_S: Final = 5.0
"""Time after the parent's deadline at which the child ends itself, in case the parent is gone."""


def main(config_json: str) -> None:
    """Answer requests on an inherited socket until the parent closes it.

    Args:
        config_json: JSON with `fd`, `limits`, `memory_bytes` and `timeout_s`.
    """
    config = json.loads(config_json)
    limits = Limits(**config["limits"])
    _limit_memory(config["memory_bytes"])
    parent = socket.socket(fileno=config["fd"])
    # The parent may close the socket in the middle of an answer.
    with contextlib.suppress(ConnectionError), parent, parent.makefile("rb") as requests:
        send(parent, {"ready": True})
        while head := requests.read(LENGTH.size):
            request = json.loads(requests.read(*LENGTH.unpack(head)))
            data = requests.read(request["bytes"])
            signal.setitimer(signal.ITIMER_REAL, config["timeout_s"] + _GRACE_S)
            body, arrays = _answer(data, limits, request["truncated"], config["memory_bytes"])
            signal.setitimer(signal.ITIMER_REAL, 0)
            send(parent, body, arrays)
            del data, arrays


def send(
    peer: socket.socket, body: dict[str, Any], blocks: Sequence[memoryview | bytes] = ()
) -> None:
    """Send one message: *body* and the raw *blocks* that it announces."""
    text = json.dumps(body).encode()
    peer.sendall(LENGTH.pack(len(text)) + text)
    for block in blocks:
        peer.sendall(block)


def _answer(
    data: bytes, limits: Limits, truncated: Truncated, memory_bytes: int
) -> tuple[dict[str, Any], list[memoryview]]:
    try:
        decoded = decode(data, limits, truncated=truncated)
    except ItemError as err:
        reason = str(err)
        if isinstance(err, ImageTooLarge) and isinstance(err.__cause__, MemoryError):
            reason += f"; the limit is {memory_bytes:,} bytes"
        return {"error": type(err).__name__, "reason": reason}, []
    arrays = [decoded.image, decoded.alpha, decoded.straight]
    body = {
        "shape": decoded.image.shape[:2],
        "notes": decoded.notes,
        "doubts": decoded.doubts,
        "alpha": decoded.alpha is not None,
        "straight": decoded.straight is not None,
        "metadata": asdict(decoded.metadata),
    }
    return body, [array.data.cast("B") for array in arrays if array is not None]


def _limit_memory(memory_bytes: int) -> None:
    """Limit memory to *memory_bytes* on top of what the idle process holds.

    Linux counts all private writable memory (`VmData`) against RLIMIT_DATA; other systems count
    the heap at most.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    held = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (held + memory_bytes, held + memory_bytes))
