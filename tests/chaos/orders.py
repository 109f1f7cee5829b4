"""What each worker process of a run is told: its settings, and where it crashes."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from stages import CLOSING_STAGES, ENDING_STAGES, ITEM_STAGES

WORKER_MAIN: Final = Path(__file__).with_name("worker_main.py")
CRASH_SHARE: Final = 0.75
"""Share of the processes that crash by themselves; the others run until a fault ends them."""


@dataclass(frozen=True)
class Marks:
    """The files by which a run and its processes tell each other something."""

    folder: str

    @property
    def stop_crashes(self) -> Path:
        """No process crashes by itself once this file exists."""
        return Path(self.folder) / "stop-crashes"

    @property
    def causes(self) -> Path:
        """Gets a line for each crash: the stage."""
        return Path(self.folder) / "causes"

    @property
    def lose_device(self) -> Path:
        """The first process that runs a batch deletes this file, and loses its device."""
        return Path(self.folder) / "lose-device"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What one worker process is told."""

    env: dict[str, str]
    sabotage: str | None
    folder: str
    stage: str
    """Stage at which it crashes, or `""`."""
    passages: int
    """Number of times that it reaches the stage until it crashes."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the order in a file."""
        return cls(**json.loads(path.read_text()))


@dataclass(frozen=True, kw_only=True)
class Orders:
    """Write the orders of the processes that one parent starts."""

    folder: Path
    sabotage: str | None
    crash_share: float
    chance: random.Random

    def write(self, env: Mapping[str, str]) -> Path:
        """Write the order of the next process, and return its file."""
        stage, passages = self._choose_crash()
        order = Order(
            env=dict(env),
            sabotage=self.sabotage,
            folder=str(self.folder),
            stage=stage,
            passages=passages,
        )
        return write_json(self.folder / f"order-{self.chance.getrandbits(64):016x}", asdict(order))

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


def write_json(path: Path, body: Mapping[str, Any]) -> Path:
    """Write *body* to *path*, and return it."""
    path.write_text(json.dumps(body))
    return path
