"""Wait for jobs from the command line and from Python, and run `rmbg doctor`."""

import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress

import pytest
import redis
from support.command import RMBG, complaint, environment, rmbg
from support.hand_worker import HandWorker
from support.redis_server import RedisServer
from support.until import until

from producer.client import Client
from shared.errors import InvalidOption, JobConflict, NoKeys, ServiceUnavailable, UnknownJob
from shared.job.spec import ImageOutput
from shared.recipes import Recipe
from shared.settings import ServiceSettings

pytestmark = pytest.mark.integration


@contextmanager
def working(hand):
    """Run a worker in the background until the block ends."""
    stop, faults = threading.Event(), []

    def work():
        try:
            while not stop.is_set():
                with suppress(ServiceUnavailable):  # as in a worker, the lease expires
                    if hand.step():
                        continue
                stop.wait(0.02)
        except BaseException as err:
            faults.append(err)
            raise  # visible even if the test waits until its timeout

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert faults == []


@contextmanager
def replica(service_env):
    """Variables for the test's bucket and a read-only replica of an empty Redis."""
    with RedisServer() as primary:
        options = ("--replicaof", "127.0.0.1", str(primary.port))
        with RedisServer(options=options) as server:
            yield dict(service_env) | {"RMBG_REDIS_URL": f"redis://127.0.0.1:{server.port}/0"}


@pytest.mark.parametrize(("key", "code"), [("b.jpg", 0), ("b-bad.jpg", 1)])
def test_watch_exits_with_1_if_an_image_failed(client, hand, run_rmbg, key, code):
    job = client.submit(["a.jpg", key])
    with working(hand):
        done = run_rmbg("watch", job)

    assert done.returncode == code
    assert done.stdout == b""
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith(f"{job} done: 2 of 2 images")


def test_submit_with_wait_shows_progress_and_prints_only_the_id(hand, run_rmbg):
    with working(hand):
        done = run_rmbg("submit", "--wait", stdin=b"a.jpg\nbad.jpg\n")

    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert b"done: 2 of 2 images, 1 failed" in done.stderr


def test_a_client_submits_waits_and_reads_records(client, hand):
    with working(hand):
        job = client.submit(["a.jpg", "bad.jpg"], save_prefix="x")
        status = client.wait(job, 60)

    assert (status.done, status.failed) == (1, 1)
    assert [record.cutout_key for record in client.results(job)] == ["x/cutout/a.jpg.png", None]
    assert [record.index for record in client.failures(job)] == [1]
    assert [each.job_id for each in client.jobs()] == [job]


def test_a_client_saves_outputs_by_default(client, services):
    job = client.submit(["a.jpg"])
    hidden = client.submit(["a.jpg"], image_output="Hide/Save")

    assert services.jobs.queries.spec(job).image_output is ImageOutput.SAVE
    assert services.jobs.queries.spec(hidden).image_output is ImageOutput.HIDE_SAVE


def test_the_error_for_an_invalid_option_of_a_client_lists_the_valid_ones(client):
    with pytest.raises(InvalidOption, match="options: rem_mode, save_prefix"):
        client.submit(["a.jpg"], prefix="x")
    with pytest.raises(InvalidOption, match="source, comfyui"):
        client.submit(["a.jpg"], naming="comfy")


def test_a_client_refuses_a_submission_without_keys(client):
    with pytest.raises(NoKeys, match="no image keys given"):
        client.submit([])
    assert client.jobs() == []


def test_a_client_raises_job_conflict_for_other_keys_under_the_same_id(client):
    client.submit(["a.jpg"], job_id="j")

    with pytest.raises(JobConflict, match="the image keys differ"):
        client.submit(["b.jpg"], job_id="j")


