"""`rmbg-worker --devices all`: one supervised process for each GPU of this machine."""

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from queue import Empty, SimpleQueue
from typing import Final

from shared.errors import DeviceMissing
from worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

CONFIG_EXIT: Final = 2
RESTART_S: Final = 5.0
"""Pause before a process that ended is started again, so that a fault does not spin."""
TICK_S: Final = 0.2


def supervise(settings: WorkerSettings, env: Mapping[str, str]) -> int:
    """Run `rmbg-worker` once for each CUDA device until SIGTERM; return the exit code.

    A process that ends is started again, unless its exit code says that its settings are unusable.

    Raises:
        DeviceMissing: If this machine has no CUDA device.
    """
    count = _cuda_devices()
    if not count:
        raise DeviceMissing(
            "--devices all: this machine has no CUDA device; use RMBG_DEVICE=cpu without --devices"
        )
    signals: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: signals.put(received))
    children = {n: _start(n, settings, env) for n in range(count)}
    code = 0
    while children and not _arrived(signals, TICK_S):
        for n, child in list(children.items()):
            if child.poll() is None:
                continue
            logger.warning("worker ended", extra={"device": n, "exit": child.returncode})
            if child.returncode == CONFIG_EXIT:
                code = CONFIG_EXIT
                del children[n]
            elif _arrived(signals, RESTART_S):
                signals.put(signal.SIGTERM)  # for the outer loop
                break
            else:
                children[n] = _start(n, settings, env)
    _stop(list(children.values()), settings.drain_s)
    return code


def child_env(device: int, settings: WorkerSettings, env: Mapping[str, str]) -> dict[str, str]:
    """Return *env* for the process of one device: its device, and a port of its own."""
    own = {"RMBG_DEVICE": f"cuda:{device}"}
    if settings.http is not None:
        host, port = settings.http
        own["RMBG_HTTP"] = f"[{host}]:{port + device}" if ":" in host else f"{host}:{port + device}"
    return {**env, **own}


def _arrived(signals: SimpleQueue[int], timeout_s: float) -> bool:
    """Wait for a signal; return False after *timeout_s*."""
    try:
        signals.get(timeout=timeout_s)
    except Empty:
        return False
    return True


def _start(
    device: int, settings: WorkerSettings, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.argv[0]], env=child_env(device, settings, env))  # noqa: S603


def _stop(children: list[subprocess.Popen[bytes]], drain_s: float) -> None:
    for child in children:
        child.terminate()
    deadline_s = time.monotonic() + drain_s + 1
    for child in children:
        try:
            child.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()


def _cuda_devices() -> int:
    import torch  # noqa: PLC0415 - seconds, and only this command needs it

    return torch.cuda.device_count()
