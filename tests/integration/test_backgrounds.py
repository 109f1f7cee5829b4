"""Images as backgrounds of outputs: real servers and image code, a stand-in network."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image
from support.command import complaint, rmbg
from support.pictures import encoded, photo
from support.servers import own_environment
from support.workers import MODEL, WorkerProcess

from producer.client import Client
from shared.errors import InvalidRecipe, JobConflict, NoKeys
from shared.job.keys import asset_folder, asset_key
from shared.objects import S3Store
from shared.recipes import Recipe
from shared.settings import ServiceSettings

pytestmark = pytest.mark.integration

BUCKET = "backgrounds"
WAIT_S = 120
TILE = Recipe(name="tile", format="webp", longest_px=32)


@pytest.fixture(scope="module")
def env(servers):
    with own_environment(servers, BUCKET) as own:
        yield own


@pytest.fixture
def worker(env):
    """A worker that knows no image yet."""
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
    """Keys of two images."""
    keys = [f"in/{request.node.name}/{n}.jpg" for n in range(2)]
    for n, key in enumerate(keys):
        data = encoded(photo(60 + n, 40, seed=n), "JPEG")
        objects.put(BUCKET, key, data, content_type="image/jpeg")
    return keys


def plain(colour):
    """Return an image of one colour."""
    return encoded(np.full((30, 50, 3), colour, np.uint8), "PNG")


def sha256_of(data):
    return hashlib.sha256(data).hexdigest()


GREEN, BLUE = plain((0, 250, 0)), plain((0, 0, 250))


@pytest.fixture
def green(objects, request):
    """Key of a green image."""
    key = f"bg/{request.node.name}.png"
    objects.put(BUCKET, key, GREEN, content_type="image/png")
    return key


def shop(background):
    return Recipe(name="shop", format="png", size=64, fill=0.2, background=background)


def submit(client, keys, **options):
    return client.submit(keys, **{"rem_mode": MODEL, "save_prefix": "out"} | options)


def run(client, job_id):
    """Wait for a job; return its records."""
    client.wait(job_id, WAIT_S)
    return list(client.results(job_id))


def names(objects, prefix):
    return sorted(found.key for found in objects.list(BUCKET, prefix))


def corner(objects, key):
    """Return the colour of an object's first pixel."""
    image = Image.open(io.BytesIO(objects.get(BUCKET, key).data))
    return image.convert("RGB").getpixel((0, 0))


def test_a_key_is_copied_at_submission_and_a_change_of_the_object_changes_nothing(
    client, objects, images, green, env
):
    job_id = submit(client, images, save_prefix="a", outputs=[shop(green), TILE])
    objects.put(BUCKET, green, BLUE, content_type="image/png")
    worker = WorkerProcess(env).wait_ready()
    try:
        records = run(client, job_id)
        assert [record.state for record in records] == ["done", "done"]
    finally:
        worker.close()

    assert names(objects, asset_folder(job_id)) == [asset_key(job_id, sha256_of(GREEN))]
    assert any(key.endswith(f"/{job_id}") for key in names(objects, "_jobs/.ended/"))
    for key in images:
        assert corner(objects, f"a/shop/{key}.png") == (0, 250, 0)
    assert client.verify(job_id, deep=True) == []


def test_a_changed_image_is_another_job_and_an_equal_one_the_same(
    client, worker, objects, images, green
):
    first = submit(client, images, save_prefix="b", outputs=[shop(green)])
    again = submit(client, images, save_prefix="b", outputs=[shop(f"s3://{BUCKET}/{green}")])
    objects.put(BUCKET, green, BLUE, content_type="image/png")
    changed = submit(client, images, save_prefix="b", outputs=[shop(green)])

    assert again == first != changed
    run(client, first)
    run(client, changed)
    assert corner(objects, f"b/shop/{images[0]}.png") == (0, 0, 250)


