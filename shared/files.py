"""Write files so that they appear whole or not at all."""

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from shared.errors import InvalidOption


def write_whole(path: Path, pieces: Iterable[bytes]) -> None:
    """Write *pieces* in order, in a new folder if need be; the file appears when all are written.

    Raises:
        InvalidOption: If the file cannot be written; the message names it and the reason.
    """
    # Hashed, as the name itself may already have the greatest length of the file system.
    name = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    part = path.with_name(f".{name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.writelines(pieces)
        os.replace(part, path)  # noqa: PTH105 - its error names both paths
    except OSError as err:
        with suppress(OSError):
            part.unlink()
        raise InvalidOption(f"cannot write {path}: {err.strerror or err}") from err
