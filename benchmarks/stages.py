"""(b) CPU time of an image outside the network, in milliseconds by stage."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import cv2

from benchmarks.products import jpeg, product
from benchmarks.stand_ins import (
    ImagesInMemory,
    SleepingSegmenter,
    constant_stages,
    model_of,
)
from producer.local.servers import EmbeddedServers
from shared.job.options import PictureOptions
from shared.job.spec import JobSpec
from shared.objects import ObjectStore
from shared.objects.choice import make_worker_store
from worker.engine.build import build_engine, worker_limits
from worker.engine.item import ItemRequest, ItemResult
from worker.imaging.compose import compose
from worker.imaging.decode import DecodedImage
from worker.imaging.encode.png import encode_png
from worker.imaging.operations import ImageOperations
from worker.inference.segmenter import Segmenter
from worker.lifecycle.shutdown import Shutdown
from worker.settings import WorkerSettings
from worker.storage.output_writer import OutputWriter

MODEL: Final = "isnet-general-use"
SOURCE_STAGES: Final = (
    "read header", "decode", "prepare", "finish mask", "measure mask", "compose source",
    "encode cutout", "encode mask",
)  # fmt: skip
SPEC: Final = JobSpec(input_bucket="inbox", output_bucket="cutouts", weights_sha256="0" * 64)
STORE_CLIENT: Final = ("S3: get source", "S3: put mask", "S3: put cutout")


def measure(
    weights: Path, folder: Path, *, device: str, images: int, rounds: int, side_px: int
) -> dict[str, Any]:
    """Run all stages in turn on each image, *rounds* times; return medians over all runs."""
    cv2.setNumThreads(1)  # as in a worker
    segmenter = Segmenter.load(weights, device=device)
    times: dict[str, list[float]] = {}
    sizes: dict[str, list[int]] = {}
    with EmbeddedServers(folder / "servers") as servers:
        settings = WorkerSettings.from_env(servers.settings())
        store = make_worker_store(
            settings.services.objects,
            client=settings.store_client,
            max_connections=4,
            max_bytes=settings.max_bytes,
        )
        for number in range(images):
            calls = _calls(segmenter, jpeg(product(number, side_px)), settings, store)
            for _ in range(rounds):
                for name, call in calls.items():
                    started_s = time.process_time()
                    result = call()
                    times.setdefault(name, []).append(1000 * (time.process_time() - started_s))
                    if isinstance(result, bytes):
                        sizes.setdefault(name, []).append(len(result))
        overhead_ms = engine_overhead_ms(settings, store, items=100 * images * rounds)
    stages = {name: round(statistics.median(values), 2) for name, values in times.items()}
    return {
        "side_px": side_px,
        "cpu_ms": stages,
        "bytes": {name: round(statistics.median(values)) for name, values in sizes.items()},
        "engine_cpu_ms": round(overhead_ms, 3),
        "sum_ms": round(sum(stages[name] for name in SOURCE_STAGES) + overhead_ms, 1),
        "sum_with_s3_client_ms": round(
            sum(stages[name] for name in (*SOURCE_STAGES, *STORE_CLIENT)) + overhead_ms, 1
        ),
    }


def _calls(
    segmenter: Segmenter, data: bytes, settings: WorkerSettings, store: ObjectStore
) -> dict[str, Callable[[], object]]:
    """Return a call per stage of one image, each with the result of the stage before it."""
    imaging = ImageOperations(
        max_pixels=settings.max_pixels, max_bytes=settings.max_bytes, children=1
    )

    def decode(data: bytes) -> DecodedImage:
        return imaging.decode(data, PictureOptions(), isolate=False)

    image = decode(data).image
    (output,) = segmenter.forward([segmenter.prepare(image)])
    segmented = segmenter.finish(output, *image.shape[:2], stretch="guarded")
    mask = segmented.mask
    cutout = compose(image, mask, edges="source")
    files = {"mask": encode_png(mask, texts={}, level="fast")}
    files["cutout"] = encode_png(cutout, texts={}, level="fast")
    store.put("inbox", "source.jpg", data, content_type="image/jpeg")

    def upload(output: str) -> object:
        return store.put("cutouts", f"{output}.png", files[output], content_type="image/png")

    return {
        "read header": lambda: imaging.count_pixels(data),
        "decode": lambda: decode(data),
        "prepare": lambda: segmenter.prepare(image),
        "finish mask": lambda: segmenter.finish(output, *image.shape[:2], stretch="guarded"),
        "measure mask": lambda: imaging.measure(
            mask, segmented.low, segmented.high, SPEC.thresholds
        ),
        "compose source": lambda: compose(image, mask, edges="source"),
        "compose estimate": lambda: compose(image, mask, edges="estimate"),
        "encode cutout": lambda: encode_png(cutout, texts={}, level="fast"),
        "encode mask": lambda: encode_png(mask, texts={}, level="fast"),
        "S3: get source": lambda: store.get("inbox", "source.jpg").etag,
        "S3: put mask": lambda: upload("mask"),
        "S3: put cutout": lambda: upload("cutout"),
    }


def engine_overhead_ms(settings: WorkerSettings, store: ObjectStore, *, items: int) -> float:
    """Return the CPU time per image of an engine whose image operations do nothing."""
    writer = OutputWriter(ImagesInMemory(store), max_bytes=settings.max_bytes)
    engine = build_engine(worker_limits(settings), constant_stages(writer), shutdown=Shutdown())
    model = model_of(SleepingSegmenter(), MODEL)
    results: SimpleQueue[ItemResult] = SimpleQueue()
    started_s = time.process_time()
    for index in range(items):
        request = ItemRequest(
            job_id="j", sequence=1, spec=SPEC, index=index, image_key=f"{index}.jpg", model=model
        )
        while not engine.offer(request, results, timeout_s=1):
            pass
    for _ in range(items):
        results.get()
    return 1000 * (time.process_time() - started_s) / items
