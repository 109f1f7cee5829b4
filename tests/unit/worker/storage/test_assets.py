"""Images of jobs are read once per process, and what is wrong with one is told."""

import hashlib
import threading

import pytest
from support.jobs import spec
from support.memory_store import MemoryStore

from shared.errors import StoreUnavailable
from shared.job.keys import asset_key
from shared.job.outputs import RecipeOutput
from shared.recipes import Recipe
from worker.storage import AssetBytes, AssetFault, AssetReader

OAK, PINE = b"oak", b"pine"


def sha256_of(data):
    return hashlib.sha256(data).hexdigest()


class Jobs:
    """A reader over a store in memory, and jobs with images in it."""

    def __init__(self, **options):
        self.store = MemoryStore()
        self.reader = AssetReader(self.store, **{"max_bytes": 1000} | options)
        self.opened = []
        self.store.before = lambda call, _bucket, key: self.opened.append((call, key))

    def put(self, job_id, data, *, sha256=None):
        key = asset_key(job_id, sha256 or sha256_of(data))
        self.store.put("cutouts", key, data, content_type="-")
        self.opened.clear()

    def read(self, job_id, *images):
        outputs = tuple(
            RecipeOutput(name=f"o{n}", recipe=Recipe(background=f"sha256:{sha256_of(each)}"))
            for n, each in enumerate(images)
        )
        return self.reader.read(job_id, spec(outputs=outputs))


@pytest.fixture
def jobs():
    return Jobs()


def test_a_job_without_images_asks_nothing(jobs):
    assert jobs.read("j") == {}
    assert jobs.opened == []


def test_an_image_is_read_once_whichever_job_names_it(jobs):
    for job_id in ("a", "b"):
        jobs.put(job_id, OAK)

    first, second = jobs.read("a", OAK, OAK), jobs.read("b", OAK)

    assert first == second == {sha256_of(OAK): AssetBytes(sha256_of(OAK), OAK)}
    assert jobs.opened == [("get", asset_key("a", sha256_of(OAK)))]


def test_threads_that_want_the_same_image_read_it_once(jobs):
    """The store answers the first one once all of them are about to ask."""
    jobs.put("a", OAK)
    about_to_ask, note = threading.Semaphore(0), jobs.store.before

    def before(*call):
        note(*call)
        if len(jobs.opened) == 1:
            assert all(about_to_ask.acquire(timeout=30) for _ in range(8))

    def read():
        about_to_ask.release()
        jobs.read("a", OAK)

    jobs.store.before = before
    threads = [threading.Thread(target=read) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)

    assert len(jobs.opened) == 1


def test_what_is_kept_is_bounded():
    jobs = Jobs(cached_bytes=len(OAK))
    jobs.put("a", OAK)
    jobs.put("a", PINE)

    jobs.read("a", OAK, PINE)
    jobs.read("a", PINE)
    jobs.read("a", OAK)

    assert [key.rpartition("/")[2] for _, key in jobs.opened] == [
        sha256_of(each) for each in (OAK, PINE, OAK)
    ]


@pytest.mark.parametrize(
    ("found", "told"),
    [(None, "cannot be read"), (b"other", "is damaged"), (b"x" * 1001, "is too large")],
)
def test_an_image_that_cannot_be_used_is_a_fault_until_it_is_back(jobs, found, told):
    jobs.put("a", PINE)
    if found is not None:
        jobs.put("a", found, sha256=sha256_of(OAK))

    read = jobs.read("a", OAK, PINE)

    assert read[sha256_of(PINE)] == AssetBytes(sha256_of(PINE), PINE)
    fault = read[sha256_of(OAK)]
    assert isinstance(fault, AssetFault)
    assert f"the background image cutouts/{asset_key('a', sha256_of(OAK))} {told}" in fault.reason

    jobs.put("a", OAK)
    assert jobs.read("a", OAK) == {sha256_of(OAK): AssetBytes(sha256_of(OAK), OAK)}


def test_an_outage_of_the_store_is_no_fault(jobs):
    def fail(*_):
        raise StoreUnavailable("injected")

    jobs.store.before = fail
    with pytest.raises(StoreUnavailable):
        jobs.read("a", OAK)
