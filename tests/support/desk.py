"""A worker's tickets in this process: the real job store, a store in memory, no broker."""

import pytest

from shared.jobstore.store import JobStore
from support.jobs import FailingConnection, feed, submit
from support.line import Line
from support.stand_ins import quick_stations
from worker.consumer.leases import Leases
from worker.consumer.ticket_consumer import Tickets
from worker.inference.model_cache import Rack

MODEL = "isnet-general-use"


class Desk:
    """One worker's tickets, in this process; what it publishes is collected."""

    def __init__(self, url, *, stations=None, load=None, **limits):
        self.connection = FailingConnection.connect(url)
        self.store = JobStore(self.connection)
        self.line = Line(stations=stations or quick_stations(), **limits)
        self.objects = self.line.store
        self.published = []
        self.leases = Leases(self.store, ttl_s=30, beat_s=3600, is_progressing=lambda: True)
        self.tickets = Tickets(
            worker_id="w",
            ttl_s=30,
            store=self.store,
            objects=self.objects,
            engine=self.line.engine,
            leases=self.leases,
            rack=Rack(load or (lambda name: self.line.model)),
            publish=self.published_now,
            unfit=self.line.unfit.append,
        )

    def published_now(self, issued):
        self.published += issued
        return len(issued)

    def submit(self, count, **details):
        for n in range(count):
            self.objects.put("inbox", f"{n}.jpg", b"%d" % n, content_type="image/jpeg")
        job_id = submit(self.store, count, **{"rem_mode": MODEL} | details)
        self.published += feed(self.store)
        return job_id

    def serve(self):
        """Work off the next ticket that was published."""
        issued = self.published.pop(0)
        self.tickets.serve(issued.ticket, issued.queue)

    def run(self):
        while self.published:
            self.serve()

    def waiting_for(self, job_id):
        with_worker = self.store.connection.client.hget(f"rmbg:job:{job_id}", "waiting_for")
        return with_worker.decode() if with_worker else None

    def close(self):
        self.leases.close()
        self.line.close()
        self.store.close()

    def deaths(self, job_id):
        """Return the deaths of each of the job's open tickets."""
        found = self.store.connection.client.scan_iter(f"rmbg:job:{job_id}:ticket:*")
        return [self.store.connection.client.hget(key, "deaths") for key in found]

    def placed(self, place):
        """Count the tickets that are `leased` or `parked`."""
        return self.store.connection.client.zcard(f"rmbg:{place}")


@pytest.fixture
def desks(redis_server, redis_client):
    made = []

    def make(**details):
        made.append(Desk(redis_server.url, **details))
        return made[-1]

    yield make
    for desk in made:
        desk.close()


@pytest.fixture
def desk(desks):
    return desks()
