"""The job store's keys in Redis: this table, and the names that Python needs.

The scripts build the same names at the top of `scripts/_prelude.lua`, and nowhere else. Times are
the server's, in milliseconds. A ticket of a job is written `job|unit`.

| key | type | holds |
|---|---|---|
| `rmbg:job:{job}` | hash | state, cancelled, total, done, failed, generation, sequence, cursor (first item not yet fed), first_epoch, highest_epoch, queue, spec, model, fingerprint, manifest (nonce), created_ms, started_ms, finished_ms, waiting_for, waiting_until_ms |
| `rmbg:job:{job}:ended` | bitmap | items that have ended, in this or an earlier generation |
| `rmbg:job:{job}:failed` | bitmap | those of them that failed |
| `rmbg:job:{job}:manifest` | hash | chunk number -> packed keys (`shared.manifest`) |
| `rmbg:job:{job}:tickets` | set | units of the open tickets |
| `rmbg:job:{job}:ticket:{unit}` | hash | epoch, queue, deaths; while leased owner, worker, sharded (records handed out), and in the suspect lane trying, trying_record, deaths:{index} |
| `rmbg:job:{job}:records:{unit}` | hash | item index -> record (JSON), until the shard is accepted |
| `rmbg:job:{job}:shards` | list | unit:epoch of the accepted shards, in order |
| `rmbg:job:{job}:errors` | hash | error class -> failed items |
| `rmbg:job:{job}:verdicts` | hash | verdict -> done items |
| `rmbg:job:{job}:attempts` | hash | item index -> attempts, where they are not as many as generations when it ended |
| `rmbg:job:{job}:wanted`, `:scratch` | bitmap | items to open again; there only while `reopen` runs |
| `rmbg:job:{job}:rate` | hash | bucket of time -> items that ended in it |
| `rmbg:jobs` | sorted set | job -> its sequence number; for a while also of forgotten jobs |
| `rmbg:sequence` | string | sequence number of the latest job |
| `rmbg:derived:{fingerprint}` | string | latest job without a given id, of these keys and parameters |
| `rmbg:staged:{nonce}` | hash | chunk number -> packed keys, before submission |
| `rmbg:numbers:{bucket}/{stem}` | string | highest file number that is reserved |
| `rmbg:feeding:{queue}` | list | jobs with items to feed; their head is next |
| `rmbg:queued:{queue}` | sorted set | ticket -> time of issue; messages are on their way |
| `rmbg:claimed` | hash | queue -> newest time of issue among the tickets claimed from it |
| `rmbg:leased` | sorted set | ticket -> end of the lease |
| `rmbg:parked` | sorted set | ticket -> when it shall be issued |
| `rmbg:longest` | hash | `lease`, `rest` -> the longest that was asked for, in ms |
| `rmbg:workers` | sorted set | worker -> when it counts as gone |
| `rmbg:worker_infos` | hash | worker -> what it says of itself (JSON) |
| `rmbg:totals` | string | sums over jobs and workers (JSON), for a few seconds |
| `rmbg:turn` | string | when the latest round of recovery was given to a worker |
| `rmbg:durable` | string | nothing: it is written in order to wait for it |
| `rmbg:events` | stream | one event a job and generation: job_id, event, generation, total, done, failed |
"""  # noqa: E501 - a table's row is a line

from __future__ import annotations

from typing import Final

DURABLE: Final = "rmbg:durable"


def job(job_id: str) -> str:
    """Return the key of a job's hash."""
    return f"rmbg:job:{job_id}"


def part(job_id: str, name: str) -> str:
    """Return the key of one of a job's other parts, as named in the table."""
    return f"rmbg:job:{job_id}:{name}"


def records(job_id: str, unit: str) -> str:
    """Return the key of the records of an open ticket."""
    return f"rmbg:job:{job_id}:records:{unit}"


def staged(nonce: str) -> str:
    """Return the key of the chunks staged under *nonce*."""
    return f"rmbg:staged:{nonce}"


def numbers(bucket: str, stem: str) -> str:
    """Return the key of a sequence of file numbers."""
    return f"rmbg:numbers:{bucket}/{stem}"
