"""Faults of Redis and of the network to it, with a worker process that uses default times."""

import contextlib

import pytest
import redis
from support.command import complaint, rmbg
from support.proxy import Proxy
from support.redis_server import RedisServer
from support.until import until
from support.workers import MODEL, WorkerProcess

from producer.client import Client
from shared.job.spec import JobState
from shared.objects import S3Store
from shared.settings import ServiceSettings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PACE = {"quick": True, "batch_size": 1, "image_s": 0.05}
"""20 images per second, so that a job of hundreds of images runs for several seconds."""
TIMES = {"RMBG_LEASE_S": "30", "RMBG_LOST_S": "20", "RMBG_RECOVER_S": "1"}
"""The defaults, except that a lost ticket is issued again after 20 s."""
RESUMED_S = 90
"""Time within which a worker makes progress again after its connection is back."""
OUTAGE = "loop skips a round"
"""Message that recovery logs once a second during an outage."""


class Setup:
    """A Redis server, a proxy to it, and a worker that connects through the proxy."""

    def __init__(self, server, proxy, service_env, worker_order):
        self.server = server
        self.proxy = proxy
        base = server.url.removesuffix("1") + "0"
        self.env = dict(service_env) | {"RMBG_REDIS_URL": base}
        self.client = Client(ServiceSettings.from_env(self.env))
        proxied = self.env | TIMES | {"RMBG_REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"}
        self.worker = WorkerProcess(proxied, **worker_order)
        self._bucket = service_env["RMBG_OUTPUT_BUCKET"]
        self._objects = S3Store(ServiceSettings.from_env(self.env).objects)

    def upload(self, count):
        """Upload *count* source images; return their keys."""
        keys = [f"in/{n:04}" for n in range(count)]
        for key in keys:
            self._objects.put(self._bucket, key, key.encode(), content_type="image/jpeg")
        return keys

    def begin(self, count):
        """Submit a job of *count* images; return its id and keys when some are done."""
        keys = self.upload(count)
        job_id = self.client.submit(keys, rem_mode=MODEL)
        until(lambda: self.client.status(job_id).done >= 5, within_s=60)
        return job_id, keys

    def _skipped(self):
        return [said for said in self.worker.said(OUTAGE) if said["loop"] == "recovery"]

    def wait_for_outage(self, seconds):
        """Wait until the worker has noticed for so many seconds that Redis is unreachable."""
        until(lambda: len(self._skipped()) > seconds, within_s=60 + 4 * seconds)

    def is_working(self, job_id):
        """Tell whether another item ends within 5 s."""
        done = self.client.status(job_id).done
        with contextlib.suppress(AssertionError):
            return until(lambda: self.client.status(job_id).done > done, within_s=5)

    def assert_resumes(self, job_id):
        """Wait for progress from now on; fail the test if there is none in time."""
        done = self.client.status(job_id).done
        until(lambda: self.client.status(job_id).done > done, within_s=RESUMED_S)

    def assert_done_once(self, job_id, keys):
        status = self.client.wait(job_id, 120)
        assert (status.state, status.done, status.failed) == (JobState.DONE, len(keys), 0)
        records = list(self.client.results(job_id))
        assert [record.image_key for record in records] == keys
        assert {record.attempts for record in records} == {1}
        self.assert_running()

    def assert_running(self):
        assert self.worker.process.poll() is None, "\n".join(self.worker.log[-20:])


@contextlib.contextmanager
def set_up(service_env, **order):
    with RedisServer(append_only=True) as server, Proxy(server.port) as proxy:
        setup = Setup(server, proxy, service_env, PACE | order)
        try:
            setup.worker.wait_ready()
            yield setup
        finally:
            setup.worker.close()


@pytest.fixture
def setup(service_env):
    with set_up(service_env) as made:
        yield made


def test_a_worker_replaces_half_open_connections(setup):
    """Neither end is notified, as when a firewall drops the state of a connection."""
    job_id, keys = setup.begin(200)

    setup.proxy.freeze()

    setup.assert_resumes(job_id)
    later = setup.client.submit(keys[:20], rem_mode=MODEL, save_prefix="later")
    until(lambda: setup.client.status(later).done, within_s=RESUMED_S)
    setup.assert_done_once(job_id, keys)
    setup.assert_done_once(later, keys[:20])
    assert not setup.worker.said("lease lost")


def test_an_idle_worker_replaces_half_open_connections(setup):
    setup.proxy.freeze()

    keys = setup.upload(20)
    job_id = setup.client.submit(keys, rem_mode=MODEL)

    until(lambda: setup.client.status(job_id).done, within_s=RESUMED_S)
    setup.assert_done_once(job_id, keys)


