"""Run the product's supervisor of `--devices all` over workers of a chaos run.

Reads its order as JSON from standard input, as `worker_main` does. The number of devices is given,
as this machine may have none, and every worker uses the CPU.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any, Final

from orders import Orders
from spawn import environment
from worker_main import die_with

from shared import logging as log
from worker.runtime.supervisor import (
    Process,
    Supervisor,
    child_env,
    leave_on_signals,
    start_child,
)
from worker.settings import WorkerSettings

WORKER_MAIN: Final = Path(__file__).with_name("worker_main.py")
RESTART_S: Final = 0.5
"""A tenth of the product's, like all times of a chaos run."""


def main(order: dict[str, Any]) -> int:
    """Supervise one worker for each device until SIGTERM."""
    log.configure(sys.stderr, json=True)
    settings = WorkerSettings.from_env(order["env"])
    folder = Path(order["folder"])
    orders = Orders(folder, order["sabotage"], order["crash_share"], random.Random(order["seed"]))

    def start(device: int) -> Process:
        env = child_env(device, order["count"], settings, order["env"]) | {"RMBG_DEVICE": "cpu"}
        file = folder / f"order-{orders.chance.getrandbits(64):016x}"
        file.write_text(json.dumps(orders.make(env)))
        return start_child([sys.executable, str(WORKER_MAIN), str(file)], environment(folder))

    supervisor = Supervisor(start, order["count"], drain_s=settings.drain_s, restart_s=RESTART_S)
    leave_on_signals(supervisor.request)
    return supervisor.run()


if __name__ == "__main__":
    received = json.loads(sys.stdin.read())
    die_with(received["parent"])
    sys.exit(main(received))
