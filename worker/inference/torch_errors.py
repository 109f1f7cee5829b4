"""Translate errors of torch into `MemoryError` and `DeviceLost`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from shared.errors import DeviceLost

_MEMORY_SIGNS: Final = (
    "out of memory",
    "can't allocate memory",
    "bad_alloc",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "unable to find an engine",
)
"""Parts of torch's `RuntimeError` texts, from CUDA, the CPU allocator and libraries. The last two
come from cuDNN when it has no memory for itself. A false match costs a few smaller attempts before
it ends as `DeviceLost`."""


@contextmanager
def translated(device: str, doing: str) -> Iterator[None]:
    """Translate errors of torch inside the context.

    Args:
        device: Name of the device, as in records.
        doing: What failed, for the message.

    Raises:
        MemoryError: If out of memory, so that a smaller batch or another device may succeed.
        DeviceLost: For all other errors; the images are not the cause.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as err:
        is_out_of_memory = isinstance(err, MemoryError | torch.OutOfMemoryError)
        if is_out_of_memory or any(sign in str(err) for sign in _MEMORY_SIGNS):
            raise MemoryError(f"{device} is out of memory {doing}: {err}") from err
        raise DeviceLost(f"{device} failed {doing}: {err}") from err
