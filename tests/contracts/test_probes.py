"""What the probes find on real servers that are set up wrongly, and that they leave nothing."""

from __future__ import annotations

import re
import socket
import time

import pytest
from support.canned import canned, error, found
from support.redis_server import RedisServer

from shared.errors import BucketUnavailable, ServiceUnfit, StoreUnavailable
from shared.jobstore import loader, trial
from shared.objects import PreconditionFailed, S3Store, StoreWrapper
from shared.objects.memory import MemoryStore
from shared.probes import Level, probe, require
from shared.settings import ServiceSettings

pytestmark = pytest.mark.integration

ACCEPTS_LOSS = {"RMBG_ALLOW_EVICTION": "1"}
EVICTING = ("--maxmemory", "200mb", "--maxmemory-policy", "allkeys-lru")


def settings_of(server, database=0, **env):
    url = f"redis://{server.login}127.0.0.1:{server.port}/{database}"
    return ServiceSettings.from_env({"HOME": "/nonexistent", "RMBG_REDIS_URL": url} | env)


def found_in(settings, objects=None):
    """Return level and sentence of everything that is not in order."""
    findings = probe(settings, objects or MemoryStore())
    return [
        (found.subject, found.level, found.detail)
        for found in findings
        if found.level is not Level.OK and not found.subject.startswith("worker")
    ]


def of_redis(server, **env):
    return found_in(settings_of(server, **env))


@pytest.fixture
def start():
    """Start Redis servers with options; they stop at the end of the test."""
    servers = []

    def run(*options, **arguments):
        servers.append(RedisServer(options=options, append_only=True, **arguments))
        servers[-1].start()
        return servers[-1]

    yield run
    for server in servers:
        server.__exit__()


# --- Redis


def test_a_healthy_server_has_no_fault_and_keeps_no_trace(start):
    server = start()

    assert of_redis(server) == []
    with server.client() as client:
        assert client.info("keyspace") == {}


def test_an_evicting_server_is_refused_with_the_command_that_mends_it(start):
    server = start(*EVICTING)

    [(subject, level, detail)] = of_redis(server)

    assert (subject, level) == ("job store", Level.UNFIT)
    assert "allkeys-lru" in detail
    assert "CONFIG SET maxmemory-policy noeviction" in detail
    assert "RMBG_ALLOW_EVICTION=1" in detail
    with pytest.raises(ServiceUnfit, match="allkeys-lru"):
        require(settings_of(server), MemoryStore())


def test_an_evicting_server_is_only_a_warning_if_the_loss_of_jobs_is_accepted(start):
    server = start(*EVICTING)

    [(_, level, detail)] = of_redis(server, **ACCEPTS_LOSS)

    assert level is Level.WARNING
    assert "RMBG_ALLOW_EVICTION=1" in detail
    require(settings_of(server, **ACCEPTS_LOSS), MemoryStore())


@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-ttl", "allkeys-random"])
def test_a_policy_that_may_delete_ended_jobs_is_warned_of(start, policy):
    """Without a limit, even `allkeys-*` deletes nothing yet."""
    [(_, level, detail)] = of_redis(start("--maxmemory-policy", policy))

    assert level is Level.WARNING
    assert policy in detail
    assert "CONFIG SET maxmemory-policy noeviction" in detail


def test_a_server_without_an_append_only_file_is_warned_of(start):
    [(_, level, detail)] = of_redis(start("--appendonly", "no"))

    assert level is Level.WARNING
    assert "CONFIG SET appendonly yes" in detail


def test_a_replica_is_named_with_its_primary_and_workers_wait(start):
    primary = start()
    replica = start("--replicaof", "127.0.0.1", str(primary.port))

    [(_, level, detail)] = of_redis(replica)

    assert level is Level.UNAVAILABLE
    assert (
        f"read-only replica; set RMBG_REDIS_URL to the primary, 127.0.0.1:{primary.port}" in detail
    )
    require(settings_of(replica), MemoryStore())


