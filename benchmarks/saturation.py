"""(h) A fast device behind a slow store: whether the default limits keep the device busy.

One engine in this process. The device takes 1 ms per image, the store answers after 30 ms, images
are one pixel; both are waits, so that two cores are not the limit.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import AbstractContextManager
from queue import SimpleQueue
from typing import IO, Any, Final, Unpack

from benchmarks.stand_ins import ImagesInMemory, SleepingSegmenter, constant_stages, model_of
from shared.job.spec import JobSpec
from shared.objects import ObjectInfo, OpenObject, PutOptions
from shared.objects.memory import MemoryStore
from worker.engine import ItemRequest, ItemResult
from worker.engine.build import build_engine
from worker.engine.limits import limits_for
from worker.inference.device_kind import DeviceKind
from worker.lifecycle import Shutdown
from worker.resources import allowed_cores, allowed_memory_bytes
from worker.storage import OutputWriter

DEVICE_S: Final = 0.001
"""Time of the device for an image."""
STORE_S: Final = 0.030
"""Time that the store takes to answer."""
BATCH_SIZES: Final[dict[DeviceKind, int]] = {"cpu": 16, "cuda": 32}
"""Both run on the same device; the smaller batch is that of earlier versions."""
SPEC: Final = JobSpec(
    input_bucket="in",
    output_bucket="out",
    rem_mode="stand-in",
    weights_sha256=SleepingSegmenter.weights_sha256,
)


class SlowStore(ImagesInMemory):
    """Answers each request after `STORE_S`."""

    def open(self, bucket: str, key: str) -> AbstractContextManager[OpenObject]:
        time.sleep(STORE_S)
        return super().open(bucket, key)

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        time.sleep(STORE_S)
        return super().head(bucket, key)

    def put(
        self, bucket: str, key: str, data: bytes | IO[bytes], **options: Unpack[PutOptions]
    ) -> str:
        time.sleep(STORE_S)
        return super().put(bucket, key, data, **options)


def measure(*, warm_up_s: float = 3.0, seconds: float = 20.0) -> dict[str, Any]:
    """Return the figures of a steady state with the default limits of each type of device."""
    return {kind: _measure_one(kind, warm_up_s=warm_up_s, seconds=seconds) for kind in BATCH_SIZES}


def _measure_one(kind: DeviceKind, *, warm_up_s: float, seconds: float) -> dict[str, Any]:
    limits = limits_for(kind, cores=allowed_cores(), memory_bytes=allowed_memory_bytes())
    writer = OutputWriter(SlowStore(MemoryStore()), max_bytes=2**20)
    engine = build_engine(limits, constant_stages(writer), shutdown=Shutdown())
    device = SleepingSegmenter(BATCH_SIZES[kind], batch_s=0.0, image_s=DEVICE_S)
    model, results = model_of(device, SPEC.rem_mode), SimpleQueue[ItemResult]()
    offered = 0

    def offer_for(duration_s: float) -> tuple[float, int, int, float, float]:
        """Keep the engine full; return time, items ended and in batches, device and CPU seconds."""
        nonlocal offered
        until_s = time.perf_counter() + duration_s
        while time.perf_counter() < until_s:
            request = ItemRequest(
                job_id="j",
                sequence=1,
                spec=SPEC,
                index=offered,
                image_key=f"{offered}",
                model=model,
            )
            offered += engine.offer(request, results, timeout_s=0.1)
        now_s, cpu_s = time.perf_counter(), time.process_time()
        return now_s, engine.inflight.ended, device.batches, device.busy_s, cpu_s

    begin, end = offer_for(warm_up_s), offer_for(seconds)
    while engine.inflight.items:
        results.get(timeout=60)
    engine.close()
    took_s, ended, batches, busy_s, cpu_s = (b - a for a, b in zip(begin, end, strict=True))
    return {
        "max_items": limits.max_items,
        "io_threads": limits.io_threads,
        "images_per_s": round(ended / took_s, 1),
        "device_busy": round(busy_s / took_s, 4),
        "batch": round(ended / batches, 1),
        "cpu_ms": round(1000 * cpu_s / ended, 4),
        "seconds": round(took_s, 1),
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    rows = [
        "| defaults of | items | I/O threads | images/s | device busy | batch | CPU ms per image |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    rows += [
        f"| {kind} | {one['max_items']} | {one['io_threads']} | {one['images_per_s']} "
        f"| {one['device_busy']:.1%} | {one['batch']} | {one['cpu_ms']:.2f} |"
        for kind, one in result.items()
    ]
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    result = measure(seconds=parser.parse_args().seconds)
    print(json.dumps(result), table(result), sep="\n")


if __name__ == "__main__":
    main()
