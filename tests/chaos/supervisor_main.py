"""Run the product's supervisor of `--devices all` over workers of a chaos run.

The number of devices is given, as this machine may have none, and every worker uses the CPU.
`supervisor_main.py FILE` reads a `Team` from the file.
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orders import WORKER_MAIN, Orders
from spawn import environment

from shared import logging as log
from worker.runtime.supervisor import (
    Process,
    Supervisor,
    child_env,
    leave_on_signals,
    start_child,
)
from worker.settings import WorkerSettings

RESTART_S: Final = 0.5
"""A tenth of the product's, like all times of a chaos run."""


@dataclass(frozen=True, kw_only=True)
class Team:
    """What a supervisor is told."""

    env: dict[str, str]
    sabotage: str | None
    folder: str
    crash_share: float
    seed: int
    count: int
    """Number of devices."""


def main(team: Team) -> int:
    """Supervise one worker for each device until SIGTERM."""
    log.configure(sys.stderr, json=True)
    settings = WorkerSettings.from_env(team.env)
    orders = Orders(
        folder=Path(team.folder),
        sabotage=team.sabotage,
        crash_share=team.crash_share,
        chance=random.Random(team.seed),
    )

    def start(device: int) -> Process:
        env = child_env(device, settings, team.env) | {"RMBG_DEVICE": "cpu"}
        command = [sys.executable, str(WORKER_MAIN), str(orders.write(env))]
        return start_child(command, environment(orders.folder))

    supervisor = Supervisor(start, team.count, drain_s=settings.drain_s, restart_s=RESTART_S)
    leave_on_signals(supervisor.request)
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main(Team(**json.loads(Path(sys.argv[1]).read_text()))))
