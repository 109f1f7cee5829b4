"""Create jobs and process their tickets, one call per step, in tests of the job store."""

import itertools
import secrets

from shared.errors import RedisUnavailable
from shared.job import manifest
from shared.job.record import ItemRecord
from shared.job.spec import JobSpec
from shared.jobstore.connection import Connection
from shared.jobstore.submissions import Submission
from shared.jobstore.values import Granted, WorkerInfo

TTL_S = 30.0


class FailingConnection(Connection):
    """A connection to the real server; each script named in `failing` fails once."""

    def __init__(self, client):
        super().__init__(client)
        self.failing = []

    def run(self, name, *rows, **args):
        if name in self.failing:
            self.failing.remove(name)
            raise RedisUnavailable(f"{name}: simulated failure")
        return super().run(name, *rows, **args)


def spec(**changes):
    """Return a job document."""
    wanted = {"input_bucket": "inbox", "output_bucket": "cutouts", "weights_sha256": "0" * 64}
    return JobSpec(**wanted | changes)


def submission(total, *, job_id=None, keys="keys", nonce=None, weight=1, **changes):
    """Return a submission of *total* items; *keys* stands for the hash of their keys."""
    return Submission(
        spec=spec(**changes),
        total=total,
        keys_sha256=keys,
        job_id=job_id,
        weight=weight,
        manifest=nonce or secrets.token_hex(4),
    )


def stage(store, wanted):
    """Stage the keys `0.jpg`, `1.jpg`, ... for the submission *wanted*."""
    names = (f"{n}.jpg" for n in range(wanted.total))
    chunks = []
    while chunk := list(itertools.islice(names, manifest.CHUNK_KEYS)):
        chunks.append(manifest.pack(chunk))
    store.submissions.stage(wanted.manifest, 0, chunks)


def submit(store, total, **details):
    """Stage and submit a job of *total* items; return its id."""
    wanted = submission(total, **details)
    stage(store, wanted)
    return store.submissions.submit(wanted).job_id


def feed(store, empty_queues=()):
    """Return the tickets to publish now."""
    return store.fleet.recover(empty_queues=empty_queues)


def grant(store, issued, worker="w", *, ttl_s=TTL_S):
    """Claim an issued ticket, which must be granted."""
    claim = store.leases.claim(issued.ticket, worker, ttl_s=ttl_s)
    assert isinstance(claim, Granted), claim
    return claim


def first_lease(store, worker="w", *, ttl_s=TTL_S):
    """Feed, and claim the first ticket."""
    return grant(store, feed(store)[0], worker, ttl_s=ttl_s).lease


def done(index, *, verdict="good", attempts=1):
    """Return the record of a done item."""
    qc = None if verdict is None else {"verdict": verdict}
    return ItemRecord(index=index, image_key=f"{index}.jpg", state="done", attempts=attempts, qc=qc)


def failed(index, *, error="UndecodableImage", attempts=1):
    """Return the record of a failed item."""
    return ItemRecord(
        index=index,
        image_key=f"{index}.jpg",
        state="failed",
        error={"class": error, "reason": "simulated"},
        attempts=attempts,
    )


def mark_all(store, claim, *, failing=()):
    """Mark the open items of a claimed range."""
    return store.leases.mark(
        claim.lease,
        [
            (failed if i in failing else done)(i, attempts=claim.attempts_before(i) + 1)
            for i in claim.lease.ticket.span
            if i not in claim.ended
        ],
    )


def close(store, lease):
    """Close a range whose items have ended; return the tickets that this issues."""
    assert store.leases.finish_begin(lease).is_complete
    accepted, issued = store.leases.finish_commit(lease)
    assert accepted
    return issued


def process(store, issued, *, failing=(), worker="w"):
    """Process one issued ticket completely; return the tickets that this issues."""
    claim = grant(store, issued, worker)
    if issued.ticket.is_merge:
        assert store.leases.merge_commit(claim.lease)
        return []
    if not claim.is_cancelled:
        mark_all(store, claim, failing=failing)
    return close(store, claim.lease)


def run_to_end(store, *, failing=(), issued=()):
    """Process *issued* and everything that follows."""
    todo = [*issued, *feed(store)]
    while todo:
        todo += process(store, todo.pop(0), failing=failing)
        todo += feed(store)


def worker(worker_id="w", **changes):
    """Return the description of a worker."""
    described = {
        "slots": 3,
        "models": ("RMBG-1.4",),
        "refused": {},
        "device": "cpu",
        "images_per_s": None,
        "version": "0",
        "host": "here",
        "pid": 1,
    }
    return WorkerInfo(worker_id=worker_id, **described | changes)


def events(client):
    """Return all events as dictionaries of strings."""
    return [
        {name.decode(): value.decode() for name, value in body.items()}
        for _, body in client.xrange("rmbg:events")
    ]


def failed_indexes(store, job_id):
    """Return the indexes of the items that are marked as failed, in order."""
    bits = store.connection.client.get(f"rmbg:job:{job_id}:failed") or b""
    return [n for n in range(len(bits) * 8) if bits[n // 8] >> (7 - n % 8) & 1]