@pytest.mark.parametrize("used_share", [0.85, 2])
def test_a_full_server_keeps_new_jobs_out_and_is_no_reason_to_stop_workers(start, used_share):
    server = start()
    with server.client() as client:
        client.setrange("filler", 20_000_000, b"x")
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] / used_share))

    [(_, level, detail)] = of_redis(server)

    assert level is Level.UNAVAILABLE
    assert "no new job" in detail
    require(settings_of(server), MemoryStore())


@pytest.mark.parametrize(
    ("rights", "subject", "named"),
    [
        ("+@all -xadd -zadd", "job store", "may not run XADD, ZADD on the keys of the job store"),
        ("+@all -lmove -rename", "job store", "may not run LMOVE, RENAME"),
        ("+@all -info", "job store", "'info'"),
        ("+@all -script", "job store", "'script|load'"),
        ("+@all -brpop", "queue", "may not run BRPOP on the keys of the queue"),
    ],
)
def test_a_user_without_rights_is_told_the_missing_commands(start, rights, subject, named):
    server = start("--user", "lim", "on", ">pw", "~*", *rights.split())
    server.login = "lim:pw@"

    found = of_redis(server)

    assert {level for _, level, _ in found} == {Level.UNFIT}
    assert any(where == subject and named in detail for where, _, detail in found), found


def test_a_user_without_rights_to_the_keys_is_told_the_pattern(start):
    server = start("--user", "lim", "on", ">pw", "~other*", "+@all")
    server.login = "lim:pw@"

    details = [detail for subject, _, detail in of_redis(server) if subject == "job store"]

    assert "may not use the keys ~rmbg*" in details[0]


def test_a_wrong_password_is_a_fault_of_the_settings(start):
    server = start("--requirepass", "right", login=":right@")
    server.login = ":wr0ng@"

    found = of_redis(server)

    assert [level for _, level, _ in found] == [Level.UNFIT] * 2
    assert not [detail for _, _, detail in found if "wr0ng" in detail]


def test_a_missing_database_n_plus_1_is_found(start):
    server = start("--databases", "2")

    [(subject, level, detail)] = found_in(settings_of(server, database=1))

    assert (subject, level) == ("job store", Level.UNFIT)
    assert "databases n and n + 1" in detail


def test_a_server_that_never_answers_is_given_up_after_seconds():
    with socket.create_server(("127.0.0.1", 0), backlog=100) as mute:
        url = f"redis://127.0.0.1:{mute.getsockname()[1]}/0"
        settings = ServiceSettings.from_env({"HOME": "/nonexistent", "RMBG_REDIS_URL": url})
        start_s = time.monotonic()

        found = found_in(settings)

    assert time.monotonic() - start_s < 10
    assert [level for _, level, _ in found] == [Level.UNAVAILABLE] * 2
    assert "did not answer within" in found[0][2]


# --- the scratch job


def test_every_script_runs_and_leaves_no_key(redis_client):
    assert trial.run_scripts(redis_client) == []
    assert redis_client.keys("*") == []


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("RENAME", "submit"),
        ("LINDEX", "feed"),
        ("SETBIT", "mark"),
        ("RPUSH", "finish_commit"),
        ("XADD", "merge_commit"),
        ("PERSIST", "reopen"),
    ],
)
def test_the_scratch_job_lives_its_whole_life(redis_server, redis_client, command, script):
    """A command that only the end of a script runs is missed only if the script gets there."""
    assert f"'{command}'" in loader.load(script).source
    redis_client.acl_setuser(
        "lim", enabled=True, nopass=True, keys=["*"], commands=["+@all", f"-{command}"]
    )
    with RedisServer.client(redis_server) as client:
        client.auth("", "lim")
        errors = trial.run_scripts(client)
    redis_client.acl_deluser("lim")

    assert any(command.lower() in str(error) for error in errors), errors


def test_a_running_job_is_not_touched(store, redis_client):
    from support.jobs import submit  # noqa: PLC0415

    submit(store, 3)
    before = {key: redis_client.dump(key) for key in redis_client.keys("*")}

    assert trial.run_scripts(redis_client) == []
    assert {key: redis_client.dump(key) for key in redis_client.keys("*")} == before


# --- buckets


@pytest.fixture
def redis_is_well(start):
    return start()