def test_a_submission_that_fails_or_joins_leaves_no_copy(client, worker, objects, images, green):
    before = names(objects, "_jobs/")
    with pytest.raises(NoKeys):
        submit(client, [], outputs=[shop(green)])
    with pytest.raises(InvalidRecipe, match=r"output shop: background bg/none\.png: .*not found"):
        submit(client, images, outputs=[shop("bg/none.png")])
    assert names(objects, "_jobs/") == before

    submit(client, images, save_prefix="c", outputs=[shop(green)], job_id="chosen")
    joined = submit(client, images, save_prefix="c", outputs=[shop(green)], job_id="chosen")
    with pytest.raises(JobConflict, match=r"different: outputs\.tile"):
        submit(client, images, save_prefix="c", outputs=[shop(green), TILE], job_id="chosen")
    objects.put(BUCKET, green, BLUE, content_type="image/png")
    with pytest.raises(JobConflict, match=r"different: outputs\.shop\.background"):
        submit(client, images, save_prefix="c", outputs=[shop(green)], job_id="chosen")

    assert joined == "chosen"
    assert names(objects, asset_folder("chosen")) == [asset_key("chosen", sha256_of(GREEN))]
    run(client, "chosen")

    derived = submit(client, images, save_prefix="c", outputs=[shop(green)])
    assert submit(client, images, save_prefix="c", outputs=[shop(green)]) == derived
    folders = [key for key in names(objects, "_jobs/") if key.endswith(sha256_of(BLUE))]
    assert [key for key in folders if key.startswith(f"_jobs/{derived[:12]}")] == [
        asset_key(derived, sha256_of(BLUE))
    ]
    run(client, derived)


def test_rerender_copies_the_images_of_its_own_recipes(client, worker, objects, images, green):
    first = submit(client, images, save_prefix="d", outputs=[TILE])
    run(client, first)

    job_id = client.rerender(first, [shop(green)])
    records = run(client, job_id)

    assert [record.mask for record in records] == ["reused", "reused"]
    assert names(objects, asset_folder(job_id)) == [asset_key(job_id, sha256_of(GREEN))]
    assert corner(objects, f"d/shop/{images[1]}.png") == (0, 250, 0)


def test_a_lost_copy_fails_its_outputs_only_and_retry_and_repair_use_it_again(
    client, objects, images, green, env
):
    job_id = submit(client, images, save_prefix="e", outputs=[shop(green), TILE])
    key = asset_key(job_id, sha256_of(GREEN))
    objects.delete(BUCKET, [key])
    worker = WorkerProcess(env).wait_ready()
    try:
        for record in run(client, job_id):
            assert (record.state, record.error["class"]) == ("failed", "RenderFailed")
            told = f"output shop cannot be rendered: the background image {BUCKET}/{key}"
            assert record.error["reason"].startswith(told)
        assert len(names(objects, "e/tile/")) == 2
        assert names(objects, "e/shop/") == []

        objects.put(BUCKET, key, BLUE, content_type="image/png")
        assert client.retry(job_id) == 2
        assert all("is damaged" in record.error["reason"] for record in run(client, job_id))

        objects.put(BUCKET, key, GREEN, content_type="image/png")
        assert client.retry(job_id) == 2
        assert [record.state for record in run(client, job_id)] == ["done", "done"]
        assert client.verify(job_id, deep=True) == []

        objects.delete(BUCKET, [f"e/shop/{images[0]}.png"])
        assert len(client.verify(job_id, repair=True)) == 1
        run(client, job_id)
        assert corner(objects, f"e/shop/{images[0]}.png") == (0, 250, 0)
    finally:
        worker.close()


def test_the_command_takes_a_file_beside_the_recipe(worker, env, objects, images, tmp_path):
    (tmp_path / "green.png").write_bytes(GREEN)
    (tmp_path / "shop.toml").write_text('size = 64\nfill = 0.2\nbackground = "green.png"\n')
    keys = "\n".join(images).encode()
    command = ("submit", "--keys", "-", "--rem-mode", MODEL, "--save-prefix", "f", "--wait")

    done = rmbg(*command, "--output", f"{tmp_path}/shop.toml", env=env, stdin=keys)

    assert done.returncode == 0, done
    assert corner(objects, f"f/shop/{images[0]}.png") == (0, 250, 0)

    (tmp_path / "shop.toml").write_text('size = 64\nbackground = "pine.png"\n')
    refused = rmbg(*command[:-1], "--output", f"{tmp_path}/shop.toml", env=env, stdin=keys)
    assert "output shop: background pine.png:" in complaint(refused)
