"""The truth about jobs: which items there are, which have ended, and who works on what."""

from __future__ import annotations

from shared.jobstore.leasing import Leasing
from shared.jobstore.reading import Reading
from shared.jobstore.submitting import Submitting


class JobStore(Submitting, Leasing, Reading):
    """One class over the scripts in Redis; Celery's messages only point to what stands here.

    A job's items are cut into ranges. Each range is a ticket: issued to a queue, claimed under a
    lease, its items marked as they end, closed by a shard in the bucket. The last range issues
    the merge ticket, and whoever works that off ends the job. Each step is one script: it happens
    as a whole or not at all, and a repetition does no harm.

    Every method raises `RedisUnavailable` if Redis cannot be asked, and `RedisFull` if it takes
    no more; others are named with the method. Safe to use from several threads.
    """
