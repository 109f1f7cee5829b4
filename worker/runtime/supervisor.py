"""`rmbg-worker --devices all`: supervised processes for each GPU of this machine."""

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

from shared.errors import DeviceMissing
from worker.runtime.parent_death import dies_with_parent
from worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

CONFIG_EXIT: Final = 2
RESTART_S: Final = 5.0
"""Pause before a process that ended is started again, so that a fault does not spin."""
TICK_S: Final = 0.2
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Without a handler they would end the supervisor, and its processes with it, undrained."""
Process: TypeAlias = subprocess.Popen[bytes]


def supervise(settings: WorkerSettings, env: Mapping[str, str]) -> int:
    """Run `rmbg-worker` for each CUDA device until SIGTERM; return the exit code.

    Each device has `per_device` processes. Devices are those that CUDA shows this process: as in
    `CUDA_VISIBLE_DEVICES`, which the processes inherit, whether it names numbers, GPUs or slices.

    Raises:
        DeviceMissing: If this machine has no CUDA device.
    """
    count = _cuda_devices()
    if not count:
        raise DeviceMissing(
            "--devices all: this machine has no CUDA device; use RMBG_DEVICE=cpu without --devices"
        )

    processes = count * settings.per_device

    def start(number: int) -> Process:
        return start_child([sys.argv[0]], child_env(number, processes, settings, env))

    supervisor = Supervisor(start, processes, drain_s=settings.drain_s)
    leave_on_signals(supervisor.request)
    return supervisor.run()


class Supervisor:
    """Keeps numbered processes running until a signal asks it to leave.

    A process that ends is started again, unless its exit code says that its settings are unusable.
    """

    def __init__(
        self,
        start: Callable[[int], Process],
        count: int,
        *,
        drain_s: float,
        restart_s: float = RESTART_S,
    ) -> None:
        """Supervise *count* processes.

        Args:
            start: Starts the process of a number; the process must die with this one.
            count: How many there are.
            drain_s: How long a process may take to leave after SIGTERM.
            restart_s: Pause before a process is started again.
        """
        self._start = start
        self._drain_s = drain_s
        self._restart_s = restart_s
        self._children: dict[int, Process] = {}
        self._due_s = dict.fromkeys(range(count), 0.0)
        """Numbers without a process, and when it is to be started."""
        self._signals: SimpleQueue[int] = SimpleQueue()
        self._code = 0

    def run(self) -> int:
        """Return the exit code once a signal has arrived and all processes have ended.

        Also returns when no process is left, because the settings of all are unusable.
        """
        while self._children or self._due_s:
            self._start_due()
            if self._has_signal(TICK_S):
                break
            self._collect()
        self._stop()
        return self._code

    def request(self, number: int, _frame: object = None) -> None:
        """Ask for the end from the handler of a signal."""
        self._signals.put(number)

    def _has_signal(self, timeout_s: float) -> bool:
        """Wait for a signal; return False after *timeout_s*."""
        try:
            self._signals.get(timeout=timeout_s)
        except Empty:
            return False
        return True

    def _collect(self) -> None:
        """Take note of the processes that have ended."""
        for number, child in list(self._children.items()):
            if child.poll() is None:
                continue
            logger.warning("worker ended", extra={"number": number, "exit": child.returncode})
            del self._children[number]
            if child.returncode == CONFIG_EXIT:
                self._code = CONFIG_EXIT
            else:
                self._due_s[number] = time.monotonic() + self._restart_s

    def _start_due(self) -> None:
        """Start the processes that are due, and none once a signal has arrived."""
        for number, due_s in list(self._due_s.items()):
            if time.monotonic() < due_s or not self._signals.empty():
                continue
            try:
                self._children[number] = self._start(number)
            except OSError as err:
                logger.error("worker not started", extra={"number": number, "cause": str(err)})  # noqa: TRY400
                self._due_s[number] = time.monotonic() + self._restart_s
            else:
                del self._due_s[number]

    def _stop(self) -> None:
        """Ask all processes to leave, and kill those that are late."""
        for child in self._children.values():
            child.terminate()
        deadline_s = time.monotonic() + self._drain_s + 1
        for child in self._children.values():
            try:
                child.wait(max(0.0, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def leave_on_signals(handler: Callable[[int, object], None]) -> None:
    """Call *handler* for each of `STOP_SIGNALS` that this process does not ignore, as by nohup."""
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def start_child(command: Sequence[str], env: Mapping[str, str]) -> Process:
    """Start *command*; the process dies with this one, also after `kill -9`."""
    return subprocess.Popen(command, env=env, preexec_fn=dies_with_parent())  # noqa: S603, PLW1509 - it only calls the kernel


def child_env(
    number: int, processes: int, settings: WorkerSettings, env: Mapping[str, str]
) -> dict[str, str]:
    """Return *env* for one of *processes*: its device, its share, and a port of its own."""
    own = {"RMBG_DEVICE": f"cuda:{number // settings.per_device}", "RMBG_PROCESSES": f"{processes}"}
    if settings.http is not None:
        host, port = settings.http
        own["RMBG_HTTP"] = f"[{host}]:{port + number}" if ":" in host else f"{host}:{port + number}"
    return {**env, **own}


def _cuda_devices() -> int:
    import torch  # noqa: PLC0415 - seconds, and only this command needs it

    return torch.cuda.device_count()
