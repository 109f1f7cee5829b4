"""A minimal worker for tests: real messages, leases and shards, but placeholder images.

It does everything a worker does to the job store and the bucket, one ticket at a time, so that a
test can stop it anywhere.
"""

import os
import time
from datetime import UTC, datetime

from shared.broker.app import make_app, publish
from shared.broker.queues import QUEUES
from shared.job.features import FEATURES
from shared.job.keys import results_key, shard_key
from shared.job.manifest import CHUNK_KEYS, chunks_of, unpack
from shared.job.output_keys import Slot, output_key
from shared.job.record import ItemRecord
from shared.job.shards import sweep
from shared.job.spec import ImageOutput
from shared.job.ticket import Ticket
from shared.jobstore.store import JobStore
from shared.jobstore.values import Granted, WorkerInfo
from shared.objects import S3Store
from shared.webhooks import announce

TTL_S = 30.0


class HandWorker:
    """A worker that a test steps by hand.

    Keys that contain `bad` fail, those with `doubt` and `reject` have that verdict.
    """

    def __init__(self, settings, *, model="RMBG-1.4"):
        self.jobs = JobStore.connect(settings.store_url)
        self.objects = S3Store(settings.objects)
        self.app = make_app(settings.broker_url)
        self.connection = self.app.connection_for_read()
        self.queues = {name: self.connection.SimpleQueue(name) for name in QUEUES}
        self.bad = "bad"
        self.info = WorkerInfo(
            worker_id="hand",
            slots=3,
            models=(model,),
            refused={},
            device="cpu",
            images_per_s=None,
            version="0",
            host="localhost",
            pid=os.getpid(),
            features=tuple(sorted(FEATURES)),
        )
        self.jobs.fleet.register(self.info, ttl_s=600)

    def close(self):
        for queue in self.queues.values():
            queue.close()
        self.connection.release()
        self.app.close()
        self.jobs.close()

    def next_ticket(self):
        """Take a message from the first non-empty queue; return None if all are empty."""
        for queue in self.queues.values():
            try:
                message = queue.get_nowait()
            except queue.Empty:
                continue
            message.ack()
            args, _, _ = message.payload
            return Ticket.from_args(*args)
        return None

    def claim_next(self):
        """Publish what is due and claim the next ticket; return None if there is none."""
        publish(self.app, self.jobs.fleet.recover(empty_queues=()))
        while (taken := self.next_ticket()) is not None:
            claim = self.jobs.leases.claim(taken, "hand", ttl_s=TTL_S)
            if isinstance(claim, Granted):
                return claim
        return None

    def process(self, claim, *, finish=True):
        """Process a claimed ticket. Without *finish*, leave it open."""
        if claim.lease.ticket.is_merge:
            self._merge(claim)
            return
        if not claim.is_cancelled:
            records = [self._do(claim, i) for i in claim.lease.ticket.span if i not in claim.ended]
            self.jobs.leases.mark(claim.lease, records)
        if finish:
            self._finish(claim)
        else:
            self.held = claim

    def begin(self, items):
        """Claim the next ticket, mark its first *items* and leave it open; return the claim."""
        claim = self.claim_next()
        span = claim.lease.ticket.span[:items]
        self.jobs.leases.mark(claim.lease, [self._do(claim, index) for index in span])
        return claim

    def step(self, *, finish=True):
        """Process one ticket; return False if there was none."""
        claim = self.claim_next()
        if claim is None:
            return False
        self.process(claim, finish=finish)
        return True

    def run(self, job_id, *, limit_s=60):
        """Process tickets until the job has ended, and return its status."""
        deadline = time.monotonic() + limit_s
        while self.jobs.queries.status(job_id).finished_at is None:
            assert time.monotonic() < deadline, self.jobs.queries.status(job_id)
            self.step()
        return self.jobs.queries.status(job_id)

    def finish_held(self):
        """Close the ticket that was left open."""
        self._finish(self.held)

    def _key(self, claim, index):
        job_id = claim.lease.ticket.job_id
        [number] = chunks_of(range(index, index + 1))
        return unpack(self.jobs.queries.manifest_chunk(job_id, number))[index % CHUNK_KEYS]

    def _do(self, claim, index):
        key = self._key(claim, index)
        attempts = claim.attempts_before(index) + 1
        if self.bad in key:
            error = {"class": "ObjectMissing", "reason": f"there is no object {key}"}
            return ItemRecord(
                index=index, image_key=key, state="failed", error=error, attempts=attempts
            )
        names = {
            output: output_key(
                claim.spec,
                Slot(output, "png"),
                job_id=claim.lease.ticket.job_id,
                index=index,
                image_key=key,
                width=4,
                height=3,
            )
            for output in ("cutout", "mask")
            if claim.spec.image_output is not ImageOutput.HIDE
        }
        for name in names.values():
            self.objects.put(claim.spec.output_bucket, name, b"png", content_type="image/png")
        return ItemRecord(
            index=index,
            image_key=key,
            state="done",
            cutout_key=names.get("cutout"),
            mask_key=names.get("mask"),
            attempts=attempts,
            width=4,
            height=3,
            device="cpu",
            qc={"verdict": _verdict(key), "reasons": "coverage 0.01 below 0.02"},
        )

    def _finish(self, claim):
        ticket = claim.lease.ticket
        closing = self.jobs.leases.finish_begin(claim.lease)
        body = "".join(f"{line}\n" for line in closing.records).encode()
        self._put(claim, shard_key(ticket.job_id, ticket.unit, ticket.epoch), body)
        accepted, issued = self.jobs.leases.finish_commit(claim.lease)
        assert accepted
        publish(self.app, issued)

    def _merge(self, claim):
        job_id = claim.lease.ticket.job_id
        bucket = claim.spec.output_bucket
        status = self.jobs.queries.status(job_id)
        lines = sweep(
            self.jobs.queries.accepted_shards(job_id),
            lambda shard: self.objects.get(bucket, shard_key(job_id, *shard)).data,
        )
        self._put(claim, results_key(job_id), "".join(f"{line}\n" for line in lines).encode())
        is_cancelled = self.jobs.queries.is_cancelled(job_id)
        now = datetime.now(UTC)
        announce(self.objects, claim.spec, status, now, is_cancelled=is_cancelled)
        self.jobs.leases.merge_commit(claim.lease)

    def _put(self, claim, key, body):
        self.objects.put(claim.spec.output_bucket, key, body, content_type="application/jsonl")


def _verdict(key):
    kinds = {"doubt": "review", "reject": "reject"}
    return next((verdict for kind, verdict in kinds.items() if kind in key), "fine")
