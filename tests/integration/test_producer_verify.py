"""What `rmbg verify` finds in a real bucket, and what `--repair` makes of it."""

import json
import uuid
from functools import partial

import pytest
import redis
from support.command import rmbg
from support.servers import own_bucket
from support.workers import MODEL, WorkerProcess

from producer.client import Client
from shared.job.spec import JobState, PictureOptions
from shared.objects import S3Store
from shared.settings import ServiceSettings

pytestmark = pytest.mark.integration

BUCKET = "verified"
COUNT = 12


class Shelf:
    """The bucket, with `S3Store`'s methods for it."""

    def __init__(self, settings):
        self._store = S3Store(settings.objects)
        self._bucket = settings.output_bucket

    def put(self, key, data, metadata=None):
        self._store.put(self._bucket, key, data, content_type="image/png", metadata=metadata)

    def overwrite(self, key, data, **changes):
        """Put other bytes there, under the metadata of what was there but for *changes*."""
        self.put(key, data, self.metadata(key) | changes)

    def metadata(self, key):
        return dict(self._store.head(self._bucket, key).metadata)

    def data(self, key):
        return self._store.get(self._bucket, key).data

    def delete(self, *keys):
        self._store.delete(self._bucket, keys)

    def etags(self, prefix="out/"):
        return {found.key: found.etag for found in self._store.list(self._bucket, prefix)}


@pytest.fixture(scope="module")
def env(servers):
    own = servers.settings() | {"RMBG_INPUT_BUCKETS": BUCKET, "RMBG_OUTPUT_BUCKET": BUCKET}
    with redis.Redis.from_url(own["RMBG_REDIS_URL"]) as client:
        client.flushall()
    with own_bucket(servers, BUCKET):
        yield own


@pytest.fixture(scope="module")
def client(env):
    """A client with a worker behind it."""
    process = WorkerProcess(env, quick=True).wait_ready()
    yield Client(ServiceSettings.from_env(env))
    process.close()


@pytest.fixture
def run_rmbg(env):
    return partial(rmbg, env=env)


@pytest.fixture(scope="module")
def shelf(env):
    return Shelf(ServiceSettings.from_env(env))


@pytest.fixture(autouse=True)
def clean(shelf):
    """Each test begins with sources alone, in a bucket that all of this file use."""
    shelf.delete(*shelf.etags(""))
    for n in range(COUNT):
        shelf.put(f"in/{n:02}", b"%d" % n)


@pytest.fixture
def keys():
    return [f"in/{n:02}" for n in range(COUNT)]


def finish(client, keys, **options):
    named = {"save_prefix": "out", "job_id": f"j{uuid.uuid4().hex}"}
    job_id = client.submit(keys, rem_mode=MODEL, **named | options)
    status = client.wait(job_id, 60)
    assert status.state is JobState.DONE
    return job_id


def found_by(done):
    return {(one["fault"], one["key"]) for one in map(json.loads, done.stdout.splitlines())}


def test_a_job_in_order_has_no_findings(client, keys, run_rmbg):
    job = finish(client, keys)

    for args in ((), ("--deep",), ("--json",), ("--repair",)):
        done = run_rmbg("verify", job, *args)
        assert (done.returncode, done.stdout) == (0, b""), done
        assert f"{2 * COUNT} pictures" in done.stderr.decode()
    assert client.status(job).generation == 1


def test_pictures_in_folders_and_beside_them_are_found_however_the_store_sorts(
    client, run_rmbg, shelf
):
    """The embedded store lists a folder before its namesakes with `-` and `.`, S3 after them."""
    keys = ["in/a.jpg", "in/a-b", "in/a/b", "in/a/b.jpg", "in/a.b/c"]
    for key in keys:
        shelf.put(key, key.encode())
    job = finish(client, keys)

    done = run_rmbg("verify", job)

    assert (done.returncode, done.stdout) == (0, b""), done


