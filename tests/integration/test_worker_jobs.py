"""Whole jobs through a real worker process: real queue and image code, a stand-in network."""

import io
import json
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import pytest
from celery import Celery
from kombu import Connection
from PIL import Image
from support.pictures import encoded, photo, plain
from support.report_page import data_in, rows_in
from support.servers import own_environment
from support.until import until
from support.workers import MODEL, WorkerProcess

from producer.client import Client
from shared.broker.app import TASK, depths, make_app
from shared.broker.queues import BULK
from shared.job.keys import report_key, results_key
from shared.job.spec import JobState
from shared.jobstore.store import JobStore
from shared.objects import S3Store
from shared.settings import ServiceSettings

pytestmark = pytest.mark.integration

BUCKET = "worker-jobs"


@pytest.fixture(scope="module")
def env(servers):
    with own_environment(servers, BUCKET) as own:
        yield own


@pytest.fixture(scope="module")
def settings(env):
    return ServiceSettings.from_env(env)


@pytest.fixture(scope="module")
def worker(env):
    process = WorkerProcess(env).wait_ready()
    yield process
    process.close()


@pytest.fixture
def client(settings, worker):
    return Client(settings)


@pytest.fixture(scope="module")
def objects(settings):
    return S3Store(settings.objects)


@pytest.fixture
def images(objects, request):
    """Upload images under a prefix of this test's own; return their keys."""
    prefix = f"in/{request.node.name}"

    def put(count, *, side=24):
        keys = [f"{prefix}/{n}.jpg" for n in range(count)]
        for n, key in enumerate(keys):
            data = encoded(photo(side + n, side, seed=n), "JPEG")
            objects.put(BUCKET, key, data, content_type="image/jpeg")
        return keys

    return put


def submit(client, keys, **options):
    return client.submit(keys, **{"rem_mode": MODEL, "save_prefix": "out"} | options)


def finish(client, job_id):
    status = client.wait(job_id, 120)
    assert status.state is JobState.DONE, status
    return status


def test_a_finished_job_has_outputs_records_and_a_report(client, images, objects):
    keys = images(40)

    job_id = submit(client, [*keys, "in/absent.jpg"], save_prefix="docs")
    status = finish(client, job_id)

    assert (status.done, status.failed) == (40, 1)
    assert status.error_classes == {"ObjectMissing": 1}
    assert sum(status.verdicts.values()) == 40
    lines = objects.get(BUCKET, results_key(job_id)).data.decode().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["image_key"] for record in records] == [*keys, "in/absent.jpg"]
    assert [record["index"] for record in records] == list(range(41))
    for n, record in enumerate(records[:40]):
        cutout = Image.open(io.BytesIO(objects.get(BUCKET, record["cutout_key"]).data))
        assert (cutout.mode, cutout.size) == ("RGBA", (24 + n, 24))
        assert record["cutout_key"] == f"docs/cutout/{record['image_key']}.png"
    page = objects.get(BUCKET, report_key(job_id)).data.decode()
    assert job_id in page
    assert [row["key"] for row in rows_in(page)].count("in/absent.jpg") == 1
    assert len(rows_in(page)) == 41
    assert len(data_in(page)["previews"]) == 40


def test_comfyui_names_continue_after_the_highest_existing_number(client, images, objects):
    keys = images(3)

    for prompt in range(2):
        job_id = submit(client, keys, naming="comfyui", save_prefix="count/x", prompt=prompt)
        finish(client, job_id)

    listed = [info.key for info in objects.list(BUCKET, "count/")]
    assert listed == sorted(
        f"count/x{part}_{n:05}_.png" for n in range(1, 7) for part in ("", "_mask")
    )


def test_a_preview_is_written_under_its_date(client, images, objects):
    job_id = submit(client, images(2), image_output="Preview")
    finish(client, job_id)

    day = datetime.now(UTC).date()
    for record in client.results(job_id):
        assert record.cutout_key == (
            f"_preview/{day}/{job_id}/easyPreview/cutout/{record.image_key}.png"
        )
        assert objects.head(BUCKET, record.cutout_key) is not None


def test_a_hidden_job_writes_no_images(client, images, objects):
    job_id = submit(client, images(2), image_output="Hide", save_prefix="hidden")

    finish(client, job_id)

    assert list(objects.list(BUCKET, "hidden")) == []
    records = list(client.results(job_id))
    assert [record.cutout_key for record in records] == [None, None]
    assert all(record.qc["verdict"] for record in records)


def test_remove_returns_the_record_of_one_image(client, images, objects):
    [key] = images(1)

    record = client.remove(key, rem_mode=MODEL, save_prefix="now", timeout_s=60)

    assert (record.state, record.image_key) == ("done", key)
    mask = Image.open(io.BytesIO(objects.get(BUCKET, record.mask_key).data))
    assert mask.size == (24, 24)


def test_jobs_of_two_models_run_side_by_side(client, images):
    keys = images(30)

    jobs = [
        submit(client, keys, rem_mode=model, save_prefix=f"two/{model}")
        for model in (MODEL, "RMBG-1.4")
    ]

    for job_id, model in zip(jobs, (MODEL, "RMBG-1.4"), strict=True):
        assert finish(client, job_id).done == 30
        assert {record.model for record in client.results(job_id)} == {model}


