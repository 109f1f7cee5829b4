"""Jobs with the access rights and connections that `deploy/` and the operations guide recommend."""

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
from shared.objects.memory import MemoryStore
from shared.probes import probe
from shared.settings import ServiceSettings

pytestmark = pytest.mark.integration

DEPLOY = Path(__file__).parents[2] / "deploy"
PASSWORD = "change-me"
"""As in `deploy/users.acl`."""


def run_small_job(env, *, sources=None):
    """Run jobs of a few images with the settings *env*; return the client.

    *sources* is the store that uploads the images; by default, one with the same credentials.
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
        status = client.wait(job_id, 120)
        assert (status.state, status.done, status.failed) == (JobState.DONE, 5, 0)
        assert client.retry(job_id) == 0
        assert client.verify(job_id, deep=True) == []
        hidden = client.submit(keys, rem_mode=MODEL, image_output="Hide", save_prefix="h")
        client.cancel(hidden)
        client.wait(hidden, 120)
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
    """A Redis server whose only users are those of `deploy/users.acl`."""
    users = ("--aclfile", str(DEPLOY / "users.acl"))
    with RedisServer(options=users, login=f"rmbg:{PASSWORD}@") as server:
        yield server


def test_the_user_of_the_acl_can_run_a_job(guarded_redis, service_env):
    url = guarded_redis.url.removesuffix("1") + "0"
    run_small_job(dict(service_env) | {"RMBG_REDIS_URL": url})


def test_the_user_of_the_acl_has_every_right_that_is_probed(guarded_redis):
    url = guarded_redis.url.removesuffix("1") + "0"
    settings = ServiceSettings.from_env({"HOME": "/nonexistent", "RMBG_REDIS_URL": url})

    found = [each for each in probe(settings, MemoryStore()) if each.is_fault]

    assert found == []


def test_the_user_of_the_acl_may_wait_until_a_job_is_on_disk(guarded_redis):
    """`WAITAOF` is newer than Redis 7.0, whose file must not name it."""
    with redis.Redis.from_url(guarded_redis.url) as client:
        assert client.waitaof(0, 0, 10) == [0, 0]


@pytest.mark.parametrize(
    "command",
    [
        *("FLUSHALL", "FLUSHDB", "CONFIG GET *", "KEYS *", "SHUTDOWN", "MONITOR"),
        *("ACL LIST", "CLIENT KILL TYPE normal", "REPLICAOF no one", "SAVE", "SWAPDB 0 1"),
        *("SET other 1", "GET other", "EVAL return(redis.call('get','other')) 0"),
        *("EVAL return(redis.call('keys','*')) 0", "PUBLISH channel 1", "MODULE LIST"),
    ],
)
def test_the_user_of_the_acl_can_run_no_other_commands(guarded_redis, command):
    with (
        redis.Redis.from_url(guarded_redis.url) as client,
        pytest.raises(redis.exceptions.ResponseError, match=r"(?i)permission|noperm|can't access"),
    ):
        client.execute_command(*command.split(" "))


@pytest.mark.parametrize("user", ["", f":{PASSWORD}@", "rmbg:wrong@", "default:@"])
def test_other_users_are_refused(guarded_redis, user):
    settings = ServiceSettings.from_env(
        {"RMBG_REDIS_URL": f"redis://{user}127.0.0.1:{guarded_redis.port}/0"}
    )

    with pytest.raises(RedisUnavailable, match=r"(?i)auth|password"):
        Client(settings).jobs()


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    paths = ["-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run([*command, *subject, *paths], check=True, capture_output=True)
    return files


@pytest.fixture
def tls_url(redis_server, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with Proxy(redis_server.port, tls=context) as proxy:
        yield f"rediss://127.0.0.1:{proxy.port}/0"


def test_a_job_runs_over_tls(tls_url, certificate, service_env):
    url = f"{tls_url}?ssl_cert_reqs=required&ssl_ca_certs={certificate[0]}"
    run_small_job(dict(service_env) | {"RMBG_REDIS_URL": url})


def test_an_untrusted_certificate_is_refused(tls_url):
    settings = ServiceSettings.from_env({"RMBG_REDIS_URL": tls_url})

    with pytest.raises(RedisUnavailable, match=r"(?i)certificate"):
        Client(settings).jobs()


# --- S3


@contextlib.contextmanager
def limited_servers(folder):
    """Servers with the rights of `deploy/s3-policy.json`, and an identity that uploads the images.

    SeaweedFS has actions per bucket and key prefix, and "Write" includes the right to delete.
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


def test_a_job_needs_no_more_rights_than_the_policy_grants(tmp_path):
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
