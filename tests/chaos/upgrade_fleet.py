"""A fleet of workers of several versions."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from fleet import READY_S, Build, Fleet
from support.until import poll

from shared.jobstore.store import JobStore


class MixedFleet:
    """Fleets of several versions; a fault hits a worker of any of them."""

    def __init__(
        self,
        builds: Sequence[Build],
        size: int,
        env: Mapping[str, str],
        folder: Path,
        chance: random.Random,
    ) -> None:
        """Have *size* workers of each of *builds*, with their logs in a subfolder of *folder*."""
        self._size = size
        self._exit: Final = ExitStack()
        self.fleets: dict[str, Fleet] = {}
        """The fleet of each version, by name."""
        for build in builds:
            logs = folder / build.name
            logs.mkdir()
            self.fleets[build.name] = Fleet(size, env, logs, chance, sabotage=None, build=build)

    def __enter__(self) -> Self:
        for fleet in self.fleets.values():
            self._exit.enter_context(fleet)
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def wait_ready(self, jobs: JobStore) -> None:
        """Wait until all workers are registered, for `READY_S` at most."""
        for _ in poll(within_s=READY_S, every_s=0.1):
            self.tick()
            if len(jobs.fleet.workers()) >= self._size * len(self.fleets):
                return

    def tick(self) -> None:
        """See `Fleet.tick`."""
        for fleet in self.fleets.values():
            fleet.tick()

    def kill(self, chance: random.Random) -> int:
        """See `Fleet.kill`."""
        return self._any(chance).kill(chance)

    def terminate(self, chance: random.Random) -> int:
        """See `Fleet.terminate`."""
        return self._any(chance).terminate(chance)

    def freeze(self, chance: random.Random, seconds: float) -> int:
        """See `Fleet.freeze`."""
        return self._any(chance).freeze(chance, seconds)

    def stop_crashes(self) -> None:
        """See `Fleet.stop_crashes`."""
        for fleet in self.fleets.values():
            fleet.stop_crashes()

    def causes(self) -> dict[str, int]:
        """See `Fleet.causes`."""
        return dict(sum((Counter(each.causes()) for each in self.fleets.values()), Counter()))

    @property
    def deaths(self) -> dict[str, int]:
        """Number of processes of each version that ended without SIGTERM."""
        return {name: fleet.deaths for name, fleet in self.fleets.items()}

    def _any(self, chance: random.Random) -> Fleet:
        return chance.choice(list(self.fleets.values()))
