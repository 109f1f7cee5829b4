"""Masks of earlier jobs and of equal images: real servers and image code, a stand-in network."""

from collections import Counter

import pytest
from support.command import complaint, rmbg
from support.pictures import encoded, photo
from support.servers import own_environment
from support.workers import MODEL, WorkerProcess

from producer.client import Client
from shared.errors import InvalidOption, JobNotDone, UnknownJob
from shared.objects import S3Store
from shared.recipes import Recipe
from shared.settings import ServiceSettings

pytestmark = pytest.mark.integration

BUCKET = "rerender"
SHOP = Recipe(name="shop", format="jpg", longest_px=48, background="#ffffff")
TILE = Recipe(name="tile", format="webp", longest_px=32)
WAIT_S = 120


@pytest.fixture(scope="module")
def env(servers):
    with own_environment(servers, BUCKET) as own:
        yield own


@pytest.fixture(scope="module")
def worker(env):
    process = WorkerProcess(env).wait_ready()
    yield process
    process.close()


@pytest.fixture(scope="module")
def objects(env):
    return S3Store(ServiceSettings.from_env(env).objects)


@pytest.fixture(scope="module")
def client(env):
    return Client(ServiceSettings.from_env(env))


@pytest.fixture
def images(objects, request):
    """Keys of three images, and one that cannot be decoded."""
    keys = [f"in/{request.node.name}/{n}.jpg" for n in range(4)]
    for n, key in enumerate(keys):
        data = encoded(photo(60 + n, 40, seed=n), "JPEG") if n != 2 else b"no image"
        objects.put(BUCKET, key, data, content_type="image/jpeg")
    return keys


def run(client, job_id):
    """Wait for a job; return its records."""
    client.wait(job_id, WAIT_S)
    return list(client.results(job_id))


def submit(client, keys, **options):
    return client.submit(keys, **{"rem_mode": MODEL, "save_prefix": "out"} | options)


def masks(records):
    return [record.mask for record in records]


def passes(worker):
    return len(worker.said("batch done"))


def names(objects, prefix):
    return sorted(found.key for found in objects.list(BUCKET, prefix))


def bodies(objects, prefix):
    """Return the objects below *prefix* by the rest of their keys."""
    return {
        key.removeprefix(prefix): objects.get(BUCKET, key).data for key in names(objects, prefix)
    }


def test_outputs_of_a_done_job_are_made_without_the_network(client, worker, objects, images):
    first = submit(client, images, save_prefix="a")
    run(client, first)
    before = passes(worker)

    job_id = client.rerender(first, [SHOP, TILE])
    records = run(client, job_id)

    assert job_id != first
    assert passes(worker) == before
    assert masks(records) == ["reused", "reused", None, "reused"]
    assert [record.state for record in records] == ["done", "done", "failed", "done"]
    assert client.verify(job_id, deep=True) == []

    fresh = run(client, submit(client, images, save_prefix="b", outputs=[SHOP, TILE]))
    assert masks(fresh) == [None] * 4
    for output in ("shop", "tile"):
        assert bodies(objects, f"a/{output}/") == bodies(objects, f"b/{output}/") != {}


def test_numbered_outputs_keep_their_numbers(client, worker, objects, images):
    first = submit(client, images, save_prefix="n/x", naming="comfyui")
    run(client, first)

    records = run(client, client.rerender(first, [SHOP]))

    assert masks(records) == ["reused", "reused", None, "reused"]
    assert names(objects, "n/x_shop") == [f"n/x_shop_{n:05}_.jpg" for n in (1, 2, 4)]


def test_a_later_job_reuses_masks_below_its_own_prefix_only(client, worker, images):
    run(client, submit(client, images, save_prefix="c"))

    same = run(client, submit(client, images, save_prefix="c", outputs=[SHOP]))
    refused = submit(client, images, save_prefix="c", outputs=[TILE], reuse_masks=False)
    other = run(client, submit(client, images, save_prefix="d", outputs=[SHOP]))
    counted = submit(client, images, save_prefix="c/x", outputs=[SHOP], naming="comfyui")

    assert masks(same) == ["reused", "reused", None, "reused"]
    for records in (run(client, refused), other, run(client, counted)):
        assert masks(records) == [None] * 4


def test_the_network_runs_once_for_the_equal_images_of_a_job(client, worker, objects, images):
    data = objects.get(BUCKET, images[0]).data
    keys = [f"in/equal/{n}.jpg" for n in range(5)]
    for key in keys:
        objects.put(BUCKET, key, data, content_type="image/jpeg")

    first = run(client, submit(client, keys, save_prefix="equal"))
    again = run(client, submit(client, keys, save_prefix="again"))

    for records in (first, again):
        assert Counter(masks(records)) == {None: 1, "shared": 4}
    assert len(set(bodies(objects, "equal/").values())) == 2, "a mask and a cutout"
    assert bodies(objects, "equal/") == bodies(objects, "again/")


def test_the_command_prints_the_id_of_the_new_job(client, worker, env, images, objects):
    first = submit(client, images[:2], save_prefix="e")
    run(client, first)

    done = rmbg("rerender", first, "--output", "amazon-main", "--wait", env=dict(env))

    assert done.returncode == 0, done
    job_id = done.stdout.decode().strip()
    assert job_id != first
    assert masks(client.results(job_id)) == ["reused", "reused"]
    held_or_not = names(objects, "e/amazon-main/") + names(objects, "e/held/amazon-main/")
    assert len(held_or_not) == 2


def test_a_job_that_cannot_be_rendered_again_is_refused(client, worker, env, images):
    unknown = rmbg("rerender", "nobody", "--output", "amazon-main", env=dict(env))
    assert unknown.returncode == 2
    assert len(complaint(unknown).splitlines()) == 1
    with pytest.raises(UnknownJob):
        client.rerender("nobody", [SHOP])

    first = submit(client, images, save_prefix="f")
    run(client, first)
    for wrong in ([], ["mask"], ["cutout", SHOP], ["mask", SHOP]):
        with pytest.raises(InvalidOption, match="neither cutout nor mask"):
            client.rerender(first, wrong)


def test_a_running_job_is_refused(client, images):
    """No worker knows its model, so it waits."""
    running = submit(client, images, save_prefix="g", rem_mode="RMBG-1.4")

    with pytest.raises(JobNotDone, match="only a done job"):
        client.rerender(running, [SHOP])

    client.cancel(running)
