"""Decode images in a child process, on behalf of `worker.imaging.decode.isolated.decoder`.

Wire, both ways over one socket: a length (4 bytes, big end first), that many bytes of JSON, then
the raw bytes that the JSON announces. No pickles: what decodes hostile files is not trusted.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shared.errors import ImageTooLarge, ItemError
from worker.imaging.decode.decoder import decode
from worker.imaging.decode.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from worker.imaging.decode.decoder import Truncated

LENGTH: Final = struct.Struct(">I")
_GRACE_S: Final = 5.0
"""How much later than the parent's deadline the child ends itself, should the parent be gone."""


def main(config: str) -> None:
    """Answer requests on an inherited socket until its other end is closed.

    Args:
        config: JSON with `fd`, `limits`, `memory_bytes` and `timeout_s`.
    """
    told = json.loads(config)
    limits = Limits(**told["limits"])
    _limit_memory(told["memory_bytes"])
    line = socket.socket(fileno=told["fd"])
    # Nobody is left to be told when the other end goes away in the middle of an answer.
    with contextlib.suppress(ConnectionError), line, line.makefile("rb") as requests:
        send(line, {"ready": True})
        while head := requests.read(LENGTH.size):
            request = json.loads(requests.read(*LENGTH.unpack(head)))
            data = requests.read(request["bytes"])
            signal.setitimer(signal.ITIMER_REAL, told["timeout_s"] + _GRACE_S)
            body, arrays = _answer(data, limits, request["truncated"], told["memory_bytes"])
            signal.setitimer(signal.ITIMER_REAL, 0)
            send(line, body, arrays)
            del data, arrays


def send(
    line: socket.socket, body: dict[str, Any], blocks: Sequence[memoryview | bytes] = ()
) -> None:
    """Write one message: *body* and the raw *blocks* that it announces."""
    text = json.dumps(body).encode()
    line.sendall(LENGTH.pack(len(text)) + text)
    for block in blocks:
        line.sendall(block)


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
        "alpha": decoded.alpha is not None,
        "straight": decoded.straight is not None,
    }
    return body, [_bytes_of(array) for array in arrays if array is not None]


def _bytes_of(array: npt.NDArray[np.uint8]) -> memoryview:
    return array.data.cast("B")


def _limit_memory(memory_bytes: int) -> None:
    """Allow *memory_bytes* on top of what the idle process holds.

    Linux counts private writable memory (`VmData`) against RLIMIT_DATA, however it was taken;
    elsewhere the limit covers the heap at best.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    held = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (held + memory_bytes, held + memory_bytes))
