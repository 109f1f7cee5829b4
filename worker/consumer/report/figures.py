"""Counts and histograms over all records of a job, in bounded memory."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from shared.job.findings import MAX_TEXT, Finding
from shared.job.record import ItemRecord

_Name = TypeVar("_Name")

BINS: Final = 20
MAX_NAMES: Final = 200
"""Different names that are counted; further ones count as `other`."""
OTHER: Final = "other"
SHARES: Final = ("coverage", "soft", "uncertainty", "low", "high")
"""Quality figures between 0 and 1, in bins of the same width."""
COUNTS: Final = ("parts", "holes")
"""Quality figures that are counts: a bin for each, the last for all above."""


@dataclass
class Figures:
    """What a report says about all images together."""

    devices: Counter[str] = field(default_factory=Counter)
    musts: Counter[str] = field(default_factory=Counter)
    """Number of images that failed a check which must pass, by check."""
    shoulds: Counter[str] = field(default_factory=Counter)
    """Images by check that should pass and failed."""
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Failed images by class and reason of the error."""
    histograms: dict[str, list[int]] = field(
        default_factory=lambda: {name: [0] * BINS for name in SHARES + COUNTS}
    )
    images: int = 0

    def add(self, record: ItemRecord, found: Iterable[Finding]) -> None:
        """Count *record* with its findings."""
        self.images += 1
        if record.error is not None:
            # Reasons often name the image; the same reason for many images is one row.
            reason = record.error.get("reason", "").replace(record.image_key, "(key)")
            _count(self.reasons, (record.error.get("class", ""), reason[:MAX_TEXT]), (OTHER, ""))
        if record.device is not None:
            _count(self.devices, record.device, OTHER)
        for check, is_must in sorted({(one.check, one.is_must) for one in found}):
            _count(self.musts if is_must else self.shoulds, check, OTHER)
        self._measure(record.qc or {})

    def _measure(self, qc: Mapping[str, object]) -> None:
        for name, bins in self.histograms.items():
            value = qc.get(name)
            if isinstance(value, int | float) and value >= 0:
                position = value if name in COUNTS else value * BINS
                bins[int(min(position, BINS - 1))] += 1


def _count(counter: Counter[_Name], name: _Name, other: _Name) -> None:
    counter[name if name in counter or len(counter) < MAX_NAMES else other] += 1
