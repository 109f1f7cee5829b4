"""Worker processes that run the product's own app with stand-in models.

Tests import this module. Run as a script, it is the worker: `python -m support.workers OPTIONS`,
with the settings in its environment.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from support.until import until

TESTS = Path(__file__).parents[1]
PRODUCT = [TESTS.parent / "shared", TESTS.parent / "worker"]
MODEL = "isnet-general-use"
QUICK = {
    "RMBG_MODELS": MODEL,
    "RMBG_LEASE_S": "2",
    "RMBG_LOST_S": "2",
    "RMBG_RECOVER_S": "0.2",
    "RMBG_IO_THREADS": "4",
    "RMBG_OFFLINE": "1",
}
"""About a tenth of the default times, so that tests are fast."""


SHOWN_LINES = 200
"""Last lines of a worker's log that a failing test shows."""


class WorkerProcess:
    """One worker process, and its log."""

    def __init__(self, env, **options):
        """Start the process.

        Args:
            env: `RMBG_*` variables, on top of those in `QUICK`.
            options: Options of `serve`.
        """
        self._log = tempfile.NamedTemporaryFile(prefix="rmbg-worker-", suffix=".log")  # noqa: SIM115 - closed in `close`
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.workers", json.dumps(options)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={"HOME": "/nonexistent", "PATH": os.defpath, "PYTHONPATH": str(TESTS)}
            | QUICK
            | dict(env),
        )

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        """The lines that the worker has written so far; a line that is not complete is left out."""
        return Path(self._log.name).read_text().split("\n")[:-1]

    def said(self, message):
        """Return the log records with this message, which must be one that the product logs."""
        assert message in log_messages(), f"no such log message: {message!r}"
        records = (json.loads(line) for line in self.log if line.startswith("{"))
        return [record for record in records if record["message"] == message]

    def wait_ready(self, *, within_s=60):
        """Wait until the worker takes tickets; fail the test if it exits instead."""

        def ready():
            assert self.process.poll() is None, "\n".join(self.log)
            return self.said("ready")

        until(ready, within_s=within_s)
        return self

    def terminate(self):
        self.process.terminate()

    def block_event_loop(self):
        """Block the worker's event loop from now on."""
        self.process.send_signal(signal.SIGUSR2)

    def break_event_loop(self):
        """Raise an exception in the worker's event loop."""
        self.process.send_signal(signal.SIGALRM)

    def kill(self):
        """Kill the process with SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.wait(60)

    def wait(self, *, within_s=60):
        """Wait until the process exits; return its exit code."""
        return self.process.wait(within_s)

    def close(self):
        """Kill the process if it still runs, and delete its log; a second call does nothing.

        pytest shows what is printed here if the test fails.
        """
        if self._log.closed:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(60)
        lines = [f"log of worker {self.pid}:", *self.log[-SHOWN_LINES:], ""]
        sys.stdout.write("\n".join(lines))
        self._log.close()


@functools.cache
def log_messages():
    """Return all log messages in the product's code: a test never asks for one that is gone."""
    calls = (
        node
        for folder in PRODUCT
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and is_log_call(ast.unparse(node.func))
    )
    return {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}


def is_log_call(called):
    """Return whether the first argument of this call is a log message."""
    return called.startswith("logger.") or called.endswith((".wait_for_redis", "log_unexpected"))


def serve(
    *,
    quick=False,
    batch_size=16,
    batch_s=0.0,
    image_s=0.0,
    lose_device_after=None,
    device_works=True,
    refuse=(),
    loop_limit_s=None,
    hold_load=None,
    hold_device=None,
):
    """Run a worker with a stand-in model; return its exit code.

    Args:
        quick: Replace all image processing with `QuickImaging`.
        batch_size: Batch size of the stand-in segmenter.
        batch_s: Time that it takes per batch, in seconds.
        image_s: Time that it takes per image, in seconds.
        lose_device_after: Number of forward passes after which the device is lost.
        device_works: Whether the device works in a new process after it is lost.
        refuse: Names of models that fail to load.
        loop_limit_s: Time after which a blocked event loop ends the process; None: the default.
        hold_load: Path of a file; no model is loaded while it exists.
        hold_device: Path of a file; no forward pass ends while it exists.
    """
    from shared import logging as log  # noqa: PLC0415
    from shared.errors import DeviceLost, WeightsInvalid  # noqa: PLC0415
    from support.stand_ins import QuickImaging, stand_in_model  # noqa: PLC0415 - pulls in numpy
    from worker.app import build_app  # noqa: PLC0415 - pulls in torch
    from worker.engine.stages import build_stages  # noqa: PLC0415
    from worker.settings import WorkerSettings  # noqa: PLC0415

    passes = itertools.count()

    def before(_batch):
        wait_while_exists(hold_device)
        if lose_device_after is not None and next(passes) >= lose_device_after:
            raise DeviceLost("made up")

    def load(name):
        wait_while_exists(hold_load)
        if name in refuse:
            raise WeightsInvalid(f"{name}: refused by the test")
        model = stand_in_model(name, batch_size=batch_size, batch_s=batch_s, image_s=image_s)
        model.segmenter.before = before
        return model

    log.configure(sys.stderr, json=True)
    settings = WorkerSettings.from_env(os.environ)  # noqa: TID251 - this is the command

    def quick_stages(writer):
        return build_stages(writer, QuickImaging(), version="test")

    worker = build_app(
        settings,
        load=load,
        stages=quick_stages if quick else None,
        device_works=lambda: device_works,
    )
    if loop_limit_s is not None:
        worker.monitoring.loop.limit_s = loop_limit_s
    signal.signal(signal.SIGUSR2, lambda *_: threading.Event().wait())  # in the thread of the loop
    signal.signal(signal.SIGALRM, raise_in_loop)
    return worker.run()


def raise_in_loop(*_):
    raise RuntimeError("an error that Celery does not expect")


def wait_while_exists(file):
    """Wait until *file* does not exist; return at once if it is None."""
    if file is not None:
        until(lambda: not Path(file).exists(), within_s=120)


if __name__ == "__main__":
    if sys.platform == "linux":  # no worker outlives the tests, even if they are killed
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    sys.exit(serve(**json.loads(sys.argv[1])))
