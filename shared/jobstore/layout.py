"""The keys of the job store in Redis, and the key names that Python needs.

Scripts build the same names in `scripts/_prelude.lua` only. Times are server times in
milliseconds. `job|unit` identifies a ticket.

| key | type | holds |
|---|---|---|
| `rmbg:job:{job}` | hash | state, cancelled, total, done, failed, generation, repaired (generation of the last repair), sequence, cursor (first item not yet fed), first_epoch, highest_epoch, queue, spec, added (fields of the spec that version 0.1 refuses), needs (features, separated by spaces), needs_reason, model, fingerprint, manifest (nonce), created_ms, started_ms, finished_ms, waiting_for, waiting_until_ms, ended_without, tenant, light, channel (where the end of a light job is published) |
| `rmbg:job:{job}:ended` | bitmap | items that have ended, in this or an earlier generation |
| `rmbg:job:{job}:failed` | bitmap | those of them that failed |
| `rmbg:job:{job}:manifest` | hash | chunk number -> packed keys (`shared.job.manifest`) |
| `rmbg:job:{job}:tickets` | set | units of the open tickets |
| `rmbg:job:{job}:ticket:{unit}` | hash | epoch, queue, deaths, rests (releases in a row because of an outage); while leased owner, worker, sharded (records returned by `finish_begin`), and in the suspect queue trying, trying_record, deaths:{index}; of the merge failures:{document}:{error class} and failed_at:... (epoch of the latest one) |
| `rmbg:job:{job}:records:{unit}` | hash | item index -> record (JSON), until the shard is accepted |
| `rmbg:job:{job}:shards` | list | unit:epoch of the accepted shards, in order |
| `rmbg:job:{job}:errors` | hash | error class -> failed items |
| `rmbg:job:{job}:verdicts` | hash | verdict -> done items |
| `rmbg:job:{job}:attempts` | hash | item index -> attempts, if they differed from the generation when it ended |
| `rmbg:job:{job}:listened` | string | no meaning: while it exists, ends of items are told |
| `rmbg:job:{job}:told` | stream | generation-number of an item that has ended -> index, state, verdict, error; expires |
| `rmbg:job:{job}:reviews` | hash | item index -> number of entries:number of the one that stands, or 0:review (JSON with the ETag of its object), copies of what is in the bucket; `complete`, no meaning; expires |
| `rmbg:job:{job}:doubtful` | sorted set | index of a doubtful item -> its doubt, negative once it is decided; expires |
| `rmbg:job:{job}:doubts` | hash | index of such an item -> number of entries about an older image;verdict;checks; `generation` of the job for which both were filled; expires |
| `rmbg:job:{job}:looked` | hash | index of such an item -> end of the lease:holder, who looks at it; expires |
| `rmbg:looking:{holder}` | set | job, `|` and index of the items that a holder looks at; expires |
| `rmbg:job:{job}:wanted`, `:scratch` | bitmap | items to open again; exist only while `reopen` runs |
| `rmbg:job:{job}:rate` | hash | time bucket -> items that ended in it |
| `rmbg:jobs` | sorted set | job -> its sequence number; for a while also of expired jobs |
| `rmbg:sequence` | string | sequence number of the latest job |
| `rmbg:derived:{fingerprint}` | string | latest job without a given id with these keys and parameters |
| `rmbg:staged:{nonce}` | hash | chunk number -> packed keys, before submission |
| `rmbg:submitting:{submission}` | string | gateway that makes a long list into a job; expires |
| `rmbg:numbers:{bucket}/{stem}` | string | highest reserved file number |
| `rmbg:feeding:{queue}`, `rmbg:feeding:{queue}:{tenant}` | list | jobs with items to feed, without a tenant and of each tenant; the head is next |
| `rmbg:turns:{queue}` | sorted set | tenant with such a job -> its served time: items issued, divided by its weight |
| `rmbg:served:{queue}` | string | served time of the tenant that was fed last |
| `rmbg:weights` | hash | tenant -> its weight |
| `rmbg:credits` | hash | tenant -> items that it may overtake with later, and the served time since which more are added |
| `rmbg:bursts` | hash | tenant -> items that may still overtake queued bulk tickets |
| `rmbg:unserved` | list | jobs with items to feed whose needs no registered worker has |
| `rmbg:queued:{queue}` | sorted set | ticket -> time of issue; its message is on its way |
| `rmbg:claimed` | hash | queue -> newest time of issue of a ticket claimed from it |
| `rmbg:leased` | sorted set | ticket -> end of the lease |
| `rmbg:parked` | sorted set | ticket -> time of the next issue |
| `rmbg:longest` | hash | `lease`, `rest` -> the longest requested so far, in ms |
| `rmbg:workers` | sorted set | worker -> time at which its registration expires |
| `rmbg:worker_infos` | hash | worker -> its description (JSON) |
| `rmbg:totals` | string | sums over jobs and workers (JSON); expires after a few seconds |
| `rmbg:turn` | string | time at which a worker took the latest recovery round |
| `rmbg:durable` | string | no meaning: it is written so that `durable` can wait for it |
| `rmbg:tenant:{tenant}:jobs` | sorted set | job -> its sequence number, of jobs with a tenant |
| `rmbg:api_keys` | hash | name -> API key (JSON, with the hash of its secret) |
| `rmbg:requests:{name}` | string | time at which all requests of an API key are allowed again |
| `rmbg:events` | stream | one event per job and generation: job_id, event, generation, total, done, failed |
"""  # noqa: E501 - a table row is one line

from typing import Final

DURABLE: Final = "rmbg:durable"
API_KEYS: Final = "rmbg:api_keys"
EVENTS: Final = "rmbg:events"


def job(job_id: str, *part: str) -> str:
    """Return the key of a job's hash, or of another part as named in the table."""
    return ":".join(("rmbg:job", job_id, *part))


def staged(nonce: str) -> str:
    """Return the key of the chunks staged under *nonce*."""
    return f"rmbg:staged:{nonce}"


def submitting(submission_id: str) -> str:
    """Return the key that says who makes a submission into a job."""
    return f"rmbg:submitting:{submission_id}"


def numbers(bucket: str, stem: str) -> str:
    """Return the key of a sequence of file numbers."""
    return f"rmbg:numbers:{bucket}/{stem}"
