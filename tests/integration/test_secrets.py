"""Passwords, keys and signatures never appear in logs, errors, `repr` or records."""

import contextlib

import pytest
import redis
from support.command import complaint, rmbg
from support.redis_server import RedisServer
from support.until import until
from support.workers import MODEL, WorkerProcess

from producer.client import Client
from shared.errors import InvalidOption, RmbgError
from shared.job.spec import JobState
from shared.jobstore.store import JobStore
from shared.objects import S3Store
from shared.settings import ServiceSettings
from worker.settings import WorkerSettings

pytestmark = pytest.mark.integration

MARK = "s3cr3t"
"""Part of every secret in this module."""
REDIS_PASSWORD = f"{MARK}-redis-Pa55"
S3_KEY_ID = f"{MARK}KEYID"
S3_SECRET = f"{MARK}-s3-abc/def+ghi"
WRONG_S3 = {"RMBG_S3_ACCESS_KEY_ID": S3_KEY_ID, "RMBG_S3_SECRET_ACCESS_KEY": S3_SECRET}
SIGNED = ("X-Amz-", "Signature", "AWSAccessKeyId")
COMMANDS = [("submit", "--rem-mode", MODEL), ("jobs",), ("doctor",), ("verify", "j")]


@pytest.fixture(scope="module")
def guarded_redis():
    options = ("--requirepass", REDIS_PASSWORD)
    with RedisServer(options=options, login=f":{REDIS_PASSWORD}@") as server:
        yield server


@pytest.fixture
def redis_faults(guarded_redis):
    """Redis URLs that fail in different ways; each contains a secret."""
    good = guarded_redis.port
    return {
        "wrong password": f"redis://:{MARK}-wrong@127.0.0.1:{good}/0",
        "unknown user": f"redis://unknown:{MARK}-wrong@127.0.0.1:{good}/0",
        "no server": f"redis://:{REDIS_PASSWORD}@127.0.0.1:9/0",
        "no TLS": f"rediss://:{REDIS_PASSWORD}@127.0.0.1:{good}/0",
    }


FAULTS = ["wrong password", "unknown user", "no server", "no TLS"]
MALFORMED = [
    *(f"redis://default:{MARK}{letter}{MARK}@127.0.0.1/0" for letter in ("#", "/", "?", "[")),
    f"redis://default:12345#{MARK}@127.0.0.1/0",
    f"redis://:{MARK}",
    f"redis://127.0.0.1:9/0?password={REDIS_PASSWORD}",
    f"redis://127.0.0.1:9/0?{MARK}",
    "redis://127.0.0.1:9/0?nonsense=1",
    "redis://127.0.0.1:9/0?socket_timeout=x",
]
"""Redis URLs that are refused before anything connects; most contain a secret."""


def assert_no_secret(*texts):
    for text in texts:
        assert MARK not in text.lower(), text


def errors_of(err):
    """Yield the texts of an error and all its causes, as a traceback shows them."""
    while err is not None:
        yield f"{err!r} {err}"
        err = err.__cause__ or err.__context__


# --- settings


def test_settings_show_no_secret(tmp_path):
    env = WRONG_S3 | {
        "RMBG_REDIS_URL": f"redis://{MARK}-user:{REDIS_PASSWORD}@host/0",
        "RMBG_WEIGHTS_URL": f"https://u:{MARK}@mirror/",
        "HF_TOKEN": f"hf_{MARK}",
        "HOME": str(tmp_path),
    }
    for settings in (ServiceSettings.from_env(env), WorkerSettings.from_env(env)):
        assert_no_secret(repr(settings), str(settings))


@pytest.mark.parametrize(
    "changes",
    [
        {"RMBG_REDIS_URL": f"redis://u:{REDIS_PASSWORD}@host:port/0"},
        {"RMBG_REDIS_URL": f"http://u:{REDIS_PASSWORD}@host/0"},
        {"RMBG_REDIS_URL": f"redis://u:{REDIS_PASSWORD}@host/zero"},
        {"RMBG_S3_ENDPOINT": f"http://u:{S3_SECRET}@host"},
        {"RMBG_S3_SECRET_ACCESS_KEY": S3_SECRET},
        {"HF_TOKEN": f"hf_{MARK}\nX-Injected: 1"},
    ],
)
def test_errors_for_invalid_settings_contain_no_secret(changes):
    with pytest.raises(InvalidOption) as caught:
        ServiceSettings.from_env(changes)
    assert_no_secret(*errors_of(caught.value))


