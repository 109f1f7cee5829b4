"""One decoding process and the line to it, as seen from the process that asks."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from shared.errors import ImageTooLarge, ItemError, UndecodableImage, UnsupportedImage
from worker.imaging.decode.decoder import DecodedImage
from worker.imaging.decode.isolated.child import LENGTH, send

if TYPE_CHECKING:
    import numpy.typing as npt

    from worker.imaging.decode.decoder import Truncated

BROKEN: Final = (OSError, EOFError, ValueError)
"""What a line to a process that is gone, or out of its mind, raises."""

_START_S: Final = 60.0
"""A cold disk loads the decoders' libraries in seconds; a minute means that they never come."""

_EXIT_S: Final = 2.0
_MAX_TEXT_BYTES: Final = 2**20
BOOT: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from worker.imaging.decode.isolated.child import main; main(sys.argv[2])"
)
"""The child's program; its arguments are the parent's `sys.path` and the configuration, in JSON."""
_ERRORS: Final[dict[str, type[ItemError]]] = {
    error.__name__: error for error in (UndecodableImage, UnsupportedImage, ImageTooLarge)
}
_Buffer = TypeVar("_Buffer", bytearray, memoryview)


class DecoderProcess:
    """A child process that decodes images; used by one thread at a time.

    Args:
        config: Configuration for `worker.imaging.decode.isolated.child.main`.
        boot: Program of the child; tests pass others.
    """

    def __init__(self, config: dict[str, Any], boot: str = BOOT) -> None:
        self._line, theirs = socket.socketpair()
        with theirs:
            told = json.dumps(config | {"fd": theirs.fileno()})
            # A session of its own: Ctrl-C and signals to our group are ours to act on. Not
            # multiprocessing: it would import this process's main module, and torch with it.
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
                [sys.executable, "-P", "-c", boot, json.dumps(sys.path), told],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def wait_ready(self) -> None:
        """Wait until the process listens; kill it if it does not.

        Raises:
            OSError, EOFError, ValueError: If it does not come up; no picture is to blame.
        """
        try:
            self._receive(time.monotonic() + _START_S)
        except BROKEN as err:
            raise OSError(self.reap(_EXIT_S)) from err

    def ask(self, data: bytes, truncated: Truncated, timeout_s: float) -> DecodedImage:
        """Have *data* decoded.

        Raises:
            ItemError: What `decode` said there.
            TimeoutError: If the answer is not complete in time.
            OSError, EOFError, ValueError: If the process died or speaks nonsense.
        """
        deadline = time.monotonic() + timeout_s
        self._line.settimeout(timeout_s)
        send(self._line, {"bytes": len(data), "truncated": truncated}, [data])
        body = self._receive(deadline)
        if "error" in body:
            raise _ERRORS[body["error"]](body["reason"])
        height, width = body["shape"]
        image = self._array((height, width, 3), deadline)
        alpha = self._array((height, width), deadline) if body["alpha"] else None
        straight = self._array((height, width, 3), deadline) if body["straight"] else None
        return DecodedImage(image, alpha, tuple(body["notes"]), straight)

    def hang_up(self) -> None:
        """Cut the line: an idle process ends by itself, and whoever waits for an answer wakes."""
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)

    def reap(self, grace_s: float) -> str:
        """Wait *grace_s* for the process to end, else kill it; say how it ended."""
        self.hang_up()
        try:
            code = self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._line.close()
        if code >= 0:
            return f"exit code {code}"
        return f"signal {-code} ({signal.Signals(-code).name})"

    def _receive(self, deadline: float) -> dict[str, Any]:
        (length,) = LENGTH.unpack(self._exactly(bytearray(LENGTH.size), deadline))
        if length > _MAX_TEXT_BYTES:
            raise ValueError(f"an answer of {length} bytes")
        body: dict[str, Any] = json.loads(self._exactly(bytearray(length), deadline))
        return body

    def _array(self, shape: tuple[int, ...], deadline: float) -> npt.NDArray[np.uint8]:
        array = np.empty(shape, np.uint8)
        self._exactly(array.data.cast("B"), deadline)
        return array

    def _exactly(self, into: _Buffer, deadline: float) -> _Buffer:
        """Fill *into* from the line, and return it."""
        rest = memoryview(into)
        while rest:
            self._line.settimeout(max(deadline - time.monotonic(), 1e-3))
            got = self._line.recv_into(rest)
            if got == 0:
                raise EOFError
            rest = rest[got:]
        return into
