"""What is wrong with the surroundings, and what to do about it; all checks at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from producer.services import reach
from shared.errors import RmbgError
from shared.settings import redact

if TYPE_CHECKING:
    from collections.abc import Callable

    from producer.services import Services
    from shared.jobstore.values import WorkerInfo


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    subject: str
    well: bool
    text: str
    """How it is; of a fault also what to do about it."""


def examine(services: Services) -> list[Finding]:
    """Check queue, job store, every bucket and every worker; takes as long as the slowest.

    Each check has its own limit below 10 s, and a fault in one keeps none of the others back.
    """
    settings = services.settings
    buckets = dict.fromkeys((*settings.input_buckets, settings.output_bucket))
    checks: list[Callable[[], list[Finding]]] = [
        partial(_redis, "queue", settings.broker_url),
        partial(_redis, "job store", settings.store_url),
        *(partial(_bucket, services, bucket) for bucket in buckets),
        partial(_workers, services),
    ]
    with ThreadPoolExecutor(len(checks)) as pool:
        return [finding for found in pool.map(lambda check: check(), checks) for finding in found]


def _redis(role: str, url: str) -> list[Finding]:
    try:
        reach(url).close()
    except RmbgError as err:
        return [Finding(role, well=False, text=str(err))]
    return [Finding(role, well=True, text=redact(url))]


def _bucket(services: Services, bucket: str) -> list[Finding]:
    subject = f"bucket {bucket}"
    try:
        services.objects.check(bucket)
    except RmbgError as err:
        return [Finding(subject, well=False, text=str(err))]
    return [Finding(subject, well=True, text=services.settings.objects.endpoint or "AWS")]


def _workers(services: Services) -> list[Finding]:
    try:
        workers = services.jobs.fleet.workers()
    except RmbgError:
        return [Finding("workers", well=False, text="not known: see the job store")]
    if not workers:
        what = "none is registered; start `rmbg-worker` with the same RMBG_REDIS_URL"
        return [Finding("workers", well=False, text=what)]
    return [finding for worker in workers for finding in _worker(worker)]


def _worker(worker: WorkerInfo) -> list[Finding]:
    subject = f"worker {worker.worker_id}"
    rate = f"{worker.images_per_s:.3g} images/s" if worker.images_per_s else "rate not yet known"
    models = ", ".join(worker.models) or "no model"
    here = f"{worker.host} pid {worker.pid}, {worker.device}, serves {models}, {rate}"
    return [
        Finding(subject, well=bool(worker.models), text=here),
        *(
            Finding(subject, well=False, text=f"refuses {model}: {reason}")
            for model, reason in sorted(worker.refused.items())
        ),
    ]
