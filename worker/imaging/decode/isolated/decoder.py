"""Decode in child processes, so that a crash, hang or memory exhaustion affects one image."""

import functools
import threading
from dataclasses import asdict
from typing import Final

from shared.errors import ItemError, UndecodableImage, WorkerUnfit
from worker.imaging.decode.decoder import DecodedImage, Truncated
from worker.imaging.decode.isolated.process import (
    BOOT,
    CONNECTION_ERRORS,
    EXIT_S,
    DecoderProcess,
)
from worker.imaging.decode.limits import Limits

MEMORY_BYTES: Final = 3 * 2**30
"""Enough for 100 MP with alpha: up to 5 copies of 4 bytes per pixel at once."""

TIMEOUT_S: Final = 30.0
"""Time limit per image, in seconds; the child is killed after it."""

_CLOSED: Final = "the isolated decoder is closed"


class IsolatedDecoder:
    """`decode` in child processes with a memory limit and a time limit; thread-safe.

    The processes start on demand, decode one image at a time and are reused; one that died or was
    killed is replaced. They share only a socket with this process, do not import torch, and exit
    when this process ends.
    """

    def __init__(
        self,
        limits: Limits,
        memory_bytes: int = MEMORY_BYTES,
        timeout_s: float = TIMEOUT_S,
        *,
        children: int = 1,
        boot: str = BOOT,
    ) -> None:
        """Configure the processes; none is started yet.

        Args:
            limits: As for `decode`.
            memory_bytes: Memory limit for one image, on top of the idle process.
            timeout_s: Time limit for one image, after which its process is killed.
            children: Maximum number of processes; further callers wait.
            boot: Program of the processes; see `DecoderProcess`.
        """
        self._limits = limits
        self._timeout_s = timeout_s
        config = {"limits": asdict(limits), "memory_bytes": memory_bytes, "timeout_s": timeout_s}
        self._spawn = functools.partial(DecoderProcess, config, boot)
        self._slots = threading.Semaphore(children)
        self._lock = threading.Lock()
        self._children: set[DecoderProcess] = set()
        self._idle: list[DecoderProcess] = []
        self._closed = False

    def decode(self, data: bytes, *, truncated: Truncated = "fail") -> DecodedImage:
        """Decode *data* in a child process; see `decode`.

        If the process dies, the image is tried once more in a new one, because the process may
        have been killed for another reason; a second death is attributed to the image. An image
        that exceeds the time limit is not retried.

        Raises:
            UndecodableImage: Also if the process died twice, or exceeded the time limit.
            UnsupportedImage: See `decode`.
            ImageTooLarge: Also if the memory limit was exceeded.
            WorkerUnfit: If no process can be started, or this decoder is closed.
        """
        self._limits.check_bytes(len(data))
        try:
            return self._once(data, truncated)
        except _DiedError:
            pass
        try:
            return self._once(data, truncated)
        except _DiedError as err:
            raise UndecodableImage(f"the decoder process died twice: {err}") from err

    def close(self) -> None:
        """End all processes; calls in progress raise `WorkerUnfit`. Safe to repeat."""
        with self._lock:
            self._closed = True
            children = tuple(self._children)
            self._children.clear()
        for child in children:
            child.disconnect()
        for child in children:
            child.reap(EXIT_S)

    def _once(self, data: bytes, truncated: Truncated) -> DecodedImage:
        with self._slots:
            child = self._idle_or_new()
            try:
                return child.ask(data, truncated, self._timeout_s)
            except ItemError:
                raise
            except TimeoutError as err:
                child.reap(0)
                raise UndecodableImage(f"decoding took longer than {self._timeout_s:g} s") from err
            except CONNECTION_ERRORS as err:
                cause = child.reap(EXIT_S)
                if self._closed:
                    raise WorkerUnfit(_CLOSED) from err
                raise _DiedError(cause) from err
            except BaseException:
                child.reap(0)  # the next caller would read the rest of this answer
                raise
            finally:
                self._idle.append(child)

    def _idle_or_new(self) -> DecoderProcess:
        """Return the process used last if it is alive, or another; start one if none is idle."""
        try:
            with self._lock:
                if self._closed:
                    raise WorkerUnfit(_CLOSED)
                while self._idle:
                    child = self._idle.pop()
                    if child.alive:
                        return child
                    child.reap(0)
                child = self._spawn()
                self._children = {one for one in self._children if one.alive} | {child}
            child.wait_ready()
        except CONNECTION_ERRORS as err:
            raise WorkerUnfit(f"the decoder process did not start: {err}") from err
        return child


class _DiedError(Exception):
    """A process ended during a request; the text is its exit status."""