def test_a_retry_processes_failed_items_only(client, images, objects):
    keys = images(6)
    objects.delete(BUCKET, [keys[1], keys[4]])
    job_id = submit(client, keys, save_prefix="again")
    assert finish(client, job_id).failed == 2
    done = [record for record in client.results(job_id) if record.cutout_key]
    before = {record.index: objects.head(BUCKET, record.cutout_key) for record in done}
    objects.put(BUCKET, keys[1], encoded(photo(30, 30), "JPEG"), content_type="image/jpeg")

    assert client.retry(job_id) == 2
    status = finish(client, job_id)

    assert (status.done, status.failed, status.generation) == (5, 1, 2)
    records = list(client.results(job_id))
    assert [record.state for record in records] == ["done"] * 4 + ["failed", "done"]
    assert [record.attempts for record in records] == [1, 2, 1, 1, 2, 1]
    for index, info in before.items():
        assert objects.head(BUCKET, records[index].cutout_key) == info


def test_images_with_a_doubtful_mask_are_copied_for_review(client, objects):
    for n in range(2):
        bright = encoded(plain((255, 255, 255 - n), 20, 20), "PNG")
        objects.put(BUCKET, f"in/bright/{n}.png", bright, content_type="image/png")

    keys = [f"in/bright/{n}.png" for n in range(2)]
    job_id = submit(client, keys, review_prefix="look", save_prefix="doubt")
    finish(client, job_id)

    assert {r.qc["verdict"] for r in client.results(job_id)} <= {"review", "reject"}
    assert [info.key for info in objects.list(BUCKET, "look/")] == [f"look/{k}.png" for k in keys]


def test_each_image_gets_its_own_mask(client, images, objects):
    """Thirty images with different content share batches, and no mask goes to another image."""
    keys = images(30)
    job_id = submit(client, keys, save_prefix="own")
    finish(client, job_id)

    masks = set()
    for record in client.results(job_id):
        cutout = np.asarray(Image.open(io.BytesIO(objects.get(BUCKET, record.cutout_key).data)))
        mask = np.asarray(Image.open(io.BytesIO(objects.get(BUCKET, record.mask_key).data)))
        assert np.array_equal(cutout[..., 3], mask)
        assert mask.shape == (24, 24 + record.index)
        masks.add(mask.tobytes())
    assert len(masks) == 30


# --- messages that are not valid tickets


@pytest.fixture
def send(settings, worker):
    """Send a message to the bulk queue, as any client of Redis could."""
    app = make_app(settings.broker_url)
    yield lambda *args, **details: app.send_task(
        details.pop("name", TASK), args=args, queue=BULK, **details
    )
    app.close()


def assert_still_works(client, worker, images):
    """Check that the worker still runs and processes a job."""
    finish(client, submit(client, images(2), save_prefix="next"))
    assert worker.process.poll() is None


BAD_TICKETS = {
    "no arguments": (),
    "too many arguments": ("j", "0-1", 1, 2),
    "path traversal in the job id": ("../../etc/passwd", "0-1", 1),
    "invalid unit": ("j", "0-1; FLUSHALL", 1),
    "huge range": ("j", "0-99999999999999", 1),
    "reversed range": ("j", "9-1", 1),
    "epoch of the wrong type": ("j", "0-1", "1"),
    "objects": ({"a": 1}, [1], None),
}


@pytest.mark.parametrize("args", BAD_TICKETS.values(), ids=BAD_TICKETS)
def test_an_invalid_ticket_is_refused(client, worker, images, send, args):
    refused = len(worker.said("message refused"))

    send(*args)

    until(lambda: len(worker.said("message refused")) > refused)
    assert worker.process.poll() is None


def test_keyword_arguments_are_refused(client, worker, images, send):
    refused = len(worker.said("message refused"))

    send(kwargs={"job_id": "j", "unit": "0-1", "epoch": 1, "more": 1})
    until(lambda: len(worker.said("message refused")) > refused)
    send(kwargs={"self": 1})

    assert_still_works(client, worker, images)


def test_a_ticket_of_an_unknown_job_is_dropped(client, worker, images, send, settings):
    send("no-such-job", "0-4", 1)
    send("no-such-job", "merge", 1)

    assert_still_works(client, worker, images)
    app = make_app(settings.broker_url)
    until(lambda: depths(app)[BULK] == 0)
    app.close()


def test_an_unknown_task_is_dropped(client, worker, images, send):
    send(name="os.system")

    assert_still_works(client, worker, images)


def test_a_huge_message_is_dropped(client, worker, images, send):
    send("x" * 5_000_000, "0-1", 1)

    assert_still_works(client, worker, images)


def test_pickled_messages_are_never_unpickled(client, worker, images, settings, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    with Celery("evil", broker=settings.broker_url) as app:
        app.conf.update(task_serializer="pickle", accept_content=["pickle"])
        app.send_task(TASK, args=[Trap()], queue=BULK, serializer="pickle")

    assert_still_works(client, worker, images)
    assert not (tmp_path / "sprung").exists()


def test_a_body_that_is_not_json_is_dropped(client, worker, images, settings):
    with Connection(settings.broker_url) as connection:
        kinds = {"content_type": "application/json", "content_encoding": "utf-8"}
        connection.Producer().publish(b"\xff\xfe{{{", routing_key=BULK, **kinds)

    assert_still_works(client, worker, images)


def test_the_registry_describes_the_worker(worker, settings):
    with closing(JobStore.connect(settings.store_url)) as store:
        [info] = until(store.fleet.workers)

    assert (info.pid, info.slots) == (worker.pid, 3)
    assert info.serves(MODEL)
