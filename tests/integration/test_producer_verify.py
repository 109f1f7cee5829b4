"""`rmbg verify` against a real bucket, with and without `--repair`."""

import json
import uuid
from functools import partial

import pytest
from support.command import rmbg
from support.servers import own_environment
from support.workers import MODEL, WorkerProcess

from producer.client import Client
from shared.job.options import PictureOptions
from shared.job.spec import JobState
from shared.objects import S3Store
from shared.settings import ServiceSettings

pytestmark = pytest.mark.integration

BUCKET = "verified"
COUNT = 12


class Bucket:
    """The methods of `S3Store` for one bucket."""

    def __init__(self, settings):
        self._store = S3Store(settings.objects)
        self._bucket = settings.output_bucket

    def put(self, key, data, metadata=None):
        self._store.put(self._bucket, key, data, content_type="image/png", metadata=metadata)

    def overwrite(self, key, data, **changes):
        """Replace the object's bytes and keep its metadata, except for *changes*."""
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
    with own_environment(servers, BUCKET) as own:
        yield own


@pytest.fixture(scope="module")
def client(env):
    """A client, with a worker that serves its jobs."""
    process = WorkerProcess(env, quick=True).wait_ready()
    yield Client(ServiceSettings.from_env(env))
    process.close()


@pytest.fixture
def run_rmbg(env):
    return partial(rmbg, env=env)


@pytest.fixture(scope="module")
def contents(env):
    return Bucket(ServiceSettings.from_env(env))


@pytest.fixture(autouse=True)
def clean(contents):
    """Start each test with only the source images in the shared bucket."""
    contents.delete(*contents.etags(""))
    for n in range(COUNT):
        contents.put(f"in/{n:02}", b"%d" % n)


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


def test_an_intact_job_has_no_faults(client, keys, run_rmbg):
    job = finish(client, keys)

    for args in ((), ("--deep",), ("--json",), ("--repair",)):
        done = run_rmbg("verify", job, *args)
        assert (done.returncode, done.stdout) == (0, b""), done
        assert f"checked {2 * COUNT} outputs" in done.stderr.decode()
    assert client.status(job).generation == 1


def test_outputs_are_found_in_any_listing_order(client, run_rmbg, contents):
    """The embedded store lists the folder `a/` before `a-` and `a.`, S3 lists it after them."""
    keys = ["in/a.jpg", "in/a-b", "in/a/b", "in/a/b.jpg", "in/a.b/c"]
    for key in keys:
        contents.put(key, key.encode())
    job = finish(client, keys)

    done = run_rmbg("verify", job)

    assert (done.returncode, done.stdout) == (0, b""), done


def test_missing_damaged_and_extra_outputs_are_found_and_repaired(client, keys, run_rmbg, contents):
    """Both outputs of a faulty image are written again; all other outputs stay unchanged."""
    job = finish(client, [*keys, "in/absent"])
    before = client.status(job)
    lost, damaged, extra = "out/mask/in/03.png", "out/cutout/in/05.png", "out/mask/in/99.png"
    untouched = {
        key: tag for key, tag in contents.etags().items() if key[-6:] not in ("03.png", "05.png")
    }
    contents.delete(lost)
    contents.overwrite(damaged, b"damaged")
    metadata = contents.metadata("out/mask/in/07.png")
    contents.put(extra, b"more", metadata)
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
    assert contents.data(damaged) != b"damaged"
    contents.delete(extra)
    assert client.verify(job, deep=True) == []
    assert untouched.items() <= contents.etags().items()


def test_an_output_with_consistent_metadata_but_another_size_is_replaced(client, keys, contents):
    """The object's metadata alone show no damage; the size in the record does."""
    job = finish(client, keys)
    key = "out/cutout/in/01.png"
    contents.overwrite(key, b"painted over by hand", **{"rmbg-bytes": "20"})

    [finding] = client.verify(job, repair=True)
    client.wait(job, 60)

    assert (finding.fault, finding.key) == ("damaged", key)
    assert contents.data(key) != b"painted over by hand"
    assert client.verify(job) == []


@pytest.mark.parametrize("existing", ["replace", "keep", "fail"])
def test_repair_replaces_the_job_s_own_outputs_for_every_value_of_existing(
    client, keys, contents, existing
):
    job = finish(client, keys, existing=existing, save_prefix=existing)
    key = f"{existing}/mask/in/01.png"
    contents.overwrite(key, b"damaged", **{"rmbg-params": "0" * 16})

    assert [finding.key for finding in client.verify(job, repair=True)] == [key]
    assert client.wait(job, 60).failed == 0

    assert client.verify(job, deep=True) == []
    assert contents.data(key) != b"damaged"


def test_only_a_deep_check_finds_other_parameters(client, keys, contents):
    job = finish(client, keys)
    key = "out/cutout/in/01.png"
    contents.overwrite(key, contents.data(key), **{"rmbg-params": "0" * 16})

    assert client.verify(job) == []
    [finding] = client.verify(job, deep=True)
    assert (finding.fault, finding.key) == ("damaged", key)
    assert "parameters" in finding.reason


def test_outputs_of_other_jobs_are_not_faults(client, keys, contents):
    """A later job replaced them, an earlier one wrote them, or they only share the prefix."""
    earlier = finish(client, keys[:2])
    kept = finish(client, keys[:4], existing="keep", pictures=PictureOptions(png="small"))
    assert {record.existing for record in client.results(kept)} == {"kept", None}
    finish(client, keys[1:6], pictures=PictureOptions(truncated="accept"))
    contents.overwrite("out/mask/in/00.png", b"not checked for the job that kept it")

    assert client.verify(kept, deep=True) == []
    assert [finding.key for finding in client.verify(earlier)] == ["out/mask/in/00.png"]


def test_numbered_outputs_of_several_jobs_are_told_apart(client, keys, contents):
    first = finish(client, keys[:3], naming="comfyui", save_prefix="c/x")
    second = finish(client, keys[:3], naming="comfyui", save_prefix="c/x", prompt=1)
    contents.delete("c/x_00002_.png", "c/x_mask_00006_.png")

    assert [finding.key for finding in client.verify(first)] == ["c/x_00002_.png"]
    assert [finding.key for finding in client.verify(second)] == ["c/x_mask_00006_.png"]


def test_a_job_without_outputs_has_no_faults(client, keys):
    assert client.verify(finish(client, keys, image_output="Hide")) == []


def test_every_output_is_missing_from_an_empty_bucket(client, keys, contents, run_rmbg):
    job = finish(client, keys)
    contents.delete(*contents.etags())

    done = run_rmbg("verify", job)

    assert done.returncode == 1
    assert {line.split(b"\t")[0] for line in done.stdout.splitlines()} == {b"missing"}
    assert len(done.stdout.splitlines()) == 2 * COUNT
