"""Real worker processes over stand-ins: the product's own app, in a process of its own.

As a module it is a pytest plugin; as a script it is the worker: `python -m support.workers ORDER`,
with the settings in its environment.
"""

from __future__ import annotations

import contextlib
import ctypes
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
MODEL = "isnet-general-use"
QUICK = {
    "RMBG_MODELS": MODEL,
    "RMBG_LEASE_S": "2",
    "RMBG_LOST_S": "2",
    "RMBG_RECOVER_S": "0.2",
    "RMBG_IO_THREADS": "4",
    "RMBG_OFFLINE": "1",
}
"""Times of the design by ten or so, so that a test need not wait for half a minute."""


class WorkerProcess:
    """One worker. `log` holds what it has said so far, line by line."""

    def __init__(self, env, **order):
        """Start it.

        Args:
            env: `RMBG_*` variables; those of `QUICK` are added.
            order: See `serve`.
        """
        self._log = tempfile.NamedTemporaryFile(prefix="rmbg-worker-", suffix=".log")  # noqa: SIM115 - closed in `close`
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.workers", json.dumps(order)],
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
        return Path(self._log.name).read_text().splitlines()

    def said(self, message):
        """Return the records of this message."""
        records = (json.loads(line) for line in self.log if line.startswith("{"))
        return [record for record in records if record["message"] == message]

    def wait_ready(self, *, within_s=60):
        """Wait until it takes tickets; fail the test if it ends instead."""

        def ready():
            assert self.process.poll() is None, "\n".join(self.log)
            return self.said("ready")

        until(ready, within_s=within_s)
        return self

    def terminate(self):
        self.process.terminate()

    def wedge(self):
        """Have its event loop stand still from now on."""
        self.process.send_signal(signal.SIGUSR2)

    def kill(self):
        """End it by SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.wait(10)

    def wait(self, *, within_s=30):
        """Return its exit code."""
        return self.process.wait(within_s)

    def close(self):
        """End it, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(10)
        self._log.close()


def serve(  # what an order may say
    *,
    quick=False,
    batch_size=16,
    batch_s=0.0,
    image_s=0.0,
    lose_device_after=None,
    refuse=(),
    loop_limit_s=None,
    hold_load=None,
    hold_device=None,
):
    """Run a worker as ordered.

    Args:
        quick: Whether stations do next to nothing; else they are the real ones.
        batch_size: The stand-in segmenter's.
        batch_s: The same.
        image_s: The same.
        lose_device_after: So many forward passes go well, and then the device is lost.
        refuse: Names of models that are not served.
        loop_limit_s: How long the event loop may stand still; None: as in the product.
        hold_load: While there is a file of this name, models are not loaded.
        hold_device: While there is a file of this name, no forward pass ends.
    """
    from shared import logging as log  # noqa: PLC0415
    from shared.errors import DeviceLost, WeightsInvalid  # noqa: PLC0415
    from support.stand_ins import QuickImaging, stand_in_model  # noqa: PLC0415 - pulls in numpy
    from worker.app import build_app  # noqa: PLC0415 - pulls in torch
    from worker.engine.stages import build_stages  # noqa: PLC0415
    from worker.settings import WorkerSettings  # noqa: PLC0415

    passes = itertools.count()

    def before(_batch):
        wait_while_there_is(hold_device)
        if lose_device_after is not None and next(passes) >= lose_device_after:
            raise DeviceLost("made up")

    def load(name):
        wait_while_there_is(hold_load)
        if name in refuse:
            raise WeightsInvalid(f"{name}: refused by order")
        model = stand_in_model(name, batch_size=batch_size, batch_s=batch_s, image_s=image_s)
        model.segmenter.before = before
        return model

    log.configure(sys.stderr, json=True)
    settings = WorkerSettings.from_env(os.environ)  # noqa: TID251 - this is the command

    def quick_stages(writer):
        return build_stages(writer, QuickImaging(), version="test")

    worker = build_app(settings, load=load, stages=quick_stages if quick else None)
    if loop_limit_s is not None:
        worker.monitoring.loop.limit_s = loop_limit_s
    signal.signal(signal.SIGUSR2, lambda *_: threading.Event().wait())  # where the loop runs
    return worker.run()


def wait_while_there_is(file):
    """Return when there is no such file (any more)."""
    if file is not None:
        until(lambda: not Path(file).exists(), within_s=120)


if __name__ == "__main__":
    if sys.platform == "linux":  # no worker outlives the tests, whatever becomes of them
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    sys.exit(serve(**json.loads(sys.argv[1])))
