"""What each worker process of a run is told: its settings, and where it crashes."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stages import CLOSING_STAGES, ENDING_STAGES, ITEM_STAGES

CRASH_SHARE: Final = 0.75
"""Share of the processes that crash by themselves; the others run until a fault ends them."""


@dataclass(frozen=True)
class Orders:
    """Make the orders of the processes that one parent starts."""

    folder: Path
    sabotage: str | None
    crash_share: float
    chance: random.Random

    @property
    def stop_crashes(self) -> Path:
        """No process crashes by itself once this file exists."""
        return self.folder / "stop-crashes"

    @property
    def causes(self) -> Path:
        """Gets a line for each crash: the stage."""
        return self.folder / "causes"

    @property
    def lose_device(self) -> Path:
        """The first process that runs a batch deletes this file, and loses its device."""
        return self.folder / "lose-device"

    def make(self, env: Mapping[str, str]) -> dict[str, Any]:
        """Return the order of the next process, which the caller starts."""
        stage, passages = self._choose_crash()
        return {
            "parent": os.getpid(),
            "env": dict(env),
            "sabotage": self.sabotage,
            "stage": stage,
            "passages": passages,
            "stop": str(self.stop_crashes),
            "causes": str(self.causes),
            "lose_device": str(self.lose_device),
        }

    def _choose_crash(self) -> tuple[str, int]:
        """Choose the stage at which the next process crashes, and after how many passages.

        A process never crashes at its first few items: a range resumes at its first open item, and
        three deaths there would make that item fail with `WorkerCrash`, as they should.
        """
        if self.chance.random() >= self.crash_share:
            return "", 1
        stage = self.chance.choice(ITEM_STAGES + CLOSING_STAGES + ENDING_STAGES)
        if stage in ITEM_STAGES:
            return stage, self.chance.randint(5, 50)
        return stage, self.chance.randint(1, 2) if stage in CLOSING_STAGES else 1
