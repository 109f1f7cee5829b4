"""`rmbg-worker --check`: one synthetic image through all stages, without Redis and without S3."""

import time
from io import BytesIO
from typing import Final

import click
import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.job.record import ItemRecord
from shared.job.spec import JobSpec
from shared.models.registry import get
from shared.objects.memory import MemoryStore
from worker.engine import Finished, ItemRequest, run_single
from worker.engine.build import build_local_engine
from worker.inference import Loader
from worker.settings import WorkerSettings

SIDE_PX: Final = 640
TIMEOUT_S: Final = 300.0


def check(settings: WorkerSettings) -> int:
    """Print what was loaded, what came out and how long it took; return 0 if all is well."""
    model = Loader(settings).load(settings.models[0])
    spec = JobSpec(
        input_bucket="in",
        output_bucket="out",
        rem_mode=model.name,
        weights_sha256=get(model.name).identity,
    )
    store = MemoryStore()
    file = BytesIO()
    Image.fromarray(synthetic_image()).save(file, "PNG")
    store.put(spec.input_bucket, "synthetic.png", file.getvalue(), content_type="image/png")
    request = ItemRequest(
        job_id="check", sequence=1, spec=spec, index=0, image_key="synthetic.png", model=model
    )
    engine = build_local_engine(settings, store)
    started_s = time.monotonic()
    outcome = run_single(engine, request, timeout_s=TIMEOUT_S)
    took_s = time.monotonic() - started_s
    engine.close()
    record = outcome.record if isinstance(outcome, Finished) else None
    return _report(record, store, took_s)


def synthetic_image() -> npt.NDArray[np.uint8]:
    """Return a ``(640, 640, 3)`` uint8 image: a bright disc with a highlight on a soft ground."""
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX].astype(np.float32) / SIDE_PX - 0.5
    disc = np.clip((0.3 - np.hypot(x, y)) * 80, 0, 1)[..., None]
    ground = np.stack([0.55 + 0.2 * y, 0.6 + 0.2 * y, 0.65 + 0.1 * x], axis=-1)
    body = np.stack([0.85 - x, 0.25 + 0.3 * y, 0.2 - 0.2 * x], axis=-1)
    return np.asarray(255 * np.clip(disc * body + (1 - disc) * ground, 0, 1), np.uint8)


def _report(record: ItemRecord | None, store: MemoryStore, took_s: float) -> int:
    if record is None or record.state != "done":
        reason = record.error if record else f"no result within {TIMEOUT_S:g} s; see the log"
        click.echo(f"check failed: {reason}", err=True)
        return 1
    sizes = {key: len(store.get("out", key).data) for key in store.keys("out")}
    click.echo(
        f"ok: {record.model} on {record.device}, one image in {took_s:.2f} s; "
        f"coverage {(record.qc or {}).get('coverage')}; wrote {sizes}"
    )
    return 0
