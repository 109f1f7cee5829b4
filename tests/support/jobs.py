"""Jobs, and a worker's steps in one call each, for tests of the job store."""

import itertools
import secrets

from shared.job import manifest
from shared.job.record import ItemRecord
from shared.job.spec import JobSpec
from shared.jobstore.values import Granted, Submission, WorkerInfo

TTL_S = 30.0


def spec(**changes):
    """A job's document."""
    wanted = {"input_bucket": "inbox", "output_bucket": "cutouts", "weights_sha256": "0" * 64}
    return JobSpec(**wanted | changes)


def submission(total, *, job_id=None, keys="keys", nonce=None, **changes):
    """A submission of *total* items; *keys* stands for the hash over them."""
    return Submission(
        spec=spec(**changes),
        total=total,
        keys_sha256=keys,
        job_id=job_id,
        manifest=nonce or secrets.token_hex(4),
    )


def stage(store, wanted):
    """Stage what the submission *wanted* needs, with keys `0.jpg`, `1.jpg` and so on."""
    names = (f"{n}.jpg" for n in range(wanted.total))
    chunks = []
    while chunk := list(itertools.islice(names, manifest.CHUNK_KEYS)):
        chunks.append(manifest.pack(chunk))
    store.stage(wanted.manifest, 0, chunks)


def submit(store, total, **details):
    """Stage and submit a job of *total* items; return its id."""
    wanted = submission(total, **details)
    stage(store, wanted)
    return store.submit(wanted).job_id


def feed(store, empty_queues=()):
    """What is to be published now."""
    return store.recover(empty_queues=empty_queues)


def grant(store, issued, worker="w", *, ttl_s=TTL_S):
    """Claim what was issued, which must be granted."""
    claim = store.claim(issued.ticket, worker, ttl_s=ttl_s)
    assert isinstance(claim, Granted), claim
    return claim


def first_lease(store, worker="w", *, ttl_s=TTL_S):
    """Feed, and claim the first ticket of all."""
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
        error={"class": error, "reason": "made up"},
        attempts=attempts,
    )


def mark_all(store, claim, *, failing=()):
    """Mark what is left of a claimed range."""
    return store.mark(
        claim.lease,
        [
            (failed if i in failing else done)(i, attempts=claim.attempts_before(i) + 1)
            for i in claim.lease.ticket.span
            if i not in claim.ended
        ],
    )


def close(store, lease):
    """Close a range whose items have ended; return what that issues."""
    assert store.finish_begin(lease).is_complete
    accepted, issued = store.finish_commit(lease)
    assert accepted
    return issued


def work_off(store, issued, *, failing=(), worker="w"):
    """Do all there is to do about one issued ticket; return what that issues."""
    claim = grant(store, issued, worker)
    if issued.ticket.is_merge:
        assert store.merge_commit(claim.lease)
        return []
    if not claim.is_cancelled:
        mark_all(store, claim, failing=failing)
    return close(store, claim.lease)


def run_to_end(store, *, failing=(), issued=()):
    """Work off *issued* and all that is to be published now and then."""
    todo = [*issued, *feed(store)]
    while todo:
        todo += work_off(store, todo.pop(0), failing=failing)
        todo += feed(store)


def worker(worker_id="w", **changes):
    """What a worker says of itself."""
    said = {
        "slots": 3,
        "models": ("RMBG-1.4",),
        "refused": {},
        "device": "cpu",
        "images_per_s": None,
        "version": "0",
        "host": "here",
        "pid": 1,
    }
    return WorkerInfo(worker_id=worker_id, **said | changes)


def events(client):
    """Return all events that were emitted, as dictionaries of text."""
    return [
        {name.decode(): value.decode() for name, value in body.items()}
        for _, body in client.xrange("rmbg:events")
    ]
