"""Keep converted weights beside the download, so that later starts map them into memory.

`{home}/weights/{SHA-256 of the source}-{architecture}-v{FORMAT}.safetensors` holds the tensors as
the network uses them, and a checksum of them.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import torch
from filelock import FileLock
from isal import isal_zlib
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from worker.inference.architectures import convert

logger = logging.getLogger(__name__)

FORMAT: Final = 1
"""Increase it when the result of a conversion changes; files of other formats are not read."""
_CHECKSUM: Final = "crc32"


def find(sha256: str, architecture: str, home: Path) -> Path | None:
    """Return the intact converted file of the source with this SHA-256, or None."""
    path = _place(sha256, architecture, home)
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            is_intact = (file.metadata() or {}).get(_CHECKSUM) == _checksum(state)
    except (OSError, SafetensorError):
        return None
    return path if is_intact else None


def make(source: Path, sha256: str, architecture: str, home: Path) -> Path:
    """Return the converted file of *source*, made if needed; *source* if none can be written.

    The file appears whole or not at all. Of several processes one converts, the others wait.

    Args:
        source: A weights file.
        sha256: Its SHA-256.
        architecture: See `worker.inference.architectures.load_network`.
        home: Folder of the cache (`RMBG_HOME`).

    Raises:
        WeightsInvalid: If *source* does not hold weights of this network.
    """
    if source.suffix.lower() == ".safetensors":  # as fast to read
        return source
    if path := find(sha256, architecture, home):
        return path
    path = _place(sha256, architecture, home)
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if find(sha256, architecture, home):
                return path
            if path.exists():
                logger.warning("converted weights are damaged", extra={"cause": str(path)})
            state = convert(architecture, source)
            save_file(state, part, metadata={_CHECKSUM: _checksum(state)})
            part.chmod(source.stat().st_mode & 0o666)  # safetensors lets nobody else read it
            return part.replace(path)
    except (OSError, NotImplementedError, SafetensorError) as err:  # filelock: no locks there
        with suppress(OSError):
            part.unlink()
        logger.info("converted weights not stored", extra={"cause": f"{path}: {err}"})
        return source


def _place(sha256: str, architecture: str, home: Path) -> Path:
    return home / "weights" / f"{sha256}-{architecture}-v{FORMAT}.safetensors"


def _checksum(state: Mapping[str, Tensor]) -> str:
    """Return a checksum of names, types, shapes and values; it takes 13 ms for 176 MB."""
    value = 0
    for name in sorted(state):
        tensor = state[name]
        value = isal_zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), value)
        value = isal_zlib.crc32(tensor.contiguous().view(torch.uint8).numpy(), value)
    return f"{value:08x}"