def test_a_conflict_of_a_job_id_names_the_fields_that_changed(client):
    client.submit(["a.jpg"], job_id="j", outputs=[Recipe(name="shop", fill=0.8)])

    with pytest.raises(JobConflict, match=r"different: outputs\.shop\.fill, outputs\.shop\.size\)"):
        client.submit(["a.jpg"], job_id="j", outputs=[Recipe(name="shop", fill=0.9, size=500)])


def test_a_client_follows_results_in_item_order(client, hand):
    with working(hand):
        job = client.submit([f"{n}.jpg" for n in range(40)])
        indexes = [record.index for record in client.results(job, follow=True)]

    assert indexes == list(range(40))


def test_remove_overtakes_bulk_jobs(client, hand):
    client.submit([f"{n}.jpg" for n in range(800)])
    with working(hand):
        record = client.remove("shop/a.jpg", timeout_s=60)

    assert (record.state, record.cutout_key) == ("done", "ComfyUI/cutout/shop/a.jpg.png")
    assert sum(job.done for job in client.jobs()) < 400


def test_remove_returns_the_record_of_a_failed_image(client, hand):
    with working(hand):
        record = client.remove("bad.jpg", timeout_s=60)

    assert (record.state, record.error["class"]) == ("failed", "ObjectMissing")


def test_a_timeout_ends_the_wait_but_not_the_job(client, hand):
    with pytest.raises(TimeoutError, match=r"a\.jpg \(job .*\) has not ended after 0\.2 s"):
        client.remove("a.jpg", timeout_s=0.2)
    job = client.jobs()[0].job_id
    with pytest.raises(TimeoutError, match=job):
        client.wait(job, 0.2)

    with working(hand):
        assert client.remove("a.jpg", timeout_s=60).state == "done"
    assert len(client.jobs()) == 1


def test_a_client_cancels_and_retries_jobs(client, hand):
    job = client.submit(["a.jpg"])
    client.cancel(job)
    with working(hand):
        assert client.wait(job, 60).state == "cancelled"
        other = client.submit(["bad.jpg"])
        client.wait(other, 60)
        hand.bad = "nothing"
        assert client.retry(other) == 1
        assert client.wait(other, 60).failed == 0
    with pytest.raises(UnknownJob):
        client.status("unknown-job")


@pytest.mark.parametrize(
    "change",
    [
        lambda client, job: client.cancel(job),
        lambda client, job: client.retry(job),
        lambda client, job: client.verify(job, repair=True),
    ],
    ids=["cancel", "retry", "repair"],
)
def test_a_client_returns_from_a_change_of_a_job_when_that_is_on_the_disk(
    client, hand, service_settings, change
):
    job = client.submit(["a.jpg", "bad.jpg"])
    with working(hand):
        client.wait(job, 60)
    with redis.Redis.from_url(service_settings.store_url) as server:
        before = waits_for_the_disk(server)
        change(client, job)

        assert waits_for_the_disk(server) == before + 1


def waits_for_the_disk(server):
    """Return how often clients have waited until the server's append-only file was on disk."""
    return server.info("commandstats").get("cmdstat_waitaof", {"calls": 0})["calls"]


def test_doctor_finds_no_fault_if_everything_is_up(hand, run_rmbg):
    done = run_rmbg("doctor")

    assert done.returncode == 0, done
    assert [line[:5] for line in done.stdout.decode().splitlines()] == ["ok   "] * 4
    assert b"serves RMBG-1.4" in done.stdout


def test_doctor_explains_each_fault(service_env):
    env = dict(service_env) | {"RMBG_INPUT_BUCKETS": "not-there"}

    done = rmbg("doctor", env=env)

    faults = [line for line in done.stdout.decode().splitlines() if line.startswith("FAULT")]
    assert done.returncode == 1
    assert [fault.split(":")[0] for fault in faults] == [
        "FAULT  bucket not-there",
        "FAULT  workers",
    ]
    assert "start `rmbg-worker`" in faults[1]


