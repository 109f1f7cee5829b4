"""Run local images through the stages of a worker, on a store in memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final

from shared.errors import InvalidKey, RmbgError
from shared.job.keys import asset_key
from shared.job.record import ItemRecord
from shared.job.spec import JobSpec
from shared.job.written import WrittenObject, written_objects
from shared.objects.memory import MemoryStore
from worker.engine import Finished, ItemRequest, ItemResult
from worker.engine.build import build_local_engine, worker_limits
from worker.inference import Model
from worker.settings import WorkerSettings
from worker.storage import AssetReader

TIMEOUT_S: Final = 600.0
"""Longest time without an image that ends."""


@dataclass(frozen=True)
class LocalImage:
    """An image of a local run."""

    key: str
    """Its key in the record, and its path below the folders of the outputs."""
    read: Callable[[], bytes | None]
    """Returns its bytes, or None if it cannot be read; its item then fails."""


@dataclass(frozen=True)
class LocalResult:
    """How one image ended, and its outputs."""

    record: ItemRecord
    outputs: Sequence[tuple[WrittenObject, bytes]]
    """What was written, each with its bytes."""


def run_locally(
    images: Sequence[LocalImage],
    spec: JobSpec,
    *,
    job_id: str,
    model: Model,
    settings: WorkerSettings,
    assets: Mapping[str, bytes],
) -> Iterator[LocalResult]:
    """Yield the result of each image as it ends; at most `max_items` of the limits are in memory.

    Args:
        images: The images.
        spec: What a job over them would be.
        job_id: Its ID.
        model: The model.
        settings: Those of the worker.
        assets: Images that recipes name as backgrounds, by SHA-256.

    Raises:
        RmbgError: If the device fails, or no image ends within `TIMEOUT_S`.
    """
    store = MemoryStore()
    for sha256, data in assets.items():
        key = asset_key(job_id, sha256)
        store.put(spec.output_bucket, key, data, content_type="application/octet-stream")
    backgrounds = AssetReader(store, max_bytes=settings.max_bytes).read(job_id, spec)
    max_items = worker_limits(settings).max_items
    engine = build_local_engine(settings, store)
    results: SimpleQueue[ItemResult] = SimpleQueue()
    waiting, inside = iter(enumerate(images)), 0
    try:
        while True:
            while inside < max_items and (found := next(waiting, None)):
                index, image = found
                _put(store, spec.input_bucket, image)
                request = ItemRequest(
                    job_id=job_id,
                    sequence=1,
                    spec=spec,
                    index=index,
                    image_key=image.key,
                    model=model,
                    assets=backgrounds,
                )
                inside += engine.offer(request, results, timeout_s=TIMEOUT_S)
            if not inside:
                return
            yield _collect(store, results)
            inside -= 1
    finally:
        engine.close()


def _put(store: MemoryStore, bucket: str, image: LocalImage) -> None:
    """Put an image into *store*; the item of one without bytes or a valid key fails."""
    if (data := image.read()) is None:
        return
    try:
        store.put(bucket, image.key, data, content_type="application/octet-stream")
    except InvalidKey:
        return


def _collect(store: MemoryStore, results: SimpleQueue[ItemResult]) -> LocalResult:
    """Wait for a result, and take its outputs out of *store*."""
    try:
        result = results.get(timeout=TIMEOUT_S)
    except Empty:
        raise RmbgError(f"no image ended within {TIMEOUT_S:g} s") from None
    request, outcome = result.request, result.outcome
    if not isinstance(outcome, Finished):
        raise RmbgError(f"{request.image_key} was not processed: {outcome.waiting_for}")
    bucket = request.spec.output_bucket
    written = list(written_objects(request.spec, request.job_id, outcome.record))
    outputs = [(each, store.get(bucket, each.key).data) for each in written]
    store.delete(request.spec.input_bucket, [request.image_key])
    store.delete(bucket, [each.key for each in written])
    return LocalResult(outcome.record, outputs)
