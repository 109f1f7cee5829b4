"""Probe all services at the same time, and decide whether a worker may start."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

from shared.deadline import within
from shared.errors import RmbgError, ServiceUnavailable, ServiceUnfit
from shared.objects.protocol import ObjectStore
from shared.probes.buckets import probe_input, probe_output
from shared.probes.finding import Finding, Level, level_of
from shared.probes.redis import QUEUE, STORE, probe_queue, probe_store
from shared.settings import ServiceSettings
from shared.urls import redact

logger = logging.getLogger(__name__)

REDIS_S: Final = 6.0
"""Longest wait for a probe of Redis, in seconds."""
BUCKET_S: Final = 8.5
"""Longest wait for a probe of a bucket, in seconds."""


@dataclass(frozen=True)
class _Probe:
    subject: str
    address: str
    limit_s: float
    ask: Callable[[], Iterator[Finding]]

    def run(self) -> list[Finding]:
        """Return what the probe finds, or that all is well; never raises."""
        advice = "RMBG_REDIS_URL" if self.limit_s == REDIS_S else "RMBG_S3_ENDPOINT"
        late = ServiceUnavailable(
            f"{self.address} did not answer within {self.limit_s:g} s; check {advice} and that the "
            "service is up"
        )
        found: list[Finding] = []
        try:
            within(self.limit_s, lambda: found.extend(self.ask()), late=late)
        except RmbgError as err:
            return [*found, Finding(self.subject, level_of(err), str(err))]
        return found or [Finding(self.subject, Level.OK, self.address)]


def probe(settings: ServiceSettings, objects: ObjectStore) -> list[Finding]:
    """Probe Redis and all buckets on the real services; takes less than 10 s.

    Input buckets are only read. What is written to Redis and to the output bucket is deleted.
    """
    probes = list(_probes(settings, objects))
    with ThreadPoolExecutor(len(probes)) as pool:
        return [finding for found in pool.map(_Probe.run, probes) for finding in found]


def require(settings: ServiceSettings, objects: ObjectStore) -> None:
    """Probe the services at the start of a worker, and log what is wrong.

    A service that is unavailable is no reason to stop, since workers wait for it.

    Raises:
        ServiceUnfit: If a service would lose or damage work; one line for each fault.
    """
    findings = probe(settings, objects)
    for found in findings:
        if found.level is not Level.OK:
            logger.warning(
                "service has a fault", extra={"cause": f"{found.subject}: {found.detail}"}
            )
    unfit = [f"{each.subject}: {each.detail}" for each in findings if each.level is Level.UNFIT]
    if unfit:
        raise ServiceUnfit("\n".join(unfit))


def _probes(settings: ServiceSettings, objects: ObjectStore) -> Iterator[_Probe]:
    queue, store = settings.broker_url, settings.store_url
    yield _Probe(QUEUE, _redis(queue), REDIS_S, partial(probe_queue, queue))
    ask = partial(probe_store, store, allow_eviction=settings.allow_eviction)
    yield _Probe(STORE, _redis(store), REDIS_S, ask)
    endpoint, output = settings.objects.endpoint or "AWS", settings.output_bucket
    for bucket in dict.fromkeys((*settings.input_buckets, output)):
        if bucket == output:
            conditional = settings.objects.conditional
            ask = partial(probe_output, objects, bucket, conditional=conditional)
        else:
            ask = partial(probe_input, objects, bucket)
        yield _Probe(f"bucket {bucket}", endpoint, BUCKET_S, ask)


def _redis(url: str) -> str:
    return f"Redis at {redact(url)}"
