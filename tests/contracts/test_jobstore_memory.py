"""Memory that a large job needs in Redis."""

import hashlib
from itertools import islice

import pytest
from support.jobs import feed, grant, submission, worker

from shared.job.manifest import CHUNK_KEYS, pack

ITEMS = 1_000_000


def keys(number):
    """Yield realistic keys of 56 characters, which compress no better than real ones."""
    for n in range(number):
        article = hashlib.md5(b"%d" % (n // 4), usedforsecurity=False).hexdigest()[:8]
        yield f"catalogue/2026/spring/{article}/front-{n:09}-large.jpg"


@pytest.fixture(scope="module")
def chunks():
    """Packed chunks of a million keys."""
    walk = keys(ITEMS)
    return [pack(list(islice(walk, CHUNK_KEYS))) for _ in range(0, ITEMS, CHUNK_KEYS)]


def test_a_job_of_a_million_items_fits_in_20_megabytes(store, redis_client, chunks):
    """Manifest, bitmaps and all tickets that a fleet of a hundred slots has queued."""
    store.fleet.register(worker(slots=100, images_per_s=200.0), ttl_s=600)
    before_bytes = redis_client.info("memory")["used_memory"]

    wanted = submission(ITEMS)
    for first in range(0, len(chunks), 64):
        store.submissions.stage(wanted.manifest, first, chunks[first : first + 64])
    store.submissions.submit(wanted)
    issued = feed(store)
    leases = [grant(store, one).lease for one in issued[:100]]
    issued += feed(store)

    used_bytes = redis_client.info("memory")["used_memory"] - before_bytes
    assert used_bytes < 20_000_000
    assert len(issued) == 400
    assert len(leases) == 100