def test_doctor_names_the_models_that_a_worker_cannot_serve(hand, run_rmbg):
    hand.jobs.fleet.register(
        hand.info.model_copy(
            update={"models": (), "refused": {"RMBG-1.4": "no weights; `rmbg weights pull`"}}
        ),
        ttl_s=60,
    )

    done = run_rmbg("doctor")

    assert done.returncode == 1
    assert (
        b"FAULT  worker hand: cannot serve RMBG-1.4: no weights; `rmbg weights pull`" in done.stdout
    )


COMMANDS = [
    ("submit",),
    ("jobs",),
    ("doctor",),
    *((name, "j") for name in ("status", "watch", "results", "failures", "cancel", "retry")),
    ("verify", "j"),
]


@pytest.mark.parametrize("args", COMMANDS)
def test_a_command_exits_with_3_and_names_the_address_if_redis_is_down(service_env, args):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = dict(service_env) | {"RMBG_REDIS_URL": f"redis://:s3cret@127.0.0.1:{port}/0"}

    done = rmbg(*args, stdin=b"a.jpg\n", env=env)

    text = (done.stdout if args == ("doctor",) else done.stderr).decode()
    assert done.returncode == (1 if args == ("doctor",) else 3)
    assert f"Redis at 127.0.0.1:{port}/1" in text
    assert "RMBG_REDIS_URL" in text
    assert "s3cret" not in text
    assert "Traceback" not in text


@pytest.mark.parametrize("args", [("jobs",), ("doctor",)])
def test_a_command_exits_with_3_if_redis_accepts_connections_but_never_answers(service_env, args):
    """The timeouts of the Redis client alone add up to more than a minute."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as mute:
        url = f"redis://:s3cret@127.0.0.1:{mute.getsockname()[1]}/0"
        env = dict(service_env) | {"RMBG_REDIS_URL": url}

        done = rmbg(*args, stdin=b"a.jpg\n", env=env)

    assert done.returncode == (1 if args == ("doctor",) else 3)
    text = (done.stderr + done.stdout).decode()
    assert "did not answer within 6 s" in text
    assert "s3cret" not in text


def test_the_error_for_a_wrong_password_does_not_show_it(service_env):
    url = service_env["RMBG_REDIS_URL"].replace("redis://", "redis://nobody:s3cret@")

    line = complaint(rmbg("jobs", env=dict(service_env) | {"RMBG_REDIS_URL": url}), 3)

    assert "s3cret" not in line


def test_watch_exits_with_2_if_redis_loses_the_job(client, service_env, service_settings):
    """The watcher ends instead of waiting for a job that no longer exists."""
    job = client.submit(["a.jpg"])
    with subprocess.Popen(
        [RMBG, "watch", job], stderr=subprocess.PIPE, env=environment(dict(service_env))
    ) as process:
        process.stderr.readline()
        with redis.Redis.from_url(service_settings.store_url) as raw:
            raw.delete(f"rmbg:job:{job}")
        assert process.wait(timeout=30) == 2


def test_doctor_names_the_role_and_the_primary(service_env):
    """Reads work on a replica, so the list of workers would say that none is registered."""
    with replica(service_env) as env:
        done = rmbg("doctor", env=env)

    assert done.returncode == 1
    assert b"FAULT  job store: " in done.stdout
    assert b"read-only replica; set RMBG_REDIS_URL to the primary, 127.0.0.1:" in done.stdout
    assert b"no worker is registered" not in done.stdout


def test_doctor_names_the_missing_commands(service_env):
    options = ("--user", "lim", "on", ">pw", "~*", "+@all", "-xadd", "-brpop")
    with RedisServer(options=options, login="lim:pw@") as server:
        url = server.url.removesuffix("/1") + "/0"
        done = rmbg("doctor", env=dict(service_env) | {"RMBG_REDIS_URL": url})

    assert done.returncode == 1
    assert b"may not run XADD on the keys of the job store" in done.stdout
    assert b"may not run BRPOP on the keys of the queue" in done.stdout
    assert b"deploy/users.acl" in done.stdout


def test_a_submission_to_an_evicting_redis_is_refused_unless_that_is_accepted(service_env):
    options = ("--maxmemory", "200mb", "--maxmemory-policy", "allkeys-lfu")
    with RedisServer(options=options) as server:
        env = dict(service_env) | {"RMBG_REDIS_URL": f"redis://127.0.0.1:{server.port}/0"}

        line = complaint(rmbg("submit", stdin=b"a.jpg\n", env=env))
        accepted = rmbg("submit", stdin=b"a.jpg\n", env=env | {"RMBG_ALLOW_EVICTION": "1"})

    assert "allkeys-lfu" in line
    assert "CONFIG SET maxmemory-policy noeviction" in line
    assert accepted.returncode == 0, accepted


def test_a_submission_to_a_replica_gets_the_servers_sentence_and_what_to_do(service_env):
    with replica(service_env) as env:
        line = complaint(rmbg("submit", stdin=b"a.jpg\n", env=env), 3)

    assert "You can't write against a read only replica" in line
    assert "set RMBG_REDIS_URL to the primary" in line
    assert line.isprintable()
    assert "pipeline" not in line


# --- Redis restarts while a command waits


@pytest.fixture
def restarting(service_env):
    """A Redis server that keeps its data in a restart, and settings for it."""
    with RedisServer(append_only=True) as server:
        env = dict(service_env) | {"RMBG_REDIS_URL": f"redis://127.0.0.1:{server.port}/0"}
        yield server, env, ServiceSettings.from_env(env | {"HOME": "/nonexistent"})


def wait_for_an_attempt(port):
    """Accept one connection to the port of a stopped server, and drop it."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(60)
        listener.accept()[0].close()


