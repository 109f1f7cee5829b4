"""Jobs under the rights and over the ways that `deploy/` and the operations guide recommend."""

import contextlib
import json
import ssl
import subprocess
from pathlib import Path

import pytest
import redis
from support.proxy import Proxy
from support.redis_server import RedisServer
from support.workers import MODEL, WorkerProcess

from producer.client import Client
from producer.local.servers import EmbeddedServers
from shared.errors import BucketUnavailable, RedisUnavailable
from shared.job.spec import JobState
from shared.objects import S3Store
from shared.settings import ServiceSettings

pytestmark = pytest.mark.integration

DEPLOY = Path(__file__).parents[2] / "deploy"
PASSWORD = "change-me"
"""As in `deploy/users.acl`."""


def run_small_job(env, *, sources=None):
    """Have a worker do a job of a few images, under *env*; return the client.

    *sources* writes them; by default, who does the job.
    """
    settings = ServiceSettings.from_env(env)
    store = sources or S3Store(settings.objects)
    keys = [f"in/{n}" for n in range(5)]
    for key in keys:
        store.put(settings.input_buckets[0], key, key.encode(), content_type="image/jpeg")
    client = Client(settings)
    worker = WorkerProcess(env, quick=True).wait_ready()
    try:
        job_id = client.submit(keys, rem_mode=MODEL)
        status = client.wait(job_id, 60)
        assert (status.state, status.done, status.failed) == (JobState.DONE, 5, 0)
        assert client.retry(job_id) == 0
        assert client.verify(job_id, deep=True) == []
        hidden = client.submit(keys, rem_mode=MODEL, image_output="Hide", save_prefix="h")
        client.cancel(hidden)
        client.wait(hidden, 60)
        assert client.remove(keys[0], rem_mode=MODEL, save_prefix="now").state == "done"
        assert len(client.jobs()) >= 3
        worker.terminate()
        assert worker.wait() == 0
    finally:
        worker.close()
    return client


# --- Redis


@pytest.fixture(scope="module")
def guarded_redis():
    """A Redis that knows nobody but the users of `deploy/users.acl`."""
    users = ("--aclfile", str(DEPLOY / "users.acl"))
    with RedisServer(options=users, login=f"rmbg:{PASSWORD}@") as server:
        yield server


def test_a_job_runs_through_as_the_user_of_the_acl(guarded_redis, service_env):
    url = guarded_redis.url.removesuffix("1") + "0"
    run_small_job(dict(service_env) | {"RMBG_REDIS_URL": url})


@pytest.mark.parametrize(
    "command",
    [
        *("FLUSHALL", "FLUSHDB", "CONFIG GET *", "KEYS *", "SHUTDOWN", "MONITOR"),
        *("ACL LIST", "CLIENT KILL TYPE normal", "REPLICAOF no one", "SAVE", "SWAPDB 0 1"),
        *("SET other 1", "GET other", "EVAL return(redis.call('get','other')) 0"),
        *("EVAL return(redis.call('keys','*')) 0", "PUBLISH channel 1", "MODULE LIST"),
    ],
)
def test_the_user_of_the_acl_may_do_no_more_than_it_must(guarded_redis, command):
    with (
        redis.Redis.from_url(guarded_redis.url) as client,
        pytest.raises(redis.exceptions.ResponseError, match=r"(?i)permission|noperm|can't access"),
    ):
        client.execute_command(*command.split(" "))


@pytest.mark.parametrize("user", ["", f":{PASSWORD}@", "rmbg:wrong@", "default:@"])
def test_nobody_else_is_let_in(guarded_redis, user):
    settings = ServiceSettings.from_env(
        {"RMBG_REDIS_URL": f"redis://{user}127.0.0.1:{guarded_redis.port}/0"}
    )

    with pytest.raises(RedisUnavailable, match=r"(?i)auth|password"):
        Client(settings).jobs()


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that vouches for itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "certificate.pem", folder / "key.pem"
    made_by = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    named = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    places = ["-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run([*made_by, *named, *places], check=True, capture_output=True)
    return files


@pytest.fixture
def tls_way(redis_server, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with Proxy(redis_server.port, tls=context) as way:
        yield f"rediss://127.0.0.1:{way.port}/0"


def test_a_job_runs_through_over_tls(tls_way, certificate, service_env):
    url = f"{tls_way}?ssl_cert_reqs=required&ssl_ca_certs={certificate[0]}"
    run_small_job(dict(service_env) | {"RMBG_REDIS_URL": url})


def test_a_certificate_that_nobody_vouches_for_is_refused(tls_way):
    settings = ServiceSettings.from_env({"RMBG_REDIS_URL": tls_way})

    with pytest.raises(RedisUnavailable, match=r"(?i)certificate"):
        Client(settings).jobs()


# --- S3


@contextlib.contextmanager
def limited_servers(folder):
    """Servers with identities as `deploy/s3-policy.json` has it, and one who brings the sources.

    SeaweedFS knows actions for buckets and prefixes of keys, and none to delete but "Write".
    """
    policy = json.loads((DEPLOY / "s3-policy.json").read_text())
    rights = {statement["Sid"]: statement["Action"] for statement in policy["Statement"]}
    assert rights["ReadInputs"] == ["s3:GetObject", "s3:ListBucket"]
    assert rights["WriteOutputs"] == ["s3:GetObject", "s3:ListBucket", "s3:PutObject"]
    identities = {
        "least": ("Read:inbox", "List:inbox", "Read:cutouts", "List:cutouts", "Write:cutouts"),
        "shop": ("Write:inbox",),
    }
    with EmbeddedServers(folder, identities=identities) as servers:
        yield servers


def test_a_job_runs_through_with_the_rights_of_the_policy_and_no_more(tmp_path):
    with limited_servers(tmp_path) as servers:
        env = servers.settings("least")
        settings = ServiceSettings.from_env(env)
        shop = ServiceSettings.from_env(servers.settings("shop"))

        run_small_job(env, sources=S3Store(shop.objects))

        own = S3Store(settings.objects)
        for forbidden in (
            lambda: own.put("inbox", "in/0", b"x", content_type="image/png"),
            lambda: own.delete("inbox", ["in/0"]),
        ):
            with pytest.raises(BucketUnavailable):
                forbidden()
        owner = S3Store(ServiceSettings.from_env(servers.settings()).objects)
        assert owner.get("inbox", "in/0").data == b"in/0"
