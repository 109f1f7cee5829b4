"""Make a child process die with its parent, however that ends."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_GONE: Final = 1


def dies_with_parent() -> Callable[[], None] | None:
    """Return what a new process calls between fork and exec, so that it dies with this one.

    The kernel then sends it SIGKILL when the thread that started it ends, also after `kill -9`.
    Returns None on systems without this request, which have no CUDA devices either.
    """
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None, use_errno=True).prctl, os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the kernel was asked
            os._exit(_GONE)

    return ask_kernel
