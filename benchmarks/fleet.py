"""Worker processes of a benchmark, and the figures that they and Redis report."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import psutil
import redis

from benchmarks.stand_ins import IMAGE_S
from shared.jobstore.store import JobStore

MAIN: Final = Path(__file__).with_name("worker_main.py")
READY_S: Final = 120.0


class Workers:
    """A number of worker processes with stand-ins that run while the context is open."""

    def __init__(
        self,
        count: int,
        env: Mapping[str, str],
        folder: Path,
        *,
        codecs: bool = False,
        stored: bool = False,
        image_s: float = IMAGE_S,
    ) -> None:
        self._count = count
        self._env = dict(env)
        self._folder = folder
        self._order = {"codecs": codecs, "stored": stored, "image_s": image_s}
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for n in range(self._count):
            self._processes.append(self._start(n))
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()

    def wait_ready(self, jobs: JobStore) -> None:
        """Wait until all workers are registered.

        Raises:
            TimeoutError: After two minutes.
        """
        deadline_s = time.monotonic() + READY_S
        while (ready := len(jobs.fleet.workers())) < self._count:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{ready} of {self._count} workers ready after {READY_S:.0f} s")
            time.sleep(0.1)

    @property
    def processes(self) -> list[psutil.Process]:
        return [psutil.Process(process.pid) for process in self._processes]

    def cpu_s(self) -> float:
        """Return the CPU time of all workers since they started, in seconds."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes)

    def device_notes(self) -> list[dict[str, float]]:
        """Return the figures of all devices, at most a quarter of a second old."""
        return [json.loads(self._notes(n).read_text()) for n in range(self._count)]

    def _notes(self, n: int) -> Path:
        return self._folder / f"device-{n}.json"

    def _start(self, n: int) -> subprocess.Popen[bytes]:
        order = {"env": self._env, "notes": str(self._notes(n)), **self._order}
        with (self._folder / f"worker-{n}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(MAIN)], stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        if process.stdin is not None:
            process.stdin.write(json.dumps(order).encode())
            process.stdin.close()
        return process


class Traffic:
    """Redis' own counters of traffic and memory, relative to the last `begin`.

    Redis also counts commands called by scripts. The number of commands sent by clients therefore
    comes from the workers.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self.begin()

    def begin(self) -> None:
        """Start counting."""
        self._start = self._client.info("stats")
        self.start_bytes = self.peak_bytes = self.memory_bytes()

    def sample(self) -> None:
        """Update the peak with the memory in use now."""
        self.peak_bytes = max(self.peak_bytes, self.memory_bytes())

    def grown(self, name: str) -> int:
        """Return the growth of a counter of `INFO stats`."""
        return int(self._client.info("stats")[name]) - int(self._start[name])

    def memory_bytes(self) -> int:
        return int(self._client.info("memory")["used_memory"])
