"""Decoding in processes apart: a crash, a hang or a flood of memory costs one picture only."""

from __future__ import annotations

import functools
import queue
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from shared.errors import ItemError, UndecodableImage, WorkerUnfit
from worker.imaging.decode.isolated.process import BOOT, BROKEN, DecoderProcess

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from worker.imaging.decode.decoder import DecodedImage, Truncated
    from worker.imaging.decode.limits import Limits

MEMORY_BYTES: Final = 3 * 2**30
"""Enough for 100 MP with an alpha: up to 5 copies of 4 bytes a pixel at once."""

TIMEOUT_S: Final = 30.0
"""Time for one picture, in seconds; the child is killed then."""

_EXIT_S: Final = 2.0
"""A dying process is given this long to be gone, so that its own signal is seen and not ours."""

_CLOSED: Final = "the isolated decoder is closed"


class IsolatedDecoder:
    """`decode` in spawned processes with a memory limit and a deadline.

    The processes start when first needed, serve one picture at a time and are kept; one that
    died or was killed is replaced. They share nothing with this process but a socket, do not load
    torch, and end by themselves when this process ends. Safe in any thread.
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
        """Start nothing yet.

        Args:
            limits: As for `decode`.
            memory_bytes: What one picture may take, on top of the idle process.
            timeout_s: Time for one picture, after which its process is killed.
            children: Most processes at a time; further callers wait.
            boot: Program of the processes; see `DecoderProcess`.
        """
        self._limits = limits
        self._timeout_s = timeout_s
        config = {"limits": asdict(limits), "memory_bytes": memory_bytes, "timeout_s": timeout_s}
        self._spawn = functools.partial(DecoderProcess, config, boot)
        # A place is a process or, while there is none, None; last in, first out keeps one warm.
        self._places: queue.LifoQueue[DecoderProcess | None] = queue.LifoQueue()
        for _ in range(children):
            self._places.put(None)
        self._children: set[DecoderProcess] = set()
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """Ids of the processes that run now."""
        with self._lock:
            return tuple(child.pid for child in self._children if child.alive)

    def decode(self, data: bytes, *, truncated: Truncated = "fail") -> DecodedImage:
        """Do what `decode` does, in a process apart.

        A process that dies is tried once more with a new one, since somebody else may have killed
        it; the second death is the picture's. A picture that is too slow is not tried again.

        Raises:
            UndecodableImage: Also if the process died twice, or took longer than its time.
            UnsupportedImage: See `decode`.
            ImageTooLarge: Also if the memory limit was passed.
            WorkerUnfit: If no process can be started, or this decoder was closed.
        """
        self._limits.check_bytes(len(data))
        try:
            return self._once(data, truncated)
        except _DiedError:
            pass
        try:
            return self._once(data, truncated)
        except _DiedError as err:
            raise UndecodableImage(f"the decoder process died: {err}") from err

    def close(self) -> None:
        """End all processes, those at work too: their callers get `WorkerUnfit`. Repeatable."""
        with self._lock:
            self._closed = True
            children = tuple(self._children)
            self._children.clear()
        for child in children:
            child.hang_up()
        for child in children:
            child.reap(_EXIT_S)

    def _once(self, data: bytes, truncated: Truncated) -> DecodedImage:
        child = self._take()
        try:
            return child.ask(data, truncated, self._timeout_s)
        except ItemError:
            raise
        except TimeoutError as err:
            child.reap(0)
            raise UndecodableImage(f"took longer than {self._timeout_s:g} s to decode") from err
        except BROKEN as err:
            cause = child.reap(_EXIT_S)
            if self._closed:
                raise WorkerUnfit(_CLOSED) from err
            raise _DiedError(cause) from err
        except BaseException:
            child.reap(0)  # its answer was not read to the end: the next one would get the rest
            raise
        finally:
            self._places.put(child)

    def _take(self) -> DecoderProcess:
        child = self._places.get()
        if child is not None and child.alive:
            return child
        try:
            if child is not None:
                child.reap(0)
            return self._start()
        except BaseException:
            self._places.put(None)
            raise

    def _start(self) -> DecoderProcess:
        try:
            with self._lock:
                if self._closed:
                    raise WorkerUnfit(_CLOSED)
                child = self._spawn()
                self._children = {one for one in self._children if one.alive} | {child}
            child.wait_ready()
        except BROKEN as err:
            raise WorkerUnfit(f"the decoder process did not start: {err}") from err
        return child


class _DiedError(Exception):
    """A process ended while it was asked; the text says how."""
