"""The open IS-Net weights, downloaded once into the product's cache."""

import os
from pathlib import Path

from shared.models.registry import get
from shared.models.weights import pull


def isnet_weights() -> Path:
    """Return the file of `isnet-general-use`; download it if it is not in the cache.

    The cache is `RMBG_HOME` or the product's default.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"  # noqa: TID251 - the default of cli.py
    home = os.environ.get("RMBG_HOME") or Path(cache) / "rmbg"  # noqa: TID251
    return pull(get("isnet-general-use"), Path(home))
