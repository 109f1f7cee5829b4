"""Preparing and finishing on the device, the engine over a store in memory, and a profile."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from queue import SimpleQueue
from typing import IO, Literal, Unpack

import torch
from torch.profiler import ProfilerActivity
from torch.profiler import profile as profiling

from benchmarks.gpu.common import IS_CUDA, LOW, emit, images, segmenter, synchronize
from benchmarks.products import jpeg, product
from shared.job.options import PictureOptions
from shared.job.record import ItemRecord
from shared.job.spec import JobSpec
from shared.objects import ObjectInfo, OpenObject, PutOptions, StoreWrapper
from shared.objects.memory import MemoryStore
from worker.engine import Finished, ItemRequest, ItemResult
from worker.engine.build import build_local_engine
from worker.engine.engine import Engine
from worker.inference.api import Model, Pass
from worker.inference.backends import BackendName
from worker.settings import WorkerSettings

SIDE_PX = 2000 if IS_CUDA else 300
SECONDS = 10.0 if IS_CUDA else 1.0
"""Length of the steady state that is measured."""
MODEL = "isnet-general-use"
_CORES = os.cpu_count() or 1


def on_device() -> None:
    """Measure preparing and finishing in threads, alone and beside the network."""
    used = segmenter()
    photographs = [product(number, SIDE_PX) for number in range(2)]
    batch = [used.prepare(each) for each in images(16 if IS_CUDA else 1)]
    (output, *_) = used.forward(batch)

    def finish(_number: int) -> None:
        used.finish(output, SIDE_PX, SIDE_PX, stretch="guarded")

    calls = {"prepare": lambda n: used.prepare(photographs[n % 2]), "finish": finish}
    for name, call in calls.items():
        for beside in (False, True) if IS_CUDA else (False,):
            with _network(used.forward, batch) if beside else nullcontext():
                rate, cpu_ms = _rate(call, threads=8 if IS_CUDA else 1)
            emit("on device", what=name, beside_network=beside, images_s=rate, cpu_ms=cpu_ms)


def _rate(call: Callable[[int], object], *, threads: int) -> tuple[float, float]:
    """Return the calls per second and the CPU time of the process per call, in milliseconds."""
    count = 60 * threads if IS_CUDA else 2
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(call, range(threads)))
        begun_s, cpu_s = time.perf_counter(), time.process_time()
        list(pool.map(call, range(count)))
        took_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - cpu_s
    return round(count / took_s, 1), round(1000 * cpu_s / count, 2)


class _network(AbstractContextManager[None]):  # noqa: N801 - used like a function
    """Run the network in a thread while the context is open."""

    def __init__(
        self, forward: Callable[[list[torch.Tensor]], object], batch: list[torch.Tensor]
    ) -> None:
        self._stopped = threading.Event()

        def run() -> None:
            while not self._stopped.is_set():
                forward(batch)

        self._thread = threading.Thread(target=run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()


def launches(backend: BackendName) -> None:
    """Measure the device's thread beside threads that hold Python's lock."""
    used = segmenter(backend=backend)
    batch = [used.prepare(each) for each in images(16 if IS_CUDA else 1)]
    used.forward(batch)
    for threads in (0, 4) if IS_CUDA else (0, 2):
        stopped = threading.Event()
        workers = [threading.Thread(target=_spin, args=[stopped]) for _ in range(threads)]
        for worker in workers:
            worker.start()
        begun_s, passes = time.perf_counter(), 0
        while not passes or time.perf_counter() - begun_s < SECONDS / 16:
            used.forward(batch)
            passes += 1
        rate = passes * len(batch) / (time.perf_counter() - begun_s)
        stopped.set()
        for worker in workers:
            worker.join()
        facts = {"backend": backend, "python_threads": threads, "batch": len(batch)}
        facts["switch_ms"] = 1000 * sys.getswitchinterval()
        emit("launches", **facts, images_s=round(rate, 1))


def _spin(stopped: threading.Event) -> None:
    while not stopped.is_set():
        json.dumps({str(n): n for n in range(50)})


def in_flight() -> None:
    """Measure one and two batches in flight with 6 ms of Python between two launches."""
    used = segmenter()
    batch = [used.prepare(each) for each in images(16 if IS_CUDA else 1)]
    expected = used.forward(batch)
    for most in (1, 2):
        waiting, device_s, passes = deque[Pass[torch.Tensor]](), 0.0, 0
        begun_s = time.perf_counter()
        while not passes or time.perf_counter() - begun_s < SECONDS / 2:
            while len(waiting) < most:
                waiting.append(used.launch(batch))
            first = waiting.popleft()
            outputs = first.collect()
            device_s += first.device_s
            passes += 1
            _work(0.006)
        took_s = time.perf_counter() - begun_s
        ok = all(map(torch.equal, outputs, expected))
        rate = round(passes * len(batch) / took_s, 1)
        emit("in flight", batches=most, images_s=rate, busy=round(device_s / took_s, 4), ok=ok)


def _work(duration_s: float) -> None:
    """Keep this thread busy."""
    end_s = time.perf_counter() + duration_s
    while time.perf_counter() < end_s:
        pass


@dataclass(frozen=True)
class _Source:
    """A source in memory; see `OpenObject`."""

    data: bytes

    etag = "etag"

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def read(self) -> bytes:
        return self.data


class SourcesOnly(StoreWrapper):
    """A store in memory that has every source, and drops the outputs."""

    def __init__(self, sources: list[bytes]) -> None:
        super().__init__(MemoryStore())
        self._sources = sources

    def open(self, bucket: str, key: str) -> AbstractContextManager[OpenObject]:
        del bucket
        number = int(key.partition(".")[0])
        source = self._sources[number % len(self._sources)]
        # Equal files would share a mask; a comment makes each one different.
        comment = b"\xff\xfe\x00\x0a" + number.to_bytes(8)
        return nullcontext(_Source(source[:2] + comment + source[2:]))

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        del bucket, key
        return None

    def put(
        self, bucket: str, key: str, data: bytes | IO[bytes], **options: Unpack[PutOptions]
    ) -> str:
        del bucket, key, data, options
        return "etag"


def engine(edges: Literal["source", "estimate"], backend: BackendName) -> None:
    """Run the product's stages over a store in memory, in one process."""
    settings = WorkerSettings.from_env(
        {
            "RMBG_MAX_ITEMS": "200" if IS_CUDA else "4",
            "RMBG_BUDGET_PX": "1600000000",
            "RMBG_BUDGET_BYTES": "4000000000",
            "RMBG_IO_THREADS": "32" if IS_CUDA else "2",
            "RMBG_CPU_THREADS": str(_CORES + 2 if IS_CUDA else 1),
        }
    )
    sources = [jpeg(product(number, SIDE_PX)) for number in range(4 if IS_CUDA else 2)]
    used = segmenter(backend=backend)
    model = Model(name=MODEL, licence="", segmenter=used, compose=used.compose)
    spec = JobSpec(
        input_bucket="inbox",
        output_bucket="cutouts",
        weights_sha256="0" * 64,
        options=PictureOptions(edges=edges),
    )
    running = build_local_engine(settings, SourcesOnly(sources))
    requests = (
        ItemRequest(job_id="j", sequence=1, spec=spec, index=n, image_key=f"{n}.jpg", model=model)
        for n in range(10**9)
    )
    _run_for(running, requests, seconds=SECONDS / 5)
    cpu_s = time.process_time()
    ends, took_s = _run_for(running, requests, seconds=SECONDS)
    cpu_s = time.process_time() - cpu_s
    running.close()
    failed = sum(not (isinstance(end, ItemRecord) and end.state == "done") for end in ends)
    emit(
        "engine",
        edges=edges,
        backend=backend,
        switch_ms=1000 * sys.getswitchinterval(),
        images=len(ends),
        images_s=round(len(ends) / took_s, 1),
        cpu_ms=round(1000 * cpu_s / len(ends), 1),
        cores_busy=round(cpu_s / took_s, 1),
        failed=failed,
        ok=not failed,
    )


