"""Translate errors of torch and ONNX Runtime into `MemoryError`, `PassFailed` and `DeviceLost`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from shared.tracebacks import release_frames

_MEMORY_SIGNS: Final = (
    "out of memory",
    "can't allocate memory",
    "bad_alloc",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "unable to find an engine",
    "Failed to allocate memory",
    "smaller than requested bytes",
)
"""Parts of torch's `RuntimeError` texts, from CUDA, the CPU allocator and libraries, and of ONNX
Runtime's, the last two. The two before come from cuDNN when it has no memory for itself. A false
match costs a minute of smaller attempts before it ends as `DeviceFull`."""


class PassFailed(Exception):
    """Work on the device failed; an image or the device may be the cause."""


@contextmanager
def translated(device: str, doing: str, *, fault: type[Exception] = PassFailed) -> Iterator[None]:
    """Translate errors of torch inside the context.

    Args:
        device: Name of the device, as in records.
        doing: What failed, for the message.
        fault: What to raise for errors other than a lack of memory.

    Raises:
        MemoryError: If out of memory, so that a smaller batch or another device may succeed.
        PassFailed: For all other errors, or *fault*.
    """
    try:
        yield
    except Exception as err:
        is_out_of_memory = isinstance(err, MemoryError | torch.OutOfMemoryError)
        if is_out_of_memory or any(sign in str(err) for sign in _MEMORY_SIGNS):
            release_frames(err)  # they hold the memory of the pass, which the next try needs
            raise MemoryError(f"{device} is out of memory {doing}: {err}") from err
        raise fault(f"{device} failed {doing}: {err}") from err