class Changed(StoreWrapper):
    """A store whose `put` and `head` go through a function of the test."""

    def __init__(self, put=None, head=None):
        super().__init__(MemoryStore())
        self._put, self._head = put, head

    def put(self, bucket, key, data, **options):
        return (self._put or MemoryStore.put)(self._store, bucket, key, data, **options)

    def head(self, bucket, key):
        return (self._head or MemoryStore.head)(self._store, bucket, key)


def without_conditions(store, bucket, key, data, **options):
    """Answer 501 to a conditional write, as Backblaze B2 does."""
    if options.get("if_absent") or options.get("if_match"):
        raise BucketUnavailable("put: not implemented", code="NotImplemented")
    return store.put(bucket, key, data, **options)


def ignoring_conditions(store, bucket, key, data, *, if_absent=False, if_match=None, **options):
    return store.put(bucket, key, data, **options)


def ignoring_if_match(store, bucket, key, data, *, if_match=None, **options):
    return store.put(bucket, key, data, **options)


def always_refusing(store, bucket, key, data, **options):
    if options.get("if_match"):
        raise PreconditionFailed("refused")
    return store.put(bucket, key, data, **options)


def failing_on_if_match(store, bucket, key, data, **options):
    if options.get("if_match"):
        raise StoreUnavailable("put: the service failed (502, HTTP 502)", code="502")
    return store.put(bucket, key, data, **options)


def failing_on_conditions(store, bucket, key, data, **options):
    if options.get("if_absent") or options.get("if_match"):
        raise StoreUnavailable(
            "put: the service failed (InternalError, HTTP 500)", code="InternalError"
        )
    return store.put(bucket, key, data, **options)


@pytest.mark.parametrize(
    ("put", "words"),
    [
        (failing_on_conditions, "conditional writes and accepts others (InternalError, HTTP 500)"),
        (failing_on_if_match, "conditional writes and accepts others (502, HTTP 502)"),
        (without_conditions, "no conditional writes (NotImplemented)"),
        (ignoring_conditions, "ignores If-None-Match"),
        (ignoring_if_match, "ignores If-Match"),
        (always_refusing, "refuses a conditional write whose condition holds"),
    ],
)
def test_a_store_without_working_conditional_writes_is_refused(redis_is_well, put, words):
    store = Changed(put)
    settings = settings_of(redis_is_well)

    [(subject, level, detail)] = found_in(settings, store)

    assert (subject, level) == ("bucket cutouts", Level.UNFIT)
    assert words in detail
    assert "RMBG_S3_CONDITIONAL=off" in detail
    assert list(store.list("cutouts", "")) == []
    with pytest.raises(ServiceUnfit):
        require(settings, store)


def test_metadata_that_is_lost_is_found(redis_is_well):
    def put(store, bucket, key, data, *, metadata=None, **options):
        return store.put(bucket, key, data, **options)

    [(_, level, detail)] = found_in(settings_of(redis_is_well), Changed(put))

    assert level is Level.UNFIT
    assert "metadata" in detail


def test_a_store_that_answers_501_to_a_conditional_write_is_refused_with_its_words(redis_is_well):
    """As Backblaze B2 does; the answers come in the order of the probe's requests."""
    words = "A header you provided implies functionality that is not implemented"
    answers = {
        "check": error(404, "NoSuchKey"),
        "list": found(b"<ListBucketResult></ListBucketResult>"),
        "put": found(b""),
        "head": found(b"", x_amz_meta_rmbg_probe="1"),
        "get": found(b"probe"),
        "conditional put": error(501, "NotImplemented", words),
        "delete": found(b"<DeleteResult></DeleteResult>"),
        "head again": error(404, "404"),
    }
    with canned(*answers.values()) as server:
        env = {"RMBG_S3_ENDPOINT": server.url, "RMBG_INPUT_BUCKETS": "cutouts"}
        keys = {"RMBG_S3_ACCESS_KEY_ID": "i", "RMBG_S3_SECRET_ACCESS_KEY": "s"}
        settings = settings_of(redis_is_well, **env, **keys)

        [(subject, level, detail)] = found_in(settings, S3Store(settings.objects))

    assert (subject, level) == ("bucket cutouts", Level.UNFIT)
    assert detail.startswith(f"the store has no conditional writes (NotImplemented): {words}")
    assert "RMBG_S3_CONDITIONAL=off" in detail
    assert server.requests == len(answers)