# --- producers


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_command_fails_without_showing_secrets_if_redis_fails(
    command, fault, redis_faults, service_env
):
    env = dict(service_env) | {"RMBG_REDIS_URL": redis_faults[fault]}

    done = rmbg(*command, stdin=b"in/0", env=env)

    assert done.returncode == (1 if command == ("doctor",) else 3), done
    assert_no_secret(done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize("url", MALFORMED)
@pytest.mark.parametrize("command", COMMANDS[:2], ids=lambda command: command[0])
def test_a_malformed_redis_url_is_refused_in_one_line_without_secrets(command, url, service_env):
    done = rmbg(*command, stdin=b"in/0", env=dict(service_env) | {"RMBG_REDIS_URL": url})

    line = complaint(done)
    assert "RMBG_REDIS_URL" in line
    assert_no_secret(line)
    assert "12345" not in line
    if set("#/?") & set(url.partition("://")[2].rpartition("@")[0]):
        assert "holds an @ after a #, / or ?: percent-encode the password" in line


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:9"], ids=["wrong key", "no server"])
def test_a_command_fails_without_showing_secrets_if_s3_fails(service_env, endpoint):
    env = dict(service_env) | WRONG_S3 | ({"RMBG_S3_ENDPOINT": endpoint} if endpoint else {})

    for command in (("submit", "--rem-mode", MODEL), ("doctor",)):
        done = rmbg(*command, stdin=b"in/0", env=env)
        assert done.returncode == (1 if command == ("doctor",) else 3), done
        assert_no_secret(done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize("fault", FAULTS)
def test_errors_of_the_client_and_their_causes_contain_no_secret(fault, redis_faults, service_env):
    settings = ServiceSettings.from_env(dict(service_env) | {"RMBG_REDIS_URL": redis_faults[fault]})
    store = JobStore.connect(settings.store_url)

    for call in (Client(settings).jobs, store.queries.jobs):
        with pytest.raises(RmbgError) as caught:
            call()
        assert_no_secret(*errors_of(caught.value))


# --- workers


@contextlib.contextmanager
def worker_of(env, **order):
    worker = WorkerProcess(env, quick=True, **order)
    try:
        yield worker
    finally:
        worker.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_worker_logs_no_secret_if_redis_fails(fault, redis_faults, service_env):
    with worker_of(dict(service_env) | {"RMBG_REDIS_URL": redis_faults[fault]}) as worker:
        until(
            lambda: worker.process.poll() is not None or "Cannot connect" in "\n".join(worker.log),
            within_s=60,
        )
        assert_no_secret(*worker.log)


def test_a_worker_logs_no_secret_and_waits_if_s3_fails(service_env, service_settings):
    client = Client(service_settings)
    job_id = client.submit(["in/0"], rem_mode=MODEL)
    with worker_of(dict(service_env) | WRONG_S3) as worker:
        worker.wait_ready()
        until(lambda: worker.said("loop skips a round"), within_s=60)
        assert client.status(job_id).failed == 0
        assert_no_secret(*worker.log)


def test_records_documents_and_redis_contain_no_signed_link(service_env, service_settings, bucket):
    """Links are created on reading only: a valid link is a secret."""
    objects, client = S3Store(service_settings.objects), Client(service_settings)
    for n in range(3):
        objects.put(bucket, f"in/{n}", b"%d" % n, content_type="image/jpeg")
    with worker_of(service_env) as worker:
        job_id = client.submit([f"in/{n}" for n in range(3)], rem_mode=MODEL)
        assert client.wait(job_id, 60).state is JobState.DONE
        links = rmbg("results", job_id, "--links", env=dict(service_env)).stdout.decode()
        assert all(word in links for word in SIGNED[:2])
        texts = ["\n".join(worker.log)]

    texts += [
        objects.get(bucket, found.key).data.decode() for found in objects.list(bucket, "_jobs/")
    ]
    texts += [str(objects.head(bucket, found.key)) for found in objects.list(bucket, "ComfyUI/")]
    for number in (0, 1):
        with redis.Redis.from_url(service_env["RMBG_REDIS_URL"].replace("/0", f"/{number}")) as one:
            texts += [one.dump(key).decode("latin1") for key in one.scan_iter()]
    assert len(texts) > 15
    secret = service_settings.objects.secret_access_key
    assert not [text for text in texts for word in (*SIGNED, secret) if word in text]


# --- buckets


def test_the_producer_refuses_a_bucket_that_is_not_allowed(service_env):
    done = rmbg("submit", "--bucket", "private", "--rem-mode", MODEL, stdin=b"k", env=service_env)

    assert done.returncode == 2
    assert b"RMBG_INPUT_BUCKETS" in done.stderr


def test_a_worker_never_reads_a_bucket_that_is_not_allowed(service_env, service_settings, servers):
    """Anyone who can write to Redis can create any job. The job waits for corrected settings."""
    producer = Client(ServiceSettings.from_env(dict(service_env) | {"RMBG_INPUT_BUCKETS": "inbox"}))
    objects = S3Store(service_settings.objects)
    objects.put("inbox", "private", b"not for this worker", content_type="image/jpeg")
    job_id = producer.submit(["private"], rem_mode=MODEL)

    with worker_of(service_env) as worker:
        worker.wait_ready()
        until(lambda: (producer.status(job_id).waiting_for or "").startswith("bucket"), within_s=30)
        status = producer.status(job_id)
        assert "inbox" in status.waiting_for
        assert "RMBG_INPUT_BUCKETS" in status.waiting_for
        assert (status.done, status.failed) == (0, 0)
    with worker_of(service_env | {"RMBG_INPUT_BUCKETS": "inbox"}) as worker:
        assert producer.wait(job_id, 60).done == 1
