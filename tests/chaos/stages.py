"""The stages at which a worker of these runs may crash."""

from __future__ import annotations

from typing import Final

ITEM_STAGES: Final = (
    "downloaded",
    "decoded",
    "in the network",
    "encoded",
    "before the mask",
    "between mask and cutout",
    "between two outputs",
    "between upload and record",
)
"""Passed once per image."""
CLOSING_STAGES: Final = ("before the shard", "between shard and commit")
"""Passed once per ticket."""
ENDING_STAGES: Final = ("before the results", "between results and report", "before the end")
"""Passed once per job."""
_AROUND: Final = {
    "/mask/": ("before the mask", ""),
    "/tile/": ("between mask and cutout", "between two outputs"),
    "/banner/": ("between two outputs", ""),
    "/cutout/": ("between mask and cutout", "between upload and record"),
    "/shards/": ("before the shard", "between shard and commit"),
    "/results.jsonl": ("before the results", "between results and report"),
    "/report.html": ("", "before the end"),
}


def around(key: str) -> tuple[str, str]:
    """Return the stages before and after a write of *key*; `""` if there is none."""
    return next((pair for part, pair in _AROUND.items() if part in key), ("", ""))
