"""Check Redis, the buckets and the workers, all at the same time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from producer.services import Services, connect
from shared.errors import RmbgError
from shared.jobstore.values import WorkerInfo
from shared.urls import redact


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    subject: str
    ok: bool
    detail: str
    """The state of the subject; for a fault, also how to fix it."""


def run_checks(services: Services) -> list[Check]:
    """Check queue, job store, every bucket and every worker; takes as long as the slowest check.

    Each check takes less than 10 s, and a failed check does not stop the others.
    """
    settings = services.settings
    buckets = dict.fromkeys((*settings.input_buckets, settings.output_bucket))
    checks: list[Callable[[], list[Check]]] = [
        partial(_redis, "queue", settings.broker_url),
        partial(_redis, "job store", settings.store_url),
        *(partial(_bucket, services, bucket) for bucket in buckets),
        partial(_workers, services),
    ]
    with ThreadPoolExecutor(len(checks)) as pool:
        return [result for found in pool.map(lambda check: check(), checks) for result in found]


def _redis(role: str, url: str) -> list[Check]:
    return _service(role, redact(url), lambda: connect(url).close())


def _bucket(services: Services, bucket: str) -> list[Check]:
    endpoint = services.settings.objects.endpoint or "AWS"
    return _service(f"bucket {bucket}", endpoint, lambda: services.objects.check(bucket))


def _service(subject: str, address: str, reach: Callable[[], None]) -> list[Check]:
    try:
        reach()
    except RmbgError as err:
        return [Check(subject, ok=False, detail=str(err))]
    return [Check(subject, ok=True, detail=address)]


def _workers(services: Services) -> list[Check]:
    try:
        workers = services.jobs.fleet.workers()
    except RmbgError:
        return [Check("workers", ok=False, detail="unknown, because the job store is unavailable")]
    if not workers:
        detail = "no worker is registered; start `rmbg-worker` with the same RMBG_REDIS_URL"
        return [Check("workers", ok=False, detail=detail)]
    return [check for worker in workers for check in _worker(worker)]


def _worker(worker: WorkerInfo) -> list[Check]:
    subject = f"worker {worker.worker_id}"
    rate = f"{worker.images_per_s:.3g} images/s" if worker.images_per_s else "rate not yet measured"
    models = ", ".join(worker.models) or "no model"
    detail = f"{worker.host} pid {worker.pid}, {worker.device}, serves {models}, {rate}"
    return [
        Check(subject, ok=bool(worker.models), detail=detail),
        *(
            Check(subject, ok=False, detail=f"cannot serve {model}: {reason}")
            for model, reason in sorted(worker.refused.items())
        ),
    ]
