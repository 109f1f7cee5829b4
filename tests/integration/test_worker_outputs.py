"""Several outputs of an image, and a worker that is killed between two of them."""

from urllib.parse import urlsplit

import pytest
from support.pictures import encoded, photo
from support.s3_recorder import S3Recorder
from support.workers import MODEL, WorkerProcess

from producer.client import Client
from shared.objects import S3Store
from shared.recipes import Recipe

pytestmark = pytest.mark.integration

OUTPUTS = (
    Recipe(name="tile", format="webp", longest_px=32),
    Recipe(name="banner", format="jpg", widths=(8, 16), background="white"),
    "cutout",
)
WAIT_S = 120


ORDER = ["mask", "tile", "banner/8", "banner/16", "cutout"]
"""The files of an image in the order in which they are written."""


@pytest.fixture
def recorder(service_env):
    with S3Recorder(urlsplit(service_env["RMBG_S3_ENDPOINT"]).port) as running:
        yield running


@pytest.fixture
def start(service_env, recorder):
    """Start workers whose requests to S3 are recorded."""
    running = []

    def start():
        running.append(WorkerProcess({**service_env, "RMBG_S3_ENDPOINT": recorder.endpoint}))
        return running[-1]

    yield start
    for worker in running:
        worker.close()


@pytest.fixture
def client(service_settings, bucket):
    """A client, with one image in the bucket."""
    store = S3Store(service_settings.objects)
    store.put(bucket, "a.jpg", encoded(photo(60, 40), "JPEG"), content_type="image/jpeg")
    return Client(service_settings)


def outputs_put(recorder):
    """Return the outputs that were sent to the store, in their order."""
    puts = [path for path in recorder.paths("PUT") if "/out/" in path]
    return [next(kind for kind in ORDER if f"/out/{kind}/" in path) for path in puts]


@pytest.mark.parametrize(
    ("killed_at", "missing"),
    [
        ("tile", ["tile", "banner/8", "banner/16", "cutout"]),
        ("banner/8", ["banner/8", "banner/16", "cutout"]),
        # All widths of an output are made again if one is missing.
        ("banner/16", ["banner/8", "banner/16", "cutout"]),
        ("cutout", ["cutout"]),
    ],
)
def test_only_outputs_that_a_killed_worker_did_not_write_are_sent(
    start, recorder, client, killed_at, missing
):
    recorder.holds = lambda method, path: method == "PUT" and f"/out/{killed_at}/" in path
    job_id = client.submit(["a.jpg"], rem_mode=MODEL, save_prefix="out", outputs=OUTPUTS)
    first = start()
    assert recorder.held.wait(WAIT_S)
    first.kill()
    assert outputs_put(recorder) == ORDER[: ORDER.index(killed_at) + 1]

    recorder.holds = lambda *_: False
    recorder.requests.clear()
    start()
    status = client.wait(job_id, WAIT_S)

    assert (status.done, status.failed) == (1, 0)
    assert outputs_put(recorder) == missing
    [record] = client.results(job_id)
    assert (record.mask, sorted(record.outputs)) == ("reused", ["banner", "tile"])
    assert client.verify(job_id, deep=True) == []