def _run_for(
    running: Engine, requests: Iterable[ItemRequest], *, seconds: float
) -> tuple[list[object], float]:
    """Offer requests for some seconds and wait for all; return their ends and the seconds."""
    results: SimpleQueue[ItemResult] = SimpleQueue()
    begun_s, offered = time.perf_counter(), 0
    for request in requests:
        while not running.offer(request, results, timeout_s=1):
            pass
        offered += 1
        if time.perf_counter() - begun_s > seconds:
            break
    outcomes = [results.get().outcome for _ in range(offered)]
    took_s = time.perf_counter() - begun_s
    return [each.record if isinstance(each, Finished) else each for each in outcomes], took_s


def profile() -> None:
    """List the kernels by time, and the share of the time in which the device is idle."""
    used = segmenter()
    batch = [used.prepare(each) for each in images(16 if IS_CUDA else 1)]
    used.forward(batch)
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if IS_CUDA else [])]
    begun_s = time.perf_counter()
    with profiling(activities=kinds) as profiled:
        for _ in range(5 if IS_CUDA else 1):
            used.forward(batch)
        synchronize()
    took_s = time.perf_counter() - begun_s
    events = sorted(profiled.key_averages(), key=lambda each: -each.self_device_time_total)
    busy_s = sum(each.self_device_time_total for each in events) / 1e6
    for event in events[: 20 if IS_CUDA else 0]:
        ms = event.self_device_time_total / 1000
        emit("kernel", name=event.key[:100], calls=event.count, ms=round(ms, 3))
    emit("profile", precision=LOW, seconds=round(took_s, 3), device_busy_s=round(busy_s, 3))
