"""The parent's end of one child process that decodes images."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from shared.errors import ImageTooLarge, ItemError, UndecodableImage, UnsupportedImage
from worker.imaging.decode.decoder import DecodedImage, Truncated
from worker.imaging.decode.isolated.child import LENGTH, send
from worker.imaging.types import SourceMetadata

CONNECTION_ERRORS: Final = (OSError, EOFError, ValueError)
"""Raised when the child has died or sends an invalid message."""

_START_S: Final = 60.0
"""Loading the decoders' libraries from a cold disk takes seconds; a minute means a hang."""

EXIT_S: Final = 2.0
"""Time for a dying process to exit, so that its own exit status is reported and not our kill."""

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
        self._socket, child_end = socket.socketpair()
        with child_end:
            arguments = json.dumps(config | {"fd": child_end.fileno()})
            # A new session, so that Ctrl-C and signals to our process group do not reach the child.
            # Not multiprocessing: it would import this process's main module, and torch with it.
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
                [sys.executable, "-P", "-c", boot, json.dumps(sys.path), arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[child_end.fileno()],
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def wait_ready(self) -> None:
        """Wait until the process accepts requests; kill it if it fails to.

        Raises:
            OSError: If it does not start; no image is the cause.
        """
        try:
            self._receive(time.monotonic() + _START_S)
        except CONNECTION_ERRORS as err:
            raise OSError(self.reap(EXIT_S)) from err

    def ask(self, data: bytes, truncated: Truncated, timeout_s: float) -> DecodedImage:
        """Return *data* decoded by the process.

        Raises:
            ItemError: The error that `decode` raised there.
            TimeoutError: If the answer is not complete in time.
            OSError, EOFError, ValueError: If the process died or sent an invalid answer.
        """
        deadline = time.monotonic() + timeout_s
        self._socket.settimeout(timeout_s)
        send(self._socket, {"bytes": len(data), "truncated": truncated}, [data])
        body = self._receive(deadline)
        if "error" in body:
            raise _ERRORS[body["error"]](body["reason"])
        height, width = body["shape"]
        image = self._array((height, width, 3), deadline)
        alpha = self._array((height, width), deadline) if body["alpha"] else None
        straight = self._array((height, width, 3), deadline) if body["straight"] else None
        dpi = body["metadata"].pop("dpi")
        metadata = SourceMetadata(dpi=tuple(dpi) if dpi else None, **body["metadata"])
        notes, doubts = tuple(body["notes"]), tuple(body["doubts"])
        return DecodedImage(image, alpha, notes, straight, metadata, doubts)

    def disconnect(self) -> None:
        """Shut the socket down: an idle process exits, and a thread waiting for an answer wakes."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def reap(self, grace_s: float) -> str:
        """Wait *grace_s* for the process to end, then kill it; return how it ended."""
        self.disconnect()
        try:
            code = self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._socket.close()
        return f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"

    def _receive(self, deadline: float) -> dict[str, Any]:
        (length,) = LENGTH.unpack(self._exactly(bytearray(LENGTH.size), deadline))
        if length > _MAX_TEXT_BYTES:
            raise ValueError(f"answer of {length} bytes; the limit is {_MAX_TEXT_BYTES}")
        body: dict[str, Any] = json.loads(self._exactly(bytearray(length), deadline))
        return body

    def _array(self, shape: tuple[int, ...], deadline: float) -> npt.NDArray[np.uint8]:
        array = np.empty(shape, np.uint8)
        self._exactly(array.data.cast("B"), deadline)
        return array

    def _exactly(self, into: _Buffer, deadline: float) -> _Buffer:
        """Fill *into* from the socket, and return it."""
        remaining = memoryview(into)
        while remaining:
            self._socket.settimeout(max(deadline - time.monotonic(), 1e-3))
            received = self._socket.recv_into(remaining)
            if received == 0:
                raise EOFError
            remaining = remaining[received:]
        return into
