"""Malformed messages in a queue: the worker drops each of them and serves the next ticket."""

import base64
import json

import pytest
import redis
from support.until import until
from support.workers import MODEL, WorkerProcess

from producer.client import Client
from shared.broker.app import TASK
from shared.broker.queues import BULK
from shared.job.spec import JobState
from shared.objects import S3Store

pytestmark = pytest.mark.integration

HEADERS = {"task": TASK, "id": "x", "root_id": "x", "lang": "py", "parent_id": None, "group": None}
PLACE = {"exchange": "", "routing_key": BULK}
ENCODED = {"body_encoding": "base64", "delivery_info": PLACE}


def envelope(tag, **changes):
    """Return a Celery message with *changes* applied; its arguments are not a valid ticket."""
    message = {
        "body": base64.b64encode(b'[["j", "0-1"], {}, {}]').decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": HEADERS,
        "properties": {"delivery_tag": tag, "correlation_id": "x", **ENCODED},
    }
    return json.dumps(message | changes).encode()


NOT_JSON = [
    b"garbage",
    b"\xff\xfe\x00",
    b"[" * 200_000,
    b'{"__type__": [], "__value__": 1}',
    b'{"__type__": "bytes", "__value__": 5}',
    b'{"__type__": "decimal", "__value__": "x"}',
]
NOT_A_MESSAGE = [
    b"5",
    b"[]",
    b"null",
    b"{}",
    envelope("t0", properties={}),
    envelope("t1", body="%%%"),
    envelope("t2", properties={"delivery_tag": "t2", "body_encoding": "base64"}),
    envelope("t3", properties={"delivery_tag": "t3", **ENCODED, "body_encoding": "rot13"}),
    envelope("t4", properties={"delivery_tag": {}, **ENCODED}),
    envelope(None),
    envelope("t5", headers={"task": [], "id": "x"}),
    envelope("t6", headers={"task": TASK}),
    envelope(7, headers={"task": TASK}),
    envelope("t8", headers=[1]),
]
REFUSED_BY_CELERY = [
    envelope("t9", headers=None),
    envelope("t10", headers=HEADERS | {"task": "another"}),
    envelope("t11", headers=HEADERS | {"eta": "nonsense"}),
    envelope("t12", **{"content-encoding": "nope"}),
    envelope("t13"),
]


@pytest.fixture
def worker(service_env):
    running = WorkerProcess(service_env, quick=True)
    yield running.wait_ready()
    running.close()


def test_malformed_messages_are_dropped_and_the_same_worker_serves_the_next_job(
    worker, service_env, service_settings, bucket
):
    """Kombu alone would crash on most of them, and receive those that raise `KeyError` forever."""
    store, client = S3Store(service_settings.objects), Client(service_settings)
    keys = [f"in/{n}" for n in range(40)]
    for key in keys:
        store.put(bucket, key, key.encode(), content_type="image/jpeg")

    with redis.Redis.from_url(service_env["RMBG_REDIS_URL"]) as broker:
        for message in NOT_JSON + NOT_A_MESSAGE + REFUSED_BY_CELERY:
            broker.lpush(BULK, message)
        job_id = client.submit(keys, rem_mode=MODEL)
        status = client.wait(job_id, 120)
        until(lambda: broker.hlen("unacked") == 0)

    assert (status.state, status.done) == (JobState.DONE, len(keys))
    assert worker.process.poll() is None
    assert len(worker.said("message dropped")) == len(NOT_JSON + NOT_A_MESSAGE)
