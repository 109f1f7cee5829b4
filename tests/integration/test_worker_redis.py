"""Redis and the way to it at their worst, under a worker process with the product's own times."""

import contextlib
import time

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
"""20 images a second, so that a job of hundreds is under way for a while."""
TIMES = {"RMBG_LEASE_S": "30", "RMBG_LOST_S": "20", "RMBG_RECOVER_S": "1"}
"""The product's, but for how soon a lost ticket is missed."""
RESUMED_S = 90
"""From a path being there to progress (issue B, item 6)."""


class Scene:
    """A Redis of the test's own, a way to it, and a worker that takes that way."""

    def __init__(self, server, way, service_env, worker_order):
        self.server = server
        self.way = way
        base = server.url.removesuffix("1") + "0"
        self.env = dict(service_env) | {"RMBG_REDIS_URL": base}
        self.client = Client(ServiceSettings.from_env(self.env))
        way_env = self.env | TIMES | {"RMBG_REDIS_URL": f"redis://127.0.0.1:{way.port}/0"}
        self.worker = WorkerProcess(way_env, **worker_order)
        self._bucket = service_env["RMBG_OUTPUT_BUCKET"]
        self._objects = S3Store(ServiceSettings.from_env(self.env).objects)

    def sources(self, count):
        keys = [f"in/{n:04}" for n in range(count)]
        for key in keys:
            self._objects.put(self._bucket, key, key.encode(), content_type="image/jpeg")
        return keys

    def begin(self, count):
        """Submit a job of *count* images; return it, and its keys, when some are done."""
        keys = self.sources(count)
        job_id = self.client.submit(keys, rem_mode=MODEL)
        until(lambda: self.client.status(job_id).done >= 5, within_s=60)
        return job_id, keys

    def engine_works(self, job_id):
        """Tell whether another item ends within 5 s."""
        done = self.client.status(job_id).done
        with contextlib.suppress(AssertionError):
            return until(lambda: self.client.status(job_id).done > done, within_s=5)

    def assert_goes_on(self, job_id):
        """Wait for progress from now on; without it in time the test fails."""
        done = self.client.status(job_id).done
        until(lambda: self.client.status(job_id).done > done, within_s=RESUMED_S)

    def assert_done_once(self, job_id, keys):
        status = self.client.wait(job_id, 120)
        assert (status.state, status.done, status.failed) == (JobState.DONE, len(keys), 0)
        records = list(self.client.results(job_id))
        assert [record.image_key for record in records] == keys
        assert {record.attempts for record in records} == {1}
        self.assert_well()

    def assert_well(self):
        assert self.worker.process.poll() is None, "\n".join(self.worker.log[-20:])


@contextlib.contextmanager
def set_up(service_env, *, options=(), **order):
    with RedisServer(append_only=True, options=options) as server, Proxy(server.port) as way:
        scene = Scene(server, way, service_env, PACE | order)
        try:
            scene.worker.wait_ready()
            yield scene
        finally:
            scene.worker.close()


@pytest.fixture
def scene(service_env):
    with set_up(service_env) as made:
        yield made


def test_when_its_connections_carry_nothing_any_more_a_worker_goes_on_over_others(scene):
    """Half-open, as after a firewall has forgotten them: nobody is told."""
    job_id, keys = scene.begin(200)

    scene.way.freeze()

    scene.assert_goes_on(job_id)
    later = scene.client.submit(keys[:20], rem_mode=MODEL, save_prefix="later")
    until(lambda: scene.client.status(later).done, within_s=RESUMED_S)
    scene.assert_done_once(job_id, keys)
    scene.assert_done_once(later, keys[:20])
    assert not scene.worker.said("lease lost")


def test_an_idle_workers_dead_connections_are_noticed_in_time(scene):
    scene.way.freeze()

    keys = scene.sources(20)
    job_id = scene.client.submit(keys, rem_mode=MODEL)

    until(lambda: scene.client.status(job_id).done, within_s=RESUMED_S)
    scene.assert_done_once(job_id, keys)


def test_resets_of_all_connections_cost_no_item_and_no_attempt(scene):
    job_id, keys = scene.begin(200)

    for _ in range(5):
        scene.way.reset()
        scene.assert_goes_on(job_id)

    scene.assert_done_once(job_id, keys)


@pytest.mark.parametrize("delay_s", [0.2, 2.0])
def test_slow_answers_cost_no_lease(scene, delay_s):
    """A beat is due every third of a lease."""
    scene.way.delay_s = delay_s
    keys = scene.sources(40)
    job_id = scene.client.submit(keys, rem_mode=MODEL)

    scene.assert_done_once(job_id, keys)

    assert not scene.worker.said("lease lost")


@pytest.mark.parametrize("down_s", [0, 20])
def test_a_killed_redis_is_waited_for_and_work_resumes_when_it_is_back(scene, down_s):
    job_id, keys = scene.begin(300)

    scene.server.kill()
    back_s = time.monotonic() + down_s
    until(lambda: time.monotonic() >= back_s, within_s=down_s + 1)
    scene.assert_well()
    scene.server.start()

    scene.assert_goes_on(job_id)
    scene.assert_done_once(job_id, keys)


@contextlib.contextmanager
def memory_full_to(share, scene):
    """Let what Redis holds be *share* of its limit; at its end there is no limit."""
    with redis.Redis.from_url(scene.env["RMBG_REDIS_URL"]) as server:
        used_bytes = server.info("memory")["used_memory"]
        server.config_set("maxmemory", int(used_bytes / share))
        try:
            yield
        finally:
            server.config_set("maxmemory", 0)


def assert_refused(scene):
    done = rmbg("submit", "--rem-mode", MODEL, stdin=b"in/0000\nin/0001", env=scene.env)
    assert "bytes" in complaint(done, 3) or "memory" in complaint(done, 3)
    assert len(scene.client.jobs()) == 1


def test_near_its_memory_limit_no_job_is_taken_and_those_there_end(scene):
    job_id, keys = scene.begin(200)

    with memory_full_to(0.9, scene):
        assert_refused(scene)
        scene.assert_done_once(job_id, keys)


def test_over_its_memory_limit_workers_wait_and_lose_nothing(scene):
    """The queue takes and hands out no ticket then; the job store goes on counting."""
    job_id, keys = scene.begin(400)

    with memory_full_to(2, scene):
        assert_refused(scene)
        until(lambda: scene.worker.said("the broker is full: no ticket is taken"), within_s=60)
        until(lambda: not scene.engine_works(job_id), within_s=60)
        scene.assert_well()
        assert scene.client.status(job_id).done < len(keys)

    scene.assert_goes_on(job_id)
    scene.assert_done_once(job_id, keys)


def test_an_event_loop_that_stands_still_ends_the_process_and_only_that_does(service_env):
    """It turns, so a worker that works, idles or waits for Redis is left alone."""
    with set_up(service_env, loop_limit_s=3.0) as scene:
        job_id, keys = scene.begin(100)
        scene.assert_done_once(job_id, keys)
        scene.server.kill()
        until(lambda: scene.worker.said("recovery waits for Redis"), within_s=60)
        back_s = time.monotonic() + 8
        until(lambda: time.monotonic() >= back_s, within_s=9)
        scene.assert_well()
        scene.server.start()
        again = scene.client.submit(keys[:20], rem_mode=MODEL, save_prefix="again")
        scene.assert_done_once(again, keys[:20])

        scene.worker.wedge()

        assert scene.worker.wait(within_s=60) == 70
        [said] = scene.worker.said("leaving")
        assert "event loop" in said["cause"]
