"""Check Redis, the buckets and the workers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from producer.services import Services
from shared.errors import RmbgError
from shared.jobstore.values import WorkerInfo
from shared.probes import Finding, Level, probe
from shared.probes.redis import STORE


def run_checks(services: Services) -> list[Finding]:
    """Probe the queue, the job store and every bucket, and list the workers, at the same time.

    Takes less than 10 s. A fault of one service does not hide those of others.
    """
    with ThreadPoolExecutor(1) as pool:
        listed = pool.submit(lambda: list(_workers(services)))
        findings = probe(services.settings, services.objects)
        workers = listed.result()
    is_store_well = not any(found.is_fault for found in findings if found.subject == STORE)
    has_workers = any(found.level is Level.OK for found in workers)
    return [*findings, *(workers if is_store_well or has_workers else [_UNKNOWN])]


_UNKNOWN = Finding(
    "workers", Level.UNAVAILABLE, "cannot be listed until the fault of the job store is fixed"
)


def _workers(services: Services) -> Iterator[Finding]:
    try:
        workers = services.jobs.fleet.workers()
    except RmbgError as err:
        yield Finding("workers", Level.UNAVAILABLE, str(err))
        return
    if not workers:
        detail = "no worker is registered; start `rmbg-worker` with the same RMBG_REDIS_URL"
        yield Finding("workers", Level.UNAVAILABLE, detail)
    for worker in workers:
        yield from _worker(worker)


def _worker(worker: WorkerInfo) -> Iterator[Finding]:
    subject = f"worker {worker.worker_id}"
    rate = f"{worker.images_per_s:.3g} images/s" if worker.images_per_s else "rate not yet measured"
    models = ", ".join(worker.models) or "no model"
    detail = f"{worker.host} pid {worker.pid}, {worker.device}, serves {models}, {rate}"
    yield Finding(subject, Level.OK if worker.models else Level.UNAVAILABLE, detail)
    for model, reason in sorted(worker.refused.items()):
        yield Finding(subject, Level.UNAVAILABLE, f"cannot serve {model}: {reason}")