def test_what_is_lost_damaged_or_too_much_is_found_repaired_and_found_no_more(
    client, keys, run_rmbg, shelf
):
    """An image of which a picture is faulty is done again whole; all others stay untouched."""
    job = finish(client, [*keys, "in/absent"])
    before = client.status(job)
    lost, damaged, extra = "out/mask/in/03.png", "out/cutout/in/05.png", "out/mask/in/99.png"
    untouched = {
        key: tag for key, tag in shelf.etags().items() if key[-6:] not in ("03.png", "05.png")
    }
    shelf.delete(lost)
    shelf.overwrite(damaged, b"torn")
    metadata = shelf.metadata("out/mask/in/07.png")
    shelf.put(extra, b"more", metadata)
    expected = {("missing", lost), ("damaged", damaged), ("extra", extra)}

    done = run_rmbg("verify", job, "--json")
    assert done.returncode == 1
    assert found_by(done) == expected
    assert {finding.index for finding in client.verify(job)} == {3, 5, None}

    done = run_rmbg("verify", job, "--repair", "--json")
    assert (done.returncode, found_by(done)) == (1, expected)
    assert "2 images" in done.stderr.decode()
    after = client.wait(job, 60)

    assert (after.state, after.generation) == (JobState.DONE, 2)
    assert (after.done, after.failed) == (before.done, before.failed) == (COUNT, 1)
    assert (after.verdicts, after.error_classes) == (before.verdicts, before.error_classes)
    assert [record.index for record in client.results(job)] == list(range(COUNT + 1))
    assert shelf.data(damaged) != b"torn"
    shelf.delete(extra)
    assert client.verify(job, deep=True) == []
    assert untouched.items() <= shelf.etags().items()


def test_a_picture_that_only_the_record_shows_to_be_another_is_replaced(client, keys, shelf):
    """By its own metadata it is whole, and made of the same source by the same parameters."""
    job = finish(client, keys)
    key = "out/cutout/in/01.png"
    shelf.overwrite(key, b"drawn over by hand", **{"rmbg-bytes": "18"})

    [finding] = client.verify(job, repair=True)
    client.wait(job, 60)

    assert (finding.fault, finding.key) == ("damaged", key)
    assert shelf.data(key) != b"drawn over by hand"
    assert client.verify(job) == []


@pytest.mark.parametrize("existing", ["replace", "keep", "fail"])
def test_what_the_job_wrote_itself_is_mended_under_every_rule_for_others(
    client, keys, shelf, existing
):
    job = finish(client, keys, existing=existing, save_prefix=existing)
    key = f"{existing}/mask/in/01.png"
    shelf.overwrite(key, b"torn", **{"rmbg-params": "0" * 16})

    assert [finding.key for finding in client.verify(job, repair=True)] == [key]
    assert client.wait(job, 60).failed == 0

    assert client.verify(job, deep=True) == []
    assert shelf.data(key) != b"torn"


def test_other_parameters_are_found_only_by_a_deep_look(client, keys, shelf):
    job = finish(client, keys)
    key = "out/cutout/in/01.png"
    shelf.overwrite(key, shelf.data(key), **{"rmbg-params": "0" * 16})

    assert client.verify(job) == []
    [finding] = client.verify(job, deep=True)
    assert (finding.fault, finding.key) == ("damaged", key)
    assert "parameters" in finding.reason


def test_pictures_of_other_jobs_are_no_fault_of_this_one(client, keys, shelf):
    """Replaced by a later job, kept from an earlier one, or beside it under the same prefix."""
    earlier = finish(client, keys[:2])
    kept = finish(client, keys[:4], existing="keep", pictures=PictureOptions(png="small"))
    assert {record.existing for record in client.results(kept)} == {"kept", None}
    finish(client, keys[1:6], pictures=PictureOptions(truncated="accept"))
    shelf.overwrite("out/mask/in/00.png", b"of nobody's concern to the job that kept it")

    assert client.verify(kept, deep=True) == []
    assert [finding.key for finding in client.verify(earlier)] == ["out/mask/in/00.png"]


def test_counted_names_are_looked_for_beside_those_of_other_jobs(client, keys, shelf):
    first = finish(client, keys[:3], naming="comfyui", save_prefix="c/x")
    second = finish(client, keys[:3], naming="comfyui", save_prefix="c/x", prompt=1)
    shelf.delete("c/x_00002_.png", "c/x_mask_00006_.png")

    assert [finding.key for finding in client.verify(first)] == ["c/x_00002_.png"]
    assert [finding.key for finding in client.verify(second)] == ["c/x_mask_00006_.png"]


def test_a_job_without_pictures_has_nothing_to_be_verified(client, keys):
    assert client.verify(finish(client, keys, image_output="Hide")) == []


def test_all_is_missing_from_a_bucket_that_was_emptied(client, keys, shelf, run_rmbg):
    job = finish(client, keys)
    shelf.delete(*shelf.etags())

    done = run_rmbg("verify", job)

    assert done.returncode == 1
    assert {line.split(b"\t")[0] for line in done.stdout.splitlines()} == {b"missing"}
    assert len(done.stdout.splitlines()) == 2 * COUNT
