"""The tickets of one worker in this process: the real job store, a store in memory, no broker."""

import threading

import pytest

from shared.jobstore.store import JobStore
from support.engine_harness import MAX_BYTES, EngineHarness
from support.jobs import FailingConnection, feed, submit
from support.stand_ins import QuickImaging
from worker.consumer.leases import Leases
from worker.consumer.ticket_consumer import TicketConsumer
from worker.inference.model_cache import ModelCache
from worker.lifecycle.shutdown import Phase
from worker.storage import AssetReader

MODEL = "isnet-general-use"


class ConsumerHarness:
    """The ticket consumer of one worker; `published` collects what it issues.

    *engine* are options of `EngineHarness`: limits, `change_stages`, `observers`.
    """

    def __init__(
        self, url, *, connection=FailingConnection, imaging=None, load=None, retry_s=5.0, **engine
    ):
        self.connection = connection.connect(url)
        self.store = JobStore(self.connection)
        self.harness = EngineHarness(imaging=imaging or QuickImaging(), **engine)
        self.shutdown = self.harness.shutdown
        self.objects = self.harness.store
        self.published = []
        self.leases = Leases(
            self.store, ttl_s=3600, is_progressing=lambda: True, shutdown=self.shutdown
        )
        self.consumer = TicketConsumer(
            worker_id="w",
            ttl_s=30,
            store=self.store,
            objects=self.objects,
            engine=self.harness.engine,
            leases=self.leases,
            models=ModelCache(load or (lambda name: self.harness.model)),
            assets=AssetReader(self.objects, max_bytes=MAX_BYTES),
            publish=self.publish,
            shutdown=self.shutdown,
            retry_s=retry_s,
        )

    def publish(self, issued):
        self.published += issued
        return len(issued)

    def submit(self, count, **details):
        for n in range(count):
            self.objects.put("inbox", f"{n}.jpg", b"%d" % n, content_type="image/jpeg")
        job_id = submit(self.store, count, **{"rem_mode": MODEL} | details)
        self.published += feed(self.store)
        return job_id

    def serve(self):
        """Process the next ticket that was published."""
        issued = self.published.pop(0)
        self.consumer.serve(issued.ticket, issued.queue)

    def serve_in_thread(self):
        """Process the next ticket in a thread of its own; return the thread."""
        thread = threading.Thread(target=self.serve, daemon=True)
        thread.start()
        return thread

    def serve_leaving(self):
        """Process the next ticket, and drain the engine once the process leaves."""
        serving = self.serve_in_thread()
        assert self.shutdown.wait(Phase.DRAINING, 30)
        self.harness.engine.drain()
        serving.join(30)
        assert not serving.is_alive()

    def run(self):
        while self.published:
            self.serve()

    def waiting_for(self, job_id):
        reason = self.store.connection.client.hget(f"rmbg:job:{job_id}", "waiting_for")
        return reason.decode() if reason else None

    def drain(self):
        self.harness.drain()

    def close(self):
        self.harness.close()
        self.shutdown.advance(Phase.STOPPED)
        self.store.close()

    def deaths(self, job_id):
        """Return the deaths of each of the job's open tickets."""
        found = self.store.connection.client.scan_iter(f"rmbg:job:{job_id}:ticket:*")
        return [self.store.connection.client.hget(key, "deaths") for key in found]

    def placed(self, place):
        """Count the tickets that are `leased` or `parked`."""
        return self.store.connection.client.zcard(f"rmbg:{place}")


@pytest.fixture
def consumers(redis_server, redis_client):
    made = []

    def make(**details):
        made.append(ConsumerHarness(redis_server.url, **details))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def consumer(consumers):
    return consumers()
