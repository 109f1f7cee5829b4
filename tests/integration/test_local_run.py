"""`rmbg run` between its servers and its worker: which job it makes, and how it sees to its end."""

import os
import time

import pytest

from producer.local.pictures import scan, upload
from producer.local.run import _Run
from producer.submission.options import JobOptions
from shared.errors import InvalidOption
from shared.job.spec import JobState

pytestmark = pytest.mark.integration

PICTURES = 40
"""3 tickets, as no worker's rate is known."""
LATEST_S = 30


@pytest.fixture
def src(tmp_path):
    folder = tmp_path / "src"
    folder.mkdir()
    for n in range(PICTURES):
        (folder / f"{n:02}.jpg").write_bytes(b"picture")
    return folder


@pytest.fixture
def started(src, tmp_path, services):
    """Starts a run over the pictures as they are now; returns it and its job."""

    def start(**options):
        folder = scan(src, without=tmp_path / "out")
        uploaded = upload(folder, services.objects, services.settings.output_bucket)
        run = _Run(services, folder, tmp_path / "out", JobOptions(**options))
        return run, run._submit(uploaded.digest)

    return start


def change(src):
    """Give a picture other bytes of the same length, and the same time."""
    time_ns = (src / "00.jpg").stat().st_mtime_ns
    (src / "00.jpg").write_bytes(b"PICTURE")
    os.utime(src / "00.jpg", ns=(time_ns, time_ns))


def test_a_resumed_run_joins_its_job(started, services):
    _, first = started()

    _, second = started()

    assert second == first
    assert services.jobs.queries.status(first).state is JobState.RUNNING


def test_a_run_over_other_pictures_cancels_what_an_earlier_one_left(started, src, services, hand):
    """Its tickets are in the queue first, and nobody waits for them any more."""
    _, first = started()
    change(src)

    _, second = started()
    ended = hand.run(second)

    assert (ended.state, ended.done) == (JobState.DONE, PICTURES)
    assert hand.run(first).done == 0
    assert services.jobs.queries.status(first).state is JobState.CANCELLED


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_run_that_was_cancelled_for_another_s_sake_can_be_made_again(
    started, services, hand, has_ended
):
    """Back to the first options after trying others; a cancelled job is never taken up."""
    _, first = started(save_prefix="one")
    hand.step()
    _, other = started(save_prefix="two")
    if has_ended:
        hand.run(first)

    _, again = started(save_prefix="one")

    assert again != first
    assert hand.run(again).done == PICTURES
    assert services.jobs.queries.status(other).state is not JobState.RUNNING


def test_a_job_that_has_all_but_its_documents_is_joined(started, services, hand):
    _, first = started()
    while services.jobs.queries.status(first).state is JobState.RUNNING:
        hand.step()

    _, second = started()

    assert second == first


def test_a_picture_that_cannot_be_written_ends_the_run_at_once(started, tmp_path, services, hand):
    """Not when the job has ended, hours later: a disk that is full stays so."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/cutout").write_bytes(b"in the way")
    run, job_id = started()
    begun_at = time.monotonic()

    def keep_alive(ended):
        assert time.monotonic() < begun_at + LATEST_S, "the job goes on"
        if not ended:
            hand.begin(1)  # no other record comes that could bring the failure along

    with pytest.raises(InvalidOption, match=r"out/cutout/.* cannot be written"):
        run._attend(job_id, keep_alive)

    assert services.jobs.queries.status(job_id).state is JobState.RUNNING


def test_pictures_are_here_when_the_job_has_ended(started, tmp_path, hand):
    run, job_id = started()

    status = run._attend(job_id, lambda ended: hand.step())

    assert status.state is JobState.DONE
    assert len(list((tmp_path / "out/cutout").iterdir())) == PICTURES
    assert len(list((tmp_path / "out/mask").iterdir())) == PICTURES
