"""The open IS-Net weights, fetched once into the cache that the product uses."""

import os
from pathlib import Path

from shared.models.registry import get
from shared.models.weights import pull


def isnet_weights() -> Path:
    """Return the file of `isnet-general-use`, fetching it where the cache has none.

    The cache is `RMBG_HOME` or the product's default, so that a machine loads them once.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"  # noqa: TID251  (as cli.py)
    home = os.environ.get("RMBG_HOME") or Path(cache) / "rmbg"  # noqa: TID251
    return pull(get("isnet-general-use"), Path(home))
