"""The job of `rmbg run`: submitted, joined, watched and downloaded, with a scripted worker."""

import hashlib
import os
import time

import pytest

from producer.local.images import scan, upload
from producer.local.run import _Run
from producer.local.space import LEAST_BYTES, Space
from producer.submission.options import JobOptions
from producer.submission.outputs import choose_outputs
from shared.errors import InvalidOption
from shared.job.keys import asset_folder
from shared.job.spec import JobState

pytestmark = pytest.mark.integration

IMAGES = 40
"""They make 3 tickets, as no worker's rate is known."""
LATEST_S = 30


@pytest.fixture
def src(tmp_path):
    folder = tmp_path / "src"
    folder.mkdir()
    for n in range(IMAGES):
        (folder / f"{n:02}.jpg").write_bytes(b"image")
    return folder


@pytest.fixture
def free_bytes():
    """The free space of the disk, in a list; a test changes it."""
    return [LEAST_BYTES]


@pytest.fixture
def started(src, tmp_path, services, free_bytes):
    """Start a run over the images as they are now; return it and its job."""

    def start(**options):
        folder = scan(src, without=tmp_path / "out")
        uploaded = upload(folder, services.objects, services.settings.output_bucket)
        space = Space(tmp_path, free_bytes=lambda _: free_bytes[0])
        run = _Run(services, folder, tmp_path / "out", JobOptions(**options), space)
        return run, run._submit(uploaded.digest)

    return start


def change(src):
    """Give an image other bytes of the same length, with the same time."""
    time_ns = (src / "00.jpg").stat().st_mtime_ns
    (src / "00.jpg").write_bytes(b"IMAGE")
    os.utime(src / "00.jpg", ns=(time_ns, time_ns))


def test_a_resumed_run_joins_its_job(started, services):
    _, first = started()

    _, second = started()

    assert second == first
    assert services.jobs.queries.status(first).state is JobState.RUNNING


def test_a_run_uses_the_image_beside_the_recipe_and_a_path_below_its_folder(
    started, tmp_path, services
):
    (tmp_path / "recipes").mkdir()
    wood = tmp_path / "recipes/wood.png"
    for name, background in (("beside", "wood.png"), ("below", "00.jpg")):
        path = tmp_path / f"recipes/{name}.toml"
        path.write_text(f'format = "jpg"\nbackground = "{background}"\n')
    outputs = [str(tmp_path / f"recipes/{name}.toml") for name in ("beside", "below")]
    images = {}
    for data in (b"oak", b"oak", b"pine"):
        wood.write_bytes(data)
        _, job_id = started(outputs=choose_outputs(outputs))
        folder = services.objects.list(services.settings.output_bucket, asset_folder(job_id))
        images[job_id] = {found.key.rpartition("/")[2] for found in folder}

    below = hashlib.sha256(b"image").hexdigest()
    assert list(images.values()) == [
        {hashlib.sha256(data).hexdigest(), below} for data in (b"oak", b"pine")
    ]


def test_a_run_over_other_images_cancels_the_unfinished_job_of_an_earlier_one(
    started, src, services, hand
):
    """Its tickets would be processed first, and nobody waits for them."""
    _, first = started()
    change(src)

    _, second = started()
    ended = hand.run(second)

    assert (ended.state, ended.done) == (JobState.DONE, IMAGES)
    assert hand.run(first).done == 0
    assert services.jobs.queries.status(first).state is JobState.CANCELLED


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_run_whose_job_was_cancelled_by_another_run_can_be_repeated(
    started, services, hand, has_ended
):
    """For example with the first options again after others; a cancelled job is never joined."""
    _, first = started(save_prefix="one")
    hand.step()
    _, other = started(save_prefix="two")
    if has_ended:
        hand.run(first)

    _, again = started(save_prefix="one")

    assert again != first
    assert hand.run(again).done == IMAGES
    assert services.jobs.queries.status(other).state is not JobState.RUNNING


def test_a_job_whose_items_have_all_ended_is_joined(started, services, hand):
    _, first = started()
    while services.jobs.queries.status(first).state is JobState.RUNNING:
        hand.step()

    _, second = started()

    assert second == first


def test_an_image_that_cannot_be_written_ends_the_run_at_once(started, tmp_path, services, hand):
    """The job may go on for hours, and a full disk stays full."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/cutout").write_bytes(b"in the way")
    run, job_id = started()
    started_at = time.monotonic()

    def keep_alive(ended):
        assert time.monotonic() < started_at + LATEST_S, "the job goes on"
        if not ended:
            hand.begin(1)  # no other record comes that would raise the error

    with pytest.raises(InvalidOption, match=r"cannot write .*/out/cutout/"):
        run._watch(job_id, run._collector(job_id), keep_alive)

    assert services.jobs.queries.status(job_id).state is JobState.RUNNING


def test_a_full_disk_ends_the_run_at_once(started, services, hand, free_bytes):
    """No server says so: the job would wait, or its images would fail."""
    run, job_id = started()

    def keep_alive(ended):
        assert not ended, "the job goes on"
        hand.begin(1)
        free_bytes[0] = LEAST_BYTES - 1

    with pytest.raises(InvalidOption, match="no space left in OUT_DIR"):
        run._watch(job_id, run._collector(job_id), keep_alive)

    assert services.jobs.queries.status(job_id).state is JobState.RUNNING


def test_all_images_are_downloaded_when_the_job_has_ended(started, tmp_path, hand):
    run, job_id = started()

    status = run._watch(job_id, run._collector(job_id), lambda ended: hand.step())

    assert status.state is JobState.DONE
    assert len(list((tmp_path / "out/cutout").iterdir())) == IMAGES
    assert len(list((tmp_path / "out/mask").iterdir())) == IMAGES