def test_connection_resets_fail_no_item_and_cost_no_attempt(setup):
    job_id, keys = setup.begin(200)

    for _ in range(5):
        setup.proxy.reset()
        setup.assert_resumes(job_id)

    setup.assert_done_once(job_id, keys)


@pytest.mark.parametrize("delay_s", [0.2, 2.0])
def test_slow_answers_lose_no_lease(setup, delay_s):
    """A lease is renewed every third of its time."""
    setup.proxy.delay_s = delay_s
    keys = setup.upload(12)
    job_id = setup.client.submit(keys, rem_mode=MODEL)

    setup.assert_done_once(job_id, keys)

    assert not setup.worker.said("lease lost")


@pytest.mark.parametrize("outage_s", [0, 10])
def test_work_resumes_after_an_outage_of_redis(setup, outage_s):
    job_id, keys = setup.begin(300)

    setup.server.kill()
    if outage_s:
        setup.wait_for_outage(outage_s)
    setup.assert_running()
    setup.server.start()

    setup.assert_resumes(job_id)
    setup.assert_done_once(job_id, keys)


def test_work_resumes_after_a_failover_that_leaves_connections_with_the_replica(service_env):
    """The address names the new primary at once, but open connections stay with the old one."""
    with RedisServer(append_only=True) as old, Proxy(old.port) as proxy:
        options = ("--replicaof", "127.0.0.1", str(old.port))
        with RedisServer(append_only=True, options=options) as new, old.client() as admin:
            setup = Setup(old, proxy, service_env, PACE)
            with contextlib.closing(setup.worker.wait_ready()):
                job_id, keys = setup.begin(300)
                until(lambda: admin.info("replication").get("slave0", {}).get("state") == "online")

                proxy.to_port = new.port
                admin.execute_command("FAILOVER", "TO", "127.0.0.1", new.port)
                until(lambda: admin.info("replication")["role"] == "slave")

                url = f"redis://127.0.0.1:{new.port}/0"
                setup.client = Client(ServiceSettings.from_env(setup.env | {"RMBG_REDIS_URL": url}))
                setup.assert_resumes(job_id)
                setup.assert_done_once(job_id, keys)


@contextlib.contextmanager
def memory_full_to(share, setup):
    """Set the memory limit of Redis so that *share* of it is used; remove it at the end."""
    with redis.Redis.from_url(setup.env["RMBG_REDIS_URL"]) as server:
        used_bytes = server.info("memory")["used_memory"]
        server.config_set("maxmemory", int(used_bytes / share))
        try:
            yield
        finally:
            server.config_set("maxmemory", 0)


def assert_refused(setup):
    done = rmbg("submit", "--rem-mode", MODEL, stdin=b"in/0000\nin/0001", env=setup.env)
    assert "bytes" in complaint(done, 3) or "memory" in complaint(done, 3)
    assert len(setup.client.jobs()) == 1


def test_near_the_memory_limit_new_jobs_are_refused_and_open_jobs_end(setup):
    job_id, keys = setup.begin(200)

    with memory_full_to(0.9, setup):
        assert_refused(setup)
        setup.assert_done_once(job_id, keys)


def test_over_the_memory_limit_workers_wait_and_lose_nothing(setup):
    """The broker neither accepts nor delivers tickets; the job store still counts items."""
    job_id, keys = setup.begin(400)

    with memory_full_to(2, setup):
        assert_refused(setup)
        until(lambda: setup.worker.said("the broker is full: no ticket is taken"), within_s=60)
        until(lambda: not setup.is_working(job_id), within_s=60)
        setup.assert_running()
        assert setup.client.status(job_id).done < len(keys)

    setup.assert_resumes(job_id)
    setup.assert_done_once(job_id, keys)


def test_a_blocked_event_loop_ends_the_process(service_env):
    """While a worker works, idles or waits for Redis, its event loop runs."""
    with set_up(service_env, loop_limit_s=10.0) as setup:
        job_id, keys = setup.begin(100)
        setup.assert_done_once(job_id, keys)
        setup.server.kill()
        setup.wait_for_outage(12)
        setup.assert_running()
        setup.server.start()
        again = setup.client.submit(keys[:20], rem_mode=MODEL, save_prefix="again")
        setup.assert_done_once(again, keys[:20])

        setup.worker.block_event_loop()

        assert setup.worker.wait(within_s=60) == 70
        [said] = setup.worker.said("leaving")
        assert "event loop" in said["cause"]
