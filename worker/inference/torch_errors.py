"""What torch raises, sorted by what is done about it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import torch

from shared.errors import DeviceLost

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEMORY_SIGNS: Final = (
    "out of memory",
    "can't allocate memory",
    "bad_alloc",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "unable to find an engine",
)
"""In the texts of torch's plain `RuntimeError`s: CUDA's, the CPU allocator's, the libraries'. The
last two are cuDNN's where it has no memory for itself. One taken for such by mistake costs a few
smaller tries before it is the device's fault all the same."""


@contextmanager
def translated(device: str, doing: str) -> Iterator[None]:
    """Make one of two errors of what torch raises in here.

    Args:
        device: As records name it.
        doing: Where it failed, for people.

    Raises:
        MemoryError: If there was no memory, so that less at a time or another place may do.
        DeviceLost: Else; the pictures are not to blame.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as err:
        if _is_out_of_memory(err):
            raise MemoryError(f"{device}, {doing}: {err}") from err
        raise DeviceLost(f"{device} failed {doing}: {err}") from err


def _is_out_of_memory(err: BaseException) -> bool:
    """Say whether *err* is a lack of memory, by its class or by its text."""
    if isinstance(err, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(err, RuntimeError) and any(sign in str(err) for sign in _MEMORY_SIGNS)