@pytest.mark.parametrize(
    ("status", "code"), [(500, "InternalError"), (503, "ServiceUnavailable"), (502, "502")]
)
def test_a_store_that_fails_on_conditional_writes_only_is_refused(redis_is_well, status, code):
    """As a gateway does in front of a store that does not know the header."""

    def put(store, bucket, key, data, **options):
        if not (options.get("if_absent") or options.get("if_match")):
            return store.put(bucket, key, data, **options)
        with canned(error(status, code, "own words")) as server:
            keys = {"RMBG_S3_ACCESS_KEY_ID": "i", "RMBG_S3_SECRET_ACCESS_KEY": "s"}
            settings = settings_of(redis_is_well, RMBG_S3_ENDPOINT=server.url, **keys)
            real = S3Store(settings.objects, attempts=1)
            return real.put(bucket, key, data, **options)

    [(subject, level, detail)] = found_in(settings_of(redis_is_well), Changed(put))

    assert (subject, level) == ("bucket cutouts", Level.UNFIT)
    assert f"refuses conditional writes and accepts others ({code}, HTTP {status});" in detail
    assert "RMBG_S3_CONDITIONAL=off" in detail


@pytest.mark.parametrize("failures", [1, 2])
def test_a_conditional_write_that_fails_now_and_then_is_no_fault(redis_is_well, failures):
    left = [failures]

    def put(store, bucket, key, data, **options):
        if options.get("if_absent") and left[0]:
            left[0] -= 1
            raise StoreUnavailable("busy (SlowDown, HTTP 503)", code="SlowDown")
        return store.put(bucket, key, data, **options)

    store = Changed(put)

    assert found_in(settings_of(redis_is_well), store) == []
    assert list(store.list("cutouts", "")) == []


@pytest.mark.parametrize("code", ["", "InternalError"])
def test_a_store_that_is_down_is_not_taken_for_one_without_conditions(redis_is_well, code):
    """It does not answer, or fails on plain writes, too."""
    writes = []

    def put(store, bucket, key, data, **options):
        writes.append(key)
        if len(writes) > 1:
            raise StoreUnavailable("the service failed", code=code)
        return store.put(bucket, key, data, **options)

    [(_, level, detail)] = found_in(settings_of(redis_is_well), Changed(put))

    assert (level, detail) == (Level.UNAVAILABLE, "the service failed")


def test_a_real_store_has_no_fault_and_keeps_no_object(servers, service_env, bucket, object_store):
    settings = ServiceSettings.from_env({"HOME": "/nonexistent"} | dict(service_env))

    assert found_in(settings, object_store) == []
    assert list(object_store.list(bucket, "")) == []


def test_a_store_used_without_conditional_writes_is_warned_of(service_env, object_store):
    env = {"HOME": "/nonexistent", "RMBG_S3_CONDITIONAL": "off"} | dict(service_env)
    settings = ServiceSettings.from_env(env)

    [(_, level, detail)] = found_in(settings, S3Store(settings.objects))

    assert level is Level.WARNING
    assert re.search("frozen may write an output twice", detail)


def test_input_buckets_are_only_read(redis_is_well):
    written = []

    def put(store, bucket, key, data, **options):
        written.append(bucket)
        return store.put(bucket, key, data, **options)

    found_in(settings_of(redis_is_well, RMBG_INPUT_BUCKETS="one-in,two-in"), Changed(put))

    assert set(written) == {"cutouts"}


def test_rights_that_are_missing_in_a_bucket_are_named(servers, redis_is_well):
    env = servers.settings("reader") | {"RMBG_REDIS_URL": settings_of(redis_is_well).broker_url}
    settings = ServiceSettings.from_env({"HOME": "/nonexistent"} | env)

    found = found_in(settings, S3Store(settings.objects))

    assert [(subject, level) for subject, level, _ in found] == [
        ("bucket cutouts", Level.UNAVAILABLE)
    ]
    assert "access denied" in found[0][2]
