"""How a worker process leaves, and how its threads start."""

from worker.lifecycle.shutdown import UNFIT_EXIT, Phase, Shutdown
from worker.lifecycle.threads import (
    FailureCounter,
    log_unexpected,
    start_loop,
    start_pool,
    start_thread,
)

__all__ = [
    "UNFIT_EXIT",
    "FailureCounter",
    "Phase",
    "Shutdown",
    "log_unexpected",
    "start_loop",
    "start_pool",
    "start_thread",
]