COMMANDS_THAT_WAIT = {
    "watch": ("watch", "JOB"),
    "results": ("results", "JOB", "--follow"),
    "submit": ("submit", "--wait"),
}


@pytest.mark.parametrize("command", COMMANDS_THAT_WAIT)
def test_a_waiting_command_survives_a_restart_of_redis_and_says_so(restarting, command):
    server, env, settings = restarting
    job = Client(settings).submit(["a.jpg"])
    args = [job if arg == "JOB" else arg for arg in COMMANDS_THAT_WAIT[command]]
    with subprocess.Popen(
        [RMBG, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(env),
    ) as process:
        process.stdin.write(b"a.jpg\n")
        process.stdin.close()
        if command == "results":
            with server.client() as raw:
                until(lambda: {"rmbg-store"} <= {one["name"] for one in raw.client_list()})
        else:
            until(lambda: b"no worker" in process.stderr.readline())
        server.kill()
        assert any(b"waiting for up to 60 s" in line for line in process.stderr)
        server.start()
        with closing(HandWorker(settings)) as hand, working(hand):
            assert any(b"answers again" in line for line in process.stderr)
            records = process.stdout.read()
            assert process.wait(60) == 0
    assert (b'"state":"done"' in records) == (command == "results")


@pytest.mark.parametrize("call", ["wait", "follow"])
def test_a_client_that_waits_survives_a_restart_of_redis(restarting, call):
    server, _, settings = restarting
    client = Client(settings)
    job = client.submit(["a.jpg", "b.jpg"])

    def ended():
        if call == "wait":
            return client.wait(job, 120).done
        return len(list(client.results(job, follow=True)))

    with ThreadPoolExecutor() as pool:
        number = pool.submit(ended)
        server.kill()
        wait_for_an_attempt(server.port)
        server.start()
        with closing(HandWorker(settings)) as hand, working(hand):
            assert number.result(60) == 2


def test_watch_gives_up_at_once_if_redis_is_down_at_the_start(restarting):
    server, env, settings = restarting
    job = Client(settings).submit(["a.jpg"])
    server.kill()

    line = complaint(rmbg("watch", job, env=env), 3)

    assert "RMBG_REDIS_URL" in line
